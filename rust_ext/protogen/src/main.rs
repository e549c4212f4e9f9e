//! Writes the Rust code of `protos/` into a folder; run by `scripts/protos.sh`.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = std::env::args().nth(1).ok_or("which folder is the code to be written into?")?;
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protos");
    let descriptors = protox::compile(["daft_k8s/v1/worker.proto"], [protos])?;
    tonic_prost_build::configure().bytes(".").out_dir(out_dir).compile_fds(descriptors)?;
    Ok(())
}
