//! Both ends of Arrow Flight: [`serve`] answers DoGet and DoPut from a worker's store, [`DataClient`] fetches
//! partitions for other workers and the driver.
//!
//! Both speak the Flight wire format with codecs of their own (`daft_k8s_ipc`); any Flight client may still fetch a
//! partition.

#![forbid(unsafe_code)]

mod client;
mod error;
mod grpc;
mod server;

pub use client::{ClientConfig, DataClient};
pub use error::FetchError;
pub use server::{Limits, ServerOptions, serve};
