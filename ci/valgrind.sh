#!/usr/bin/env bash
# Valgrind's memcheck sees what AddressSanitizer does not: a decision that depends on memory never written. Objects are
# made in memory that the engine does not clear, so a header or slot left out would be one. As there, the engine has to
# tell the tool of each object, and planted faults show that it does; that nothing is reported without them is the
# control.
#
# MI_OPT_FREE_SMALL=0 keeps the engine's page headers out of the pages. Between the objects, memcheck takes them for a
# red zone and for unwritten, and reports the engine's every access (mimalloc 3.6.0, mi_arenas_page_init_memory).
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_package valgrind valgrind

runner=CARGO_TARGET_$(tr a-z- A-Z_ <<<"$host")_RUNNER
# The tests of a process's end start processes of their own.
memcheck=(env CFLAGS="-DMI_TRACK_VALGRIND=1 -DMI_OPT_FREE_SMALL=0" RUSTFLAGS="--cfg small_tests"
    CARGO_TARGET_DIR="$target/ci/small" "$runner=valgrind --quiet --leak-check=no --error-exitcode=99 --trace-children=yes")
cargo=(cargo test -p mimalloc-runtime --features allocator_api2,metrics,tracing)

step "build the tests" "${memcheck[@]}" "${cargo[@]}" --no-run
# must_see FAULT TEXT [VARIABLE=VALUE...]
must_see() {
    must_report "planted: $1" "$2" \
        "${memcheck[@]}" MIMALLOC_RUNTIME_PLANT=1 "${@:3}" "${cargo[@]}" --test planted -- --exact "$1"
}
for fault in object_freed_by_a_collection leaf_freed_by_its_drop block_freed block_freed_on_another_thread block_freed_twice; do
    must_see "$fault" "inside a block of size .* free'd"
done
# Words of the engine's own lie between two blocks, and memcheck measures from the block before.
must_see object_freed_twice "Invalid read of size 8"
must_see block_written_into_the_next "Invalid write of size 8"
# Of a heap that is destroyed with blocks in use the engine tells no tool. memcheck goes on believing in these blocks, and when their
# memory is used again, it takes good accesses for bad ones, or stops. So tests that destroy heaps are for AddressSanitizer alone
# (asan.sh), which finds new blocks where it finds them.
#
# memcheck runs one thread at a time, and one that reads without a rest keeps the others from going on. The tests count what is left
# themselves, so it is not asked to search for leaks.
#
# Two at once, as it uses one processor each: those of behaviour and walls take as long as all others.
tests=("${memcheck[@]}" "${cargo[@]}")
quietly=(-- --test-threads=1 "${skip_messages[@]}" --skip readings_are_whole_while_the_mutator_works
    --skip destroy --skip whatever_is_attached_and_goes --skip what_a_finalizer_takes_out_is_in_use)
mapfile -t others < <(ls tests/*.rs tests/*/main.rs | sed -e 's|/main||; s|.*/||; s|\.rs$||' | grep -vE '^(behaviour|walls)$' | sed 's/^/--test=/')
log=$(mktemp)
trap 'rm -f "$log"' EXIT
step "tests but those of behaviour and walls, memcheck" timeout 900 "${tests[@]}" --lib "${others[@]}" "${quietly[@]}" >"$log" 2>&1 &
status=0
step "tests of behaviour and walls, memcheck" timeout 900 "${tests[@]}" --test behaviour --test walls "${quietly[@]}" || status=$?
wait $! || status=$?
cat "$log"
exit "$status"
