#!/usr/bin/env bash
# The tests on a cluster: first those that break it or measure it, one after another, then the others, a few at once.
# scripts/test_integration.sh JOBS [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="$1"
shift
alone=(tests/integration/test_chaos*.py tests/integration/test_start_times.py)
worst=0

check() {
    local code=0
    .venv/bin/python -m pytest "$@" || code=$?
    [ "$code" = 5 ] || [ "$code" -le "$worst" ] || worst="$code"  # 5: the arguments select none of these
}
check "${alone[@]}" -o faulthandler_timeout=400 "$@"  # a node that is cut off takes its time
# What these do most is wait. A file's tests share a namespace, so one process runs them.
check tests/integration tests/unit/chart "${alone[@]/#/--ignore=}" --numprocesses "$jobs" --dist loadfile "$@"
exit "$worst"
