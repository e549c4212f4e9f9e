#!/usr/bin/env bash
# Prints the path of a Python that daft_k8s supports (3.10 to 3.13) and that can make virtual environments.
#   scripts/find_python.sh            the first that fits; $PYTHON, where set, is the only candidate
#   scripts/find_python.sh 3.13       one of exactly this version
# Exits with 1 and says why when there is none.
set -euo pipefail

wanted="${1:-}"

# Prints "ok", or why this interpreter cannot be used. Run, not only looked up: shims of version managers exist
# for versions that are not active, and fail.
judge() {
    "$1" - "$wanted" 2>/dev/null <<'PY' || echo "it does not run"
import sys
version = "%d.%d" % sys.version_info[:2]
wanted = sys.argv[1]
if wanted and version != wanted:
    print("it is Python %s" % version)
elif not (3, 10) <= sys.version_info[:2] <= (3, 13):
    print("it is Python %s, and 3.10 to 3.13 are supported" % version)
elif sys.implementation.name != "cpython":
    print("it is %s, and only CPython is supported" % sys.implementation.name)
else:
    try:
        import ensurepip, ssl, venv
    except ImportError as error:
        print("it lacks a module (%s); on Debian and Ubuntu: apt-get install python3-venv" % error)
    else:
        print("ok")
PY
}

if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
elif [ -n "$wanted" ]; then
    candidates=("python$wanted" python3)
else
    candidates=(python3 python3.12 python3.13 python3.11 python3.10)
fi
if [ -z "${PYTHON:-}" ]; then
    for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[0-3]*/bin/python3 "$HOME"/.local/share/uv/python/cpython-3.1[0-3]*/bin/python3; do
        [ -x "$found" ] && candidates+=("$found")
    done
fi

reasons=""
for candidate in "${candidates[@]}"; do
    path="$(command -v "$candidate" || true)"
    [ -n "$path" ] || continue
    verdict="$(judge "$path")"
    if [ "$verdict" = ok ]; then
        echo "$path"
        exit 0
    fi
    reasons+="    $path: $verdict"$'\n'
done

{
    echo "No Python ${wanted:-3.10 to 3.13} was found."
    [ -z "$reasons" ] || printf '  Looked at:\n%s' "$reasons"
    echo "  Install one (Debian and Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.12)"
    echo "  or name one: make PYTHON=/path/to/python3.12 ..."
} >&2
exit 1
