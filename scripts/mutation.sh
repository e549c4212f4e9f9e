#!/usr/bin/env bash
# Changes the code of the pure rooms in one place at a time and runs the room's tests: scripts/mutation.sh [SHARD] [python|core]
#   SHARD   k/n, for example 3/10: that sample of the mutants, the same each time; empty: all of them
# Python: mutmut, in an environment of its own, .venvs/mutation (requirements/mutation.txt); its settings are in pyproject.toml.
# Core: cargo-mutants (cargo install --locked cargo-mutants); its settings are in .cargo/mutants.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

shard="${1:-}"
part="${2:-all}"
[[ -z "$shard" || "$shard" =~ ^[1-9][0-9]*/[1-9][0-9]*$ ]] || { echo "SHARD is k/n, for example 3/10; not $shard" >&2; exit 1; }
[ -z "$shard" ] || (( ${shard%/*} <= ${shard#*/} )) || { echo "SHARD=k/n: k is at most n; not $shard" >&2; exit 1; }
case "$part" in all | python | core) ;; *) echo "a part is python or core, not $part" >&2; exit 1 ;; esac
export CI="${CI:-1}"  # Python's property tests draw the same examples for each mutant
export PROPTEST_CASES="${PROPTEST_CASES:-500}"  # the core's are not optimised here, and the long ones try 20,000

python_rooms() {
    local environment=.venvs/mutation names=() number
    if ! cmp -s requirements/mutation.txt "$environment/installed.txt"; then
        rm -rf "$environment"
        "$(./scripts/find_python.sh)" -m venv "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/mutation.txt
        "$environment/bin/python" scripts/link_checkout.py
        cp requirements/mutation.txt "$environment/installed.txt"
    fi
    # mutmut numbers the mutants of each function; a sample takes every n-th. Its results would outlive changes to tests.
    if [ -n "$shard" ]; then
        for ((number = ${shard%/*}; number < 1000; number += ${shard#*/})); do names+=("*__mutmut_$number"); done
    fi
    rm -rf mutants
    "$environment/bin/mutmut" run --max-children "$(getconf _NPROCESSORS_ONLN)" ${names[@]+"${names[@]}"} >.make/mutmut.log 2>&1 || {
        tail -n 40 .make/mutmut.log >&2
        exit 1
    }
}

core() {
    if ! cargo mutants --version >/dev/null 2>&1; then
        [ "$part" = all ] || { echo "cargo-mutants is not installed (cargo install --locked cargo-mutants; takes minutes)" >&2; exit 1; }
        echo "core is skipped: cargo-mutants is not installed (cargo install --locked cargo-mutants; takes minutes)"
        return
    fi
    # cargo-mutants counts shards from 0. It exits with 2 and 3 for mutants that were missed and that took too long.
    local code=0 sample=()
    [ -z "$shard" ] || sample=(--shard "$((${shard%/*} - 1))/${shard#*/}" --sharding round-robin)
    cargo mutants --package daft_k8s_core --output target/mutation --no-times --colors never ${sample[@]+"${sample[@]}"} || code=$?
    [[ "$code" =~ ^[023]$ ]] || exit "$code"
}

mkdir -p .make
rm -rf target/mutation/mutants.out
[ "$part" = core ] || python_rooms
[ "$part" = python ] || core
exec .venv/bin/python scripts/mutation_report.py
