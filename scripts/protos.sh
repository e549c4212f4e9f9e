#!/usr/bin/env bash
# Generates the Rust code of the control protocol from protos/. No protoc is needed: the compiler is a crate.
#   scripts/protos.sh          writes rust_ext/control/src/proto/
#   scripts/protos.sh check    fails where the committed code is not what would be written; changes nothing
set -euo pipefail
cd "$(dirname "$0")/.."

generated=rust_ext/control/src/proto
if [ "${1:-}" != check ]; then
    cargo run ${CI:+--locked} --quiet --release -p daft_k8s_protogen
    echo "Written: $(ls -d "$generated"/*)"
    exit
fi

before="$(mktemp -d)"
cp -R "$generated/." "$before/"
restore() {
    cp -R "$before/." "$generated/"
    rm -rf "$before"
}
trap restore EXIT
cargo run ${CI:+--locked} --quiet --release -p daft_k8s_protogen
if ! diff -ru "$before" "$generated"; then
    echo "The generated code is not what protos/ says; run: make protos" >&2
    exit 1
fi
