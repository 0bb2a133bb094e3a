#!/usr/bin/env bash
# The engine's debug build asserts its own invariants at every call, and so how we use it: a block freed into the wrong
# heap, or a theap used after its deletion, stops it. Small sizes, because it walks whole pages to do so.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "tests, debug" env RUSTFLAGS="--cfg small_tests" CARGO_TARGET_DIR="$target/ci/small" \
    cargo test -p mimalloc-runtime --features debug,allocator_api2,metrics,tracing -- "${skip_messages[@]}"
