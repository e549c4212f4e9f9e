//! Writes `rust_ext/control/src/proto/` from `protos/`; run by `make protos`, checked by CI.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let protos = root.join("protos");
    let descriptors = protox::compile(["daft_k8s/v1/worker.proto"], [protos])?;
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(root.join("rust_ext/control/src/proto"))
        .compile_fds(descriptors)?;
    Ok(())
}
