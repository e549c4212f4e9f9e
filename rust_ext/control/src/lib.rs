//! The control protocol between a driver and its workers: generated messages, a server that refuses
//! other callers, and a client. What the calls mean is decided by `daft_k8s_session`.

pub mod auth;
mod client;
mod members;
mod progress;
mod server;

pub use client::{CONNECT_TIMEOUT, Client, ClientError, connect_lazily, connect_observed, describe, handshake};
pub use progress::OnProgress;
pub use server::{HealthSwitch, ServerOptions, serve, serve_health};

/// The messages and stubs generated from `protos/daft_k8s/v1/worker.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    include!("proto/daft_k8s.v1.rs");
}

/// Version of the control protocol; driver and worker must agree on it.
pub const PROTOCOL_VERSION: u32 = 3;
