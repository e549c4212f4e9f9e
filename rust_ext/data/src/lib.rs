//! The data plane of a worker: its partition store and the two ends of Arrow Flight.
//!
//! [`Store`] keeps the outputs of tasks in memory and, under pressure, in files that are mapped back.
//! [`serve`] answers DoGet and DoPut from it, [`DataClient`] fetches partitions from other workers.
//! Both ends speak the Flight wire format with codecs of their own, so that Arrow buffers go onto
//! the socket as they lie in memory and come off it into memory that arrays can use as it is; any
//! Flight client may still fetch a partition.

#![deny(unsafe_code)]

mod client;
mod codec;
pub mod error;
mod grpc;
pub mod memory;
mod partition;
mod server;
mod store;
mod sys;
mod ticket;
mod trusted;

pub use client::{ClientConfig, DataClient};
pub use error::{CodecError, FetchError, StoreError};
pub use memory::{MemoryLevel, MemoryUsage};
pub use partition::PartitionData;
pub use server::{Limits, ServerOptions, serve};
pub use store::{Pressure, Store, StoreConfig, StoreStats};
pub use ticket::{Ticket, TicketError};
