#!/usr/bin/env bash
# What each layer costs, in instructions. Counts are exact, so unlike times they can decide: the program checks that what is
# said to cost nothing adds not one instruction, and that it would have seen one.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_package valgrind valgrind

layers=(cargo run --release -p layers --features allocator_api2 --)

step "build the count" cargo build --release -p layers --features allocator_api2
step "the claims" timeout 300 "${layers[@]}" --check
step "the count" timeout 300 "${layers[@]}" --beats 2
step "the programs" timeout 300 "${layers[@]}" --programs --rounds 1000
