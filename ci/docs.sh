#!/usr/bin/env bash
# A link in the documentation that leads nowhere is an error, also between private items: there the invariants stand.
# (The examples in it are compiled and run by the tests.) And whatever public is `unsafe` has a row in ARCHITECTURE.md.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step docs env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
# The raw API differs between the engines.
step "docs, engine v2" env RUSTDOCFLAGS="-D warnings" \
    cargo doc -p mimalloc-runtime --features v2 --no-deps --document-private-items
step "docs, all of the API" env RUSTDOCFLAGS="-D warnings" cargo doc -p mimalloc-runtime --features allocator_api2,metrics,tracing --no-deps

# Both as lines of "file name". The engine's raw functions have a table of their own.
in_source() {
    grep -r --include=*.rs --exclude-dir=sys -E '^ *pub unsafe (fn|trait) ' src |
        sed -E 's/^([^:]*): *pub unsafe (fn|trait) ([A-Za-z0-9_]+).*/\1 \3/'
}
in_table() { sed -n -E 's/^\| `([A-Za-z0-9_]+)` \| `(src\/[^`]*)` \|.*/\2 \1/p' ARCHITECTURE.md; }
# shellcheck disable=SC2317
compare() { diff --unified=0 --label source --label ARCHITECTURE.md <(in_source | sort) <(in_table | sort); }
step "unsafe items have their rows" compare
