#!/usr/bin/env bash
# mimalloc 2 has thread-bound heaps and calls the hook at other moments than mimalloc 3, and both are promised the same
# behaviour: the crate's tests at full size, the Lox programs on top of them, and where a limited program stops.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "tests, engine v2" cargo test -p mimalloc-runtime --features v2,allocator_api2,metrics,tracing -- "${skip_messages[@]}"
step "Lox tests, engine v2" cargo test -p lox-vm --features mimalloc-runtime/v2

# Everything that a program prints until it is stopped, with the trace of the error, from ten runs on each engine.
stops_alike() {
    local directory engine run
    directory=$(mktemp -d)
    cat >"$directory/endless.lox" <<'LOX'
class Node { init(next) { this.next = next; this.text = "node of " + str(clock() * 0); } }
fun turn(round) {
  var list = nil;
  for (var i = 0; i < round; i = i + 1) list = Node(list);
  print round;
}
for (var round = 0; true; round = round + 1) turn(round);
LOX
    for engine in 3 2; do
        for run in {1..10}; do
            if "$target/engine-$engine/release/lox" "$@" "$directory/endless.lox" >"$directory/$engine-$run.txt" 2>&1; then
                echo "the program was not stopped"
                return 1
            fi
        done
    done
    tail -n 4 "$directory/3-1.txt"
    [[ $(sha256sum "$directory"/*-*.txt | cut -d' ' -f1 | sort -u | wc -l) = 1 ]]
}

step "lox, engine v3" cargo build --release -p lox-vm --target-dir "$target/engine-3"
step "lox, engine v2" cargo build --release -p lox-vm --features mimalloc-runtime/v2 --target-dir "$target/engine-2"
step "out of fuel in one place" stops_alike --fuel 123456
step "out of beats in one place" stops_alike --beats 20
