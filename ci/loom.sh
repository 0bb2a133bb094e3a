#!/usr/bin/env bash
# The sequence lock with which other threads read a mutator's figures, in every order in which the threads can go on, with every
# value that a load may see. ThreadSanitizer sees the orders that happen, and no fences; what it cannot see is looked
# for here. Tests of the same lock with an ordering left out must see torn readings.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "the sequence lock, all interleavings" env RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$target/ci/loom" \
    cargo test -p mimalloc-runtime --lib exhaustive
