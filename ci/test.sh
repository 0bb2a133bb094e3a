#!/usr/bin/env bash
# The command that the README gives: every test of the workspace, at full size, on the default engine. The others
# repeat parts of it under other conditions.
set -euo pipefail
. "$(dirname "$0")/step.sh"

step tests cargo test --workspace
