#!/usr/bin/env bash
# Writes requirements/*.txt anew from pyproject.toml: the newest versions that fit, for every supported Python.
# Needs uv (`pip install uv`).
set -euo pipefail
cd "$(dirname "$0")/.."

uv="$(command -v uv || echo .venv/bin/uv)"
[ -x "$uv" ] || { echo "uv is not installed: .venv/bin/pip install uv" >&2; exit 1; }

compile() {
    "$uv" pip compile "$@" --quiet --universal --python-version 3.10 --upgrade \
        --no-annotate --no-header --no-emit-index-url --no-emit-find-links
}
compile pyproject.toml --group dev --output-file requirements/dev.txt
compile pyproject.toml --group dev --group conformance --output-file requirements/conformance.txt
compile pyproject.toml --group dev --group mutation --output-file requirements/mutation.txt
compile --group audit --output-file requirements/audit.txt
# The site needs nothing of the project's own.
compile --group docs --output-file requirements/docs.txt

# The image's dependencies come with hashes: what is released is what was tried.
compile pyproject.toml --extra kubernetes --extra metrics --group image --generate-hashes --output-file requirements/image.txt
