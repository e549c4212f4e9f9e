//! The store in which a worker keeps the outputs of its tasks until they are dropped.
//!
//! [`Store`] is what servers and tasks call; [`LocalStore`] keeps partitions in memory and, under pressure, in files that
//! are mapped back. Knows no socket.

#![deny(unsafe_code)]

mod error;
mod local;
pub mod memory;
mod sys;

use std::{future::Future, pin::Pin};

use daft_k8s_ipc::{PartitionData, Ticket};

pub use error::StoreError;
pub use local::{LocalStore, StoreConfig};
pub use memory::{MemoryLevel, MemoryUsage};

/// The partitions of one worker. Callers on a runtime's own threads use the methods that do not block.
pub trait Store: Send + Sync + 'static {
    /// Makes all outputs of a task visible at once, as slots 0, 1 ...; replaces what the task had. Never blocks: a caller
    /// that can wait is to call [`Store::relieve`] under pressure.
    fn insert(&self, task: &str, partitions: Vec<PartitionData>) -> Pressure;

    /// Blocks while more is in memory than may be, until there is room or no more can be made.
    fn relieve(&self);

    /// Stores one partition under its ticket, beside what the task has; replaces an older one. Blocks as
    /// [`Store::relieve`] does.
    fn put(&self, ticket: &Ticket, data: PartitionData);

    /// Finds a partition without reading it. Never blocks.
    fn look_up(&self, ticket: &Ticket) -> Result<Found, StoreError>;

    /// Forgets these partitions; unknown ones are ignored.
    fn drop_tickets(&self, tickets: &[Ticket]);

    /// Forgets all partitions of a task.
    fn drop_task(&self, task: &str);

    /// The content of the store, and the state of the memory. From [`MemoryLevel::Refuse`] on, take no further task.
    fn stats(&self) -> StoreStats;

    /// Forgets everything for the end of the process, and leaves no file behind. Blocks while one is being written.
    fn close(&self);
}

/// A partition that was looked up.
pub enum Found {
    /// The partition is in memory.
    Memory(PartitionData),
    /// The partition is elsewhere, e.g. on disk; the future reads it. Must run within a tokio runtime.
    Elsewhere(Pin<Box<dyn Future<Output = Result<PartitionData, StoreError>> + Send>>),
}

impl Found {
    /// The data, read if it must be.
    pub async fn fetch(self) -> Result<PartitionData, StoreError> {
        match self {
            Self::Memory(data) => Ok(data),
            Self::Elsewhere(reading) => reading.await,
        }
    }
}

/// Shortness of memory in a store after something was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a store that is out of memory is to be relieved"]
pub enum Pressure {
    /// Nothing has to wait.
    None,
    /// More is in memory than may be.
    OutOfMemory,
}

/// The content of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Partitions, in memory or not.
    pub partitions: usize,
    /// Partitions on disk.
    pub spilled_partitions: usize,
    /// Bytes of those in memory.
    pub store_bytes: u64,
    /// Bytes of those on disk.
    pub spilled_bytes: u64,
    /// Anonymous memory of the process at the last sample.
    pub resident_bytes: u64,
    /// The memory level.
    pub level: MemoryLevel,
}
