#!/usr/bin/env bash
# ThreadSanitizer over what threads share: the table of hook handlers, the pool of heaps, blocks freed on other threads,
# threads that end. The engine's C is built for it too, so that its atomics order what they order. A planted race shows
# that races are seen past the suppressions. Not tests/exit.rs: what the engine does at the end of a process is not ordered with
# threads that still run, which is reported in some runs.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_nightly

# A panic's backtrace is made under a lock of the standard library, which is not built for the tool: without, no false race.
tsan=(env RUST_BACKTRACE=0 CFLAGS="-DMI_TSAN=1 -fsanitize=thread"
    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg small_tests"
    TSAN_OPTIONS="suppressions=$PWD/ci/tsan.suppressions" CARGO_TARGET_DIR="$target/ci/tsan")
cargo=(cargo +nightly test -p mimalloc-runtime --target "$host")

step "build the tests" "${tsan[@]}" "${cargo[@]}" --no-run
must_report "planted: object_counted_by_two_threads" "ThreadSanitizer: data race" \
    "${tsan[@]}" MIMALLOC_RUNTIME_PLANT=1 "${cargo[@]}" --test planted -- --exact object_counted_by_two_threads
# ThreadSanitizer lets no thread start in the child of a fork.
step "tests, ThreadSanitizer" "${tsan[@]}" "${cargo[@]}" --lib --test behaviour --test derive --test planted \
    --test settings -- --skip after_a_fork
