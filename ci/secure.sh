#!/usr/bin/env bash
# The engine's hardened build lays out pages and free lists differently, and nothing may depend on that. Small sizes
# do: it differs in how memory is laid out, not in how much there is.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "tests, secure" env RUSTFLAGS="--cfg small_tests" CARGO_TARGET_DIR="$target/ci/small" \
    cargo test -p mimalloc-runtime --features secure,allocator_api2,metrics,tracing -- "${skip_messages[@]}"
# Without telling the crate: what reads the engine's structures must notice.
for engine in "" ",v2"; do
    step "an engine built otherwise$engine" \
        cargo test -p mimalloc-runtime --features "libmimalloc-sys3/secure$engine" --test census -- --ignored
done
