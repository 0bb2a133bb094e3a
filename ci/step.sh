# shellcheck shell=bash
# What the checks have in common; sourced by each, no check itself.
#
# A check is a script of its own, so that the one that failed can be repeated alone: `bash ci/NAME.sh`. Every command
# is printed as it could be typed, before it runs, and its time after it. Status 77 says that a check was skipped.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Builds with other flags than the usual ones live below it: they would throw each other out of one directory.
target=${CARGO_TARGET_DIR:-target}
check=$(basename "$0" .sh)
host=$(rustc -vV | sed -n 's/^host: //p')
# The test of the derive macro's error messages starts a compiler for each, and they are the same under every engine and
# tool: `ci/test.sh` runs it, the others do not.
# shellcheck disable=SC2034
skip_messages=(--skip errors_explain_themselves)

# step NAME COMMAND...
step() {
    local name=$1 start=$SECONDS status=0
    shift
    printf '== %s: %s\n' "$name" "$(printf '%q ' "$@")"
    "$@" || status=$?
    printf -- '-- %s: %d s, status %d\n' "$name" $((SECONDS - start)) "$status"
    return "$status"
}

# must_print NAME TEXT COMMAND...: the command succeeds and prints the text.
# must_report NAME TEXT COMMAND...: the command fails and prints the text. Failing alone is not enough: it might not
# even have been built.
must_print() { step_with_text success "$@"; }
must_report() { step_with_text failure "$@"; }

step_with_text() {
    local wanted=$1 name=$2 text=$3 outcome=success start=$SECONDS output found
    shift 3
    output=$(mktemp)
    printf '== %s: %s\n' "$name" "$(printf '%q ' "$@")"
    "$@" >"$output" 2>&1 || outcome=failure
    if [[ $outcome != "$wanted" ]] || ! grep -q -e "$text" "$output"; then
        cat "$output"
        printf 'FAILED: %s: expected %s with the text "%s"\n' "$name" "$wanted" "$text"
        wanted=neither
    fi
    found=$(grep -m 1 -e "$text" "$output" || true)
    printf -- '-- %s: %d s, %s, "%s"\n' "$name" $((SECONDS - start)) "$outcome" "$found"
    rm "$output"
    [[ $outcome = "$wanted" ]]
}

# skip REASON
skip() {
    printf 'SKIPPED: %s because %s\n' "$check" "$*"
    exit 77
}

# need_package COMMAND PACKAGE: installs only where nobody's machine is changed by it.
need_package() {
    command -v "$1" >/dev/null && return
    if [[ ${CI:-} = true ]] && command -v apt-get >/dev/null; then
        step "install $2" apt-get update -qq || true
        step "install $2" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" || true
    fi
    command -v "$1" >/dev/null || skip "$1 is not installed (package $2)"
}

# need_component COMMAND COMPONENT, of the toolchain in use
need_component() {
    cargo "$1" --version >/dev/null 2>&1 && return
    if [[ ${CI:-} = true ]]; then
        step "install $2" rustup component add "$2" || true
    fi
    cargo "$1" --version >/dev/null 2>&1 || skip "cargo $1 is not installed (component $2)"
}

# need_nightly: the sanitizers are options of the nightly compiler only.
need_nightly() {
    cargo +nightly --version >/dev/null 2>&1 && return
    if [[ ${CI:-} = true ]]; then
        step "install nightly" timeout 300 rustup toolchain install nightly --profile minimal || true
    fi
    cargo +nightly --version >/dev/null 2>&1 || skip "the nightly toolchain is not installed"
}
