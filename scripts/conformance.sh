#!/usr/bin/env bash
# Runs Daft's own tests on this runner: scripts/conformance.sh DAFT [arguments of tests/conformance/run.py]
# DAFT is a checkout of Daft at a tag near the installed wheel; it is only read.
set -euo pipefail
cd "$(dirname "$0")/.."

source="${1:-}"
if [ -z "$source" ] || [ ! -d "$source/tests/dataframe" ]; then
    cat >&2 <<'TEXT'
DAFT must name a checkout of Daft, for its tests:
    git clone --depth 1 --branch v0.7.24 https://github.com/Eventual-Inc/Daft ../daft
    make conformance DAFT=../daft
TEXT
    exit 1
fi
shift
.venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements/conformance.txt
exec .venv/bin/python -m tests.conformance.run "$source" "$@"
