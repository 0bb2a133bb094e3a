#!/usr/bin/env bash
# What would be published: nothing but the files of Cargo.toml's `include`, and those without which it would not build.
set -euo pipefail
. "$(dirname "$0")/step.sh"

list=$(mktemp)
trap 'rm -f "$list"' EXIT
# A build in a working tree is no publication.
step "list the package" cargo package --no-verify --allow-dirty -p mimalloc-runtime --list | tee "$list"

status=0
if grep -v -E -e '^(==|--) ' \
    -e '^(build|src|vendor)/' -e '^(README\.md|ARCHITECTURE\.md|CHANGELOG\.md|LICENSE-[A-Z]+)$' \
    -e '^(Cargo\.toml|Cargo\.toml\.orig|Cargo\.lock|\.cargo_vcs_info\.json)$' "$list"; then
    echo "FAILED: the files above are not meant to be published"
    status=1
fi
for file in build/main.rs src/lib.rs vendor/abi_check.c README.md LICENSE-APACHE LICENSE-MIT; do
    if ! grep -q -x -F "$file" "$list"; then
        echo "FAILED: $file is not in the package"
        status=1
    fi
done
exit "$status"
