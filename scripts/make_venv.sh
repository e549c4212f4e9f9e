#!/usr/bin/env bash
# Makes or updates .venv from requirements/dev.txt and lets it see this checkout as an installed package.
# Only packages from the index that pip is set up for; nothing else is downloaded.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -x .venv/bin/python ] && ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "The environment in .venv does not run any more (was its Python removed?); making it anew."
    rm -rf .venv
fi
if [ ! -x .venv/bin/python ]; then
    python="$(./scripts/find_python.sh)"
    echo "Making .venv with $python"
    "$python" -m venv .venv
fi
if [ -n "${PYTHON:-}" ]; then
    asked="$("$PYTHON" -c 'import sys; print(sys.version_info[:2])')"
    [ "$(.venv/bin/python -c 'import sys; print(sys.version_info[:2])')" = "$asked" ] || {
        echo ".venv was made with another Python than $PYTHON; remove it first (make clean-venv)." >&2
        exit 1
    }
fi

.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/dev.txt
.venv/bin/python scripts/link_checkout.py
