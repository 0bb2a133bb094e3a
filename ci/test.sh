#!/usr/bin/env bash
# The command that the README gives: every test of the workspace, at full size, on the default engine. The others
# repeat parts of it under other conditions.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step tests cargo test --workspace
step "tests of features" cargo test -p mimalloc-runtime --features allocator_api2,metrics,tracing \
    --lib --test export --test heap_ref --test tracing
# Their examples; the others have run.
step "documentation of features" \
    cargo test -p mimalloc-runtime --features allocator_api2,metrics --doc -- heap_ref export
