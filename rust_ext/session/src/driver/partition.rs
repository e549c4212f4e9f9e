//! A partition as the driver refers to it; dropping the last reference frees it where it lives.

use std::sync::Arc;

use bytes::Bytes;
use daft_k8s_core::WorkerId;
use daft_k8s_data::PartitionData;

use super::{
    drops::{Dropped, Drops},
    process::Process,
};

/// Where a partition lives.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the driver itself.
    Driver(PartitionData),
    /// In the store of one process of a worker; another process of that worker does not have it.
    Worker(Arc<Process>),
}

/// A reference to a partition. Clones share it; the last one to go frees the data.
#[derive(Debug, Clone)]
pub struct Partition {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ticket: String,
    num_rows: u64,
    size_bytes: u64,
    place: Place,
    /// A copy as an Arrow IPC stream, if the worker sent one along; empty otherwise.
    stream: Bytes,
    drops: Drops,
}

impl Partition {
    pub(super) fn new(ticket: String, num_rows: u64, size_bytes: u64, place: Place, drops: Drops) -> Self {
        Self::with_stream(ticket, num_rows, size_bytes, place, Bytes::new(), drops)
    }

    /// As [`Self::new`], with the data itself as an Arrow IPC stream.
    pub(super) fn with_stream(
        ticket: String,
        num_rows: u64,
        size_bytes: u64,
        place: Place,
        stream: Bytes,
        drops: Drops,
    ) -> Self {
        Self { inner: Arc::new(Inner { ticket, num_rows, size_bytes, place, stream, drops }) }
    }

    /// `<task key>:<slot>`, unique in the session.
    pub fn ticket(&self) -> &str {
        &self.inner.ticket
    }

    /// Rows.
    pub fn num_rows(&self) -> u64 {
        self.inner.num_rows
    }

    /// Size in memory, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// The worker that holds it; `None` if the driver does.
    pub fn worker(&self) -> Option<WorkerId> {
        match &self.inner.place {
            Place::Driver(_) => None,
            Place::Worker(process) => Some(process.worker),
        }
    }

    /// True if the data is gone: its holder was lost, and no copy is in the driver.
    pub fn is_lost(&self) -> bool {
        match &self.inner.place {
            Place::Driver(_) => false,
            Place::Worker(process) => self.inner.stream.is_empty() && process.is_lost(),
        }
    }

    /// The data, if it is in the driver: owned by it, or tiny and sent along with the news of it.
    pub(super) fn at_hand(&self) -> Option<PartitionData> {
        match &self.inner.place {
            Place::Driver(data) => Some(data.clone()),
            Place::Worker(..) if self.inner.stream.is_empty() => None,
            Place::Worker(..) => PartitionData::from_stream(&self.inner.stream, self.inner.size_bytes).ok(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let holder = match &self.place {
            Place::Driver(_) => None,
            Place::Worker(process) => Some(process.clone()),
        };
        self.drops.tell(Dropped { ticket: std::mem::take(&mut self.ticket), holder });
    }
}
