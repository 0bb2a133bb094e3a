#!/usr/bin/env bash
# mimalloc 2 has thread-bound heaps and calls the hook at other moments than mimalloc 3, and both are promised the same
# behaviour: the crate's tests at full size, and the Lox programs on top of them.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "tests, engine v2" cargo test -p mimalloc-runtime --features v2,allocator_api2,metrics,tracing -- "${skip_messages[@]}"
step "Lox tests, engine v2" cargo test -p lox-vm --features mimalloc-runtime/v2
