#!/usr/bin/env bash
# AddressSanitizer over the unsafe code: reads and writes of freed objects, and the engine's C beside it. The engine
# takes its memory from the operating system, where the sanitizer sees no objects; MI_TRACK_ASAN makes the engine tell
# it of each. That it does is checked with planted faults; that nothing is reported without them, is the control.
#
# Leaks are not looked for: tests leak on purpose (cycles, forgotten mutators, immortal objects).
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_nightly

# With a target named, the flags stay away from build scripts and procedural macros.
asan=(env CFLAGS="-DMI_TRACK_ASAN=1 -fsanitize=address" RUSTFLAGS="-Zsanitizer=address --cfg small_tests"
    ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR="$target/ci/asan")
cargo=(cargo +nightly test --target "$host" -p mimalloc-runtime --features allocator_api2,metrics,tracing)

step "build the tests" "${asan[@]}" "${cargo[@]}" --no-run
# First that the tool sees; what it says of the tests means nothing otherwise.
for fault in object_freed_by_a_collection leaf_freed_by_its_drop block_freed block_freed_on_another_thread \
    object_freed_twice block_freed_twice block_written_into_the_next; do
    must_report "planted: $fault" "AddressSanitizer: use-after-poison" \
        "${asan[@]}" MIMALLOC_RUNTIME_PLANT=1 "${cargo[@]}" --test planted -- --exact "$fault"
done
fault=object_of_a_heap_that_was_destroyed
must_report "planted: $fault" "AddressSanitizer: SEGV" \
    "${asan[@]}" MIMALLOC_DISALLOW_ARENA_ALLOC=1 MIMALLOC_RUNTIME_PLANT=1 "${cargo[@]}" --test planted -- --exact "$fault"
step "tests, AddressSanitizer" "${asan[@]}" "${cargo[@]}" --tests -- "${skip_messages[@]}"
# The Lox machine keeps its references in encoded values and counts them itself. Each script is a process, for which the
# sanitizer would mark the engine's whole reserve of memory; without EAGER_COMMIT only what is used, thirty times as
# fast. (Not the tests of the compiler, which measure the stack: the sanitizer's own needs are in it.)
step "Lox tests, AddressSanitizer" "${asan[@]}" MIMALLOC_ARENA_EAGER_COMMIT=0 \
    cargo +nightly test --target "$host" -p lox-vm --lib --test exhaust --test finalizers --test language --test limited --test machine --test nth_allocation \
    --test programs
