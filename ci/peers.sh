#!/usr/bin/env bash
# That the comparison with other collectors still builds and comes to its end. What it measures on a machine that others
# use decides nothing here.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "build the comparison" cargo build --release -p peers
step "the comparison" timeout 300 cargo run --release -p peers -- --nodes 100000 --objects 20000 --repeats 1 --rounds 15
