#!/usr/bin/env bash
# Runs scripts/smoke.py on the ends of what is supported: the oldest and newest Daft, each with Python 3.10 and 3.13.
# The extension is built once (stable ABI). The environments stay in .venvs/ for the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"

oldest_daft="$(sed -n 's/.*"daft>=\([0-9.]*\),.*/\1/p' pyproject.toml)"
range="$(sed -n 's/.*"\(daft>=[^"]*\)".*/\1/p' pyproject.toml)"
results=()
status=0

for version in 3.10 3.13; do
    if ! python="$(PYTHON='' ./scripts/find_python.sh "$version" 2>/dev/null)"; then
        results+=("Python $version: skipped, none is installed")
        continue
    fi
    for daft in "daft==$oldest_daft" "$range"; do
        case "$daft" in daft==*) name="py$version-oldest" ;; *) name="py$version-newest" ;; esac
        home="$root/.venvs/$name"
        [ -x "$home/bin/python" ] || "$python" -m venv "$home"
        tomli=()
        [ "$version" = 3.10 ] && tomli=("tomli>=2")
        "$home/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$daft" ${tomli[@]+"${tomli[@]}"}
        "$home/bin/python" scripts/link_checkout.py
        if output="$(cd / && DAFT_PROGRESS_BAR=0 DAFT_ANALYTICS_ENABLED=0 "$home/bin/python" "$root/scripts/smoke.py" 2>&1)"; then
            results+=("$(tail -n 1 <<<"$output")")
        else
            status=1
            echo "$output"
            results+=("Python $version with $daft: FAILED")
        fi
    done
done

printf '%s\n' "${results[@]}"
# No environment at all would be a check that cannot fail.
[ -n "$(printf '%s\n' "${results[@]}" | grep 'queries right' || true)" ] || status=1
exit "$status"
