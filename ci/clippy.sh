#!/usr/bin/env bash
# The lints of Cargo.toml are warnings while one works and errors here: the ones on unsafe code keep every `unsafe` to
# one operation with its obligation named. Each engine and the crate without its default features compile other code.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_component clippy clippy

step lints cargo clippy --workspace --all-targets -- -D warnings
step "lints, engine v2" cargo clippy --workspace --all-targets --features v2,allocator_api2,metrics,tracing -- -D warnings
# The library alone: the tests derive `Trace`.
step "lints, no features" cargo clippy -p mimalloc-runtime --no-default-features -- -D warnings
