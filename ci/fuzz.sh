#!/usr/bin/env bash
# Operations on a graph of objects against a model, and on what is attached to objects, found by a fuzzer under AddressSanitizer, to
# which the engine tells of each block (as in asan.sh). First the programs of the corpora, then new ones for half a minute each; what it
# finds lies in fuzz/artifacts. The interpreters are tested on any compiler by tests/behaviour/fuzzed.rs.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_nightly

if ! cargo fuzz --version >/dev/null 2>&1 && [[ ${CI:-} = true ]]; then
    step "install cargo-fuzz" timeout 600 cargo install cargo-fuzz --locked --root "$target/ci/cargo-fuzz" || true
    PATH=$target/ci/cargo-fuzz/bin:$PATH
fi
cargo fuzz --version >/dev/null 2>&1 || skip "cargo-fuzz is not installed"

# New programs go where they are not committed; the corpus is read beside.
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
asan=(env CFLAGS="-DMI_TRACK_ASAN=1 -fsanitize=address" ASAN_OPTIONS=detect_leaks=0 CARGO_TARGET_DIR="$target/ci/fuzz")
fuzz=(cargo +nightly fuzz)

step "build the fuzz targets" "${asan[@]}" "${fuzz[@]}" build
for what in objects attached; do
    mkdir "$found/$what"
    step "$what: the corpus" "${asan[@]}" "${fuzz[@]}" run "$what" "fuzz/corpus/$what" -- -runs=0
    step "$what: half a minute of fuzzing" "${asan[@]}" "${fuzz[@]}" run "$what" "$found/$what" "fuzz/corpus/$what" -- \
        -max_total_time=30 -max_len=4096 -timeout=60 -rss_limit_mb=4096
done
