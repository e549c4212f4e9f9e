#!/usr/bin/env bash
# Generates the code of the control protocol from protos/. No protoc has to be installed: the compilers are a crate
# and a Python package.
#   scripts/protos.sh          writes rust_ext/control/src/proto/, and for the tests' independent peer tests/protocol/
#   scripts/protos.sh check    fails where the committed code is not what would be written; changes nothing
set -euo pipefail
cd "$(dirname "$0")/.."

# Everything is written below this folder, which for a check is a scratch one.
generate() {
    mkdir -p "$1/rust_ext/control/src/proto" "$1/tests/protocol"
    cargo run ${CI:+--locked} --quiet --release -p daft_k8s_protogen -- "$1/rust_ext/control/src/proto"
    # The tests' stubs get a module path of their own: that of the proto file is the package's.
    .venv/bin/python -m grpc_tools.protoc -Itests/protocol=protos/daft_k8s/v1 \
        --python_out="$1" --grpc_python_out="$1" tests/protocol/worker.proto
}

generated=(rust_ext/control/src/proto/daft_k8s.v1.rs tests/protocol/worker_pb2.py tests/protocol/worker_pb2_grpc.py)
if [ "${1:-}" != check ]; then
    generate "$PWD"
    echo "Written: ${generated[*]}"
    exit
fi

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
generate "$scratch"
stale=0
for file in "${generated[@]}"; do
    diff -u "$file" "$scratch/$file" || stale=1
done
if [ "$stale" = 1 ]; then
    echo "The generated code is not what protos/ says; run: make protos" >&2
    exit 1
fi
