#!/usr/bin/env bash
# Builds the documentation into site/, with an environment of its own in .venvs/docs (requirements/docs.txt, about 20 MB to load).
# Any warning is an error. Without an index to install from, it is skipped with a note, but not in CI.
set -euo pipefail
cd "$(dirname "$0")/.."

environment=.venvs/docs
if ! cmp -s requirements/docs.txt "$environment/installed.txt"; then
    rm -rf "$environment"
    "$(./scripts/find_python.sh)" -m venv "$environment"
    if ! "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/docs.txt; then
        [ -z "${CI:-}" ] || exit 1
        echo "The site is not built: mkdocs could not be installed (no network?)."
        mkdir -p .make && echo "site: mkdocs could not be installed" >>.make/skipped
        exit 0
    fi
    cp requirements/docs.txt "$environment/installed.txt"
fi

# Not --quiet: what mkdocs does not log, it does not count as a warning. Its notice is about Material's successor.
export NO_MKDOCS_2_WARNING=1 PYTHONDONTWRITEBYTECODE=1
output="$("$environment/bin/mkdocs" build --strict 2>&1)" || { echo "$output" >&2; exit 1; }
echo "The documentation is in site/index.html."
