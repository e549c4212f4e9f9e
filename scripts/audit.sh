#!/usr/bin/env bash
# Asks whether anything that is locked has a known weakness, or a licence or source that is not allowed:
# - Cargo.lock, by cargo-deny (deny.toml): advisories, licences, bans, sources;
# - what the images hold, and what a developer's machine and the site's build install, by pip-audit, in an environment of its own.
# Each part runs, also after one has failed. What cannot be asked, without the tool or a network, is an error in CI and a note elsewhere.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

failed=()
left_out=()
report="$(mktemp -d)"
trap 'rm -rf "$report"' EXIT

unanswered() {
    echo "  not asked  $1: $2"
    left_out+=("$1")
}

if ! cargo deny --version >/dev/null 2>&1; then
    unanswered "Cargo.lock" "cargo-deny is not installed (cargo install --locked cargo-deny; takes minutes)"
else
    if cargo deny --offline check bans licenses sources; then echo "  ok         Cargo.lock: bans, licences, sources"; else failed+=("Cargo.lock"); fi
    if ! cargo deny fetch db >"$report/fetch" 2>&1; then
        unanswered "Cargo.lock, advisories" "the list of advisories cannot be fetched: $(tail -n 1 "$report/fetch")"
    elif cargo deny check advisories; then
        echo "  ok         Cargo.lock: advisories"
    else
        failed+=("Cargo.lock, advisories")
    fi
fi

environment=.venvs/audit
if ! cmp -s requirements/audit.txt "$environment/installed.txt"; then
    rm -rf "$environment"
    if "$(./scripts/find_python.sh)" -m venv "$environment" \
        && "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/audit.txt; then
        cp requirements/audit.txt "$environment/installed.txt"
    fi
fi
for name in image dev docs; do
    locked="requirements/$name.txt"
    if [ ! -e "$environment/installed.txt" ]; then
        unanswered "$locked" "pip-audit could not be installed (no network?)"
    # --strict: a package that PyPI does not tell about is not passed over.
    elif "$environment/bin/pip-audit" --strict --disable-pip --no-deps --progress-spinner off --requirement "$locked" \
        --format json --output "$report/$name.json" 2>"$report/$name.log"; then
        echo "  ok         $locked"
    # pip-audit ends the same way for a weakness and for a service that does not answer, but writes its report only with answers.
    elif [ -s "$report/$name.json" ]; then
        "$environment/bin/python" - "$report/$name.json" <<'PYTHON'
import json, sys
for package in json.load(open(sys.argv[1]))["dependencies"]:
    for weakness in package.get("vulns", []):
        versions = ", ".join(weakness["fix_versions"]) or "no version yet"
        print(f"  WEAK       {package['name']} {package['version']}: {weakness['id']}, mended in {versions}")
PYTHON
        failed+=("$locked")
    else
        unanswered "$locked" "pip-audit got no answer: $(tail -n 1 "$report/$name.log")"
    fi
done

if [ "${#left_out[@]}" -gt 0 ] && [ -n "${CI:-}" ]; then
    failed+=("${left_out[@]}")
fi
if [ "${#failed[@]}" -gt 0 ]; then
    printf 'Failed: %s\n' "${failed[*]}"
    exit 1
fi
