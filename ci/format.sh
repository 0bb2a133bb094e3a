#!/usr/bin/env bash
# One layout of the code, so that a diff shows changes of meaning only.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_component fmt rustfmt

step format cargo fmt --all --check
