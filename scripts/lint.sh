#!/usr/bin/env bash
# Runs every check, also after one has failed, and ends with a line for each.
#   scripts/lint.sh fast    what takes seconds (part of make test)
#   scripts/lint.sh full    also clippy, the stubs against the built extension, the generated code, the licences, the workflows
# A tool that is not installed is noted in .make/skipped, which `make test` prints at its end.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

mode="${1:-full}"
bin=.venv/bin
failed=()
mkdir -p .make

check() {
    local name="$1" output
    shift
    if output="$("$@" 2>&1)"; then
        printf '  ok       %s\n' "$name"
    else
        printf '  FAILED   %s\n%s\n' "$name" "$(head -n 80 <<<"$output")"
        failed+=("$name")
    fi
}

skip() {
    printf '  skipped  %s: %s\n' "$1" "$2"
    grep -qsxF "$1: $2" .make/skipped || printf '%s: %s\n' "$1" "$2" >>.make/skipped
}

echo "Checks:"
check "ruff" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "layers (import-linter)" "$bin/lint-imports" --no-cache
check "documents" "$bin/python" scripts/check_docs.py
check "chart" "$bin/python" scripts/chart.py check
if cargo fmt --version >/dev/null 2>&1; then
    check "rustfmt" cargo fmt --all --check -- --color never -l
else
    skip "rustfmt" "not installed (rustup component add rustfmt)"
fi

if [ "$mode" = full ]; then
    if cargo clippy --version >/dev/null 2>&1; then
        check "clippy" cargo clippy ${CI:+--locked} --quiet --release --all-targets -- -D warnings
    else
        skip "clippy" "not installed (rustup component add clippy)"
    fi
    check "stubs (stubtest)" "$bin/python" -m mypy.stubtest daft_k8s._native --allowlist scripts/stubtest_allowlist.txt
    check "generated code" scripts/protos.sh check
    if cargo deny --version >/dev/null 2>&1; then
        # Licences, sources and duplicates are in the lock file; the list of advisories would be a download.
        check "cargo-deny" cargo deny --offline check bans licenses sources
    else
        skip "cargo-deny" "not installed (cargo install --locked cargo-deny; takes minutes)"
    fi
    if command -v actionlint >/dev/null; then
        check "workflows (actionlint)" actionlint
    else
        skip "actionlint" "not installed (go install github.com/rhysd/actionlint/cmd/actionlint@latest)"
    fi
fi

if [ "${#failed[@]}" -gt 0 ]; then
    echo "Failed: ${failed[*]}"
    exit 1
fi
