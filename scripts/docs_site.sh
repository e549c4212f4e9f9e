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

# The notice is about Material's successor, not about this site.
NO_MKDOCS_2_WARNING=1 PYTHONDONTWRITEBYTECODE=1 "$environment/bin/mkdocs" build --strict --quiet
echo "The documentation is in site/index.html."
