#!/usr/bin/env bash
# A link in the documentation that leads nowhere is an error, also between private items: there the invariants stand.
# (The examples in it are compiled and run by the tests.)
set -euo pipefail
. "$(dirname "$0")/step.sh"

step docs env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
# The raw API differs between the engines.
step "docs, engine v2" env RUSTDOCFLAGS="-D warnings" \
    cargo doc -p mimalloc-runtime --features v2 --no-deps --document-private-items
step "docs, all of the API" env RUSTDOCFLAGS="-D warnings" cargo doc -p mimalloc-runtime --features allocator_api2,tracing --no-deps
