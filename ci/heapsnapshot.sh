#!/usr/bin/env bash
# That Chromium's developer tools load the heap snapshots: the format is theirs, and what their reader makes of a file is the only thing
# that decides. It is asked for the nodes, the objects and bytes of each class, and what the root retains, and all of it is compared with
# a census. The tools' front end is a part of the browser; nothing is fetched.
set -euo pipefail
. "$(dirname "$0")/step.sh"
need_package node nodejs
need_package chromium chromium

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
step "write snapshots" env MIMALLOC_RUNTIME_SNAPSHOTS="$files" \
    cargo test -p mimalloc-runtime --test behaviour snapshots_for_chromium -- --ignored
check=(timeout 300 node ci/heapsnapshot/check.mjs "$(command -v chromium)")
pairs=()
for name in empty some garbage named; do pairs+=("$files/$name.heapsnapshot" "$files/$name.json"); done
must_print "the tools find what was counted" "^all as counted" "${check[@]}" "${pairs[@]}"

# That the check sees: one object too many, and references that begin elsewhere.
sed -E 's/"nodes":([0-9]+)/"nodes":1\1/' "$files/some.json" >"$files/wrong.json"
must_report "planted: a wrong count" "^  nodes: the tools find" "${check[@]}" "$files/some.heapsnapshot" "$files/wrong.json"
sed 's/"edges":\[/"edges":[1,0,0,/' "$files/named.heapsnapshot" >"$files/wrong.heapsnapshot"
must_report "planted: a reference too many" "^  references: the tools find" \
    "${check[@]}" "$files/wrong.heapsnapshot" "$files/named.json"
