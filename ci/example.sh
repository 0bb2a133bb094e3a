#!/usr/bin/env bash
# The example as a reader would try it: optimised, from the command line, on the program that shows what the crate is
# for.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step "build the example" cargo build --release -p lox-vm
must_print "the example" "^freed " timeout 120 \
    cargo run --release -p lox-vm -- --metrics examples/vm/programs/drop_millions.lox
