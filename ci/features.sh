#!/usr/bin/env bash
# The features that only change how the engine is built, all at once: with `override` every allocation of the test
# program itself, from before `main` on, goes through the engine that is tested. With them `metrics`, whose recorders allocate.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "tests, other builds of the engine" env RUSTFLAGS="--cfg small_tests" CARGO_TARGET_DIR="$target/ci/small" \
    cargo test -p mimalloc-runtime --features no_thp,local_dynamic_tls,override,metrics -- "${skip_messages[@]}"
