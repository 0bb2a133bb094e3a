#!/usr/bin/env bash
# Cargo.toml promises a lowest version of Rust, and only that version can tell whether it is true.
set -euo pipefail
. "$(dirname "$0")/step.sh"

version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
toolchain=$(rustup toolchain list | grep -o -m 1 -E "^$version(\.[0-9]+)?-[^ ]*" || true)
[[ $toolchain ]] || skip "toolchain $version is not installed; clippy's incompatible_msrv lint stands in"

step "build with Rust $version" env CARGO_TARGET_DIR="$target/ci/rust-version" \
    cargo "+$toolchain" check -p mimalloc-runtime -p lox-vm
