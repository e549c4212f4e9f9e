//! A partition as the driver refers to it; dropping the last reference frees it where it lives.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use daft_k8s_core::WorkerId;
use daft_k8s_ipc::{CodecError, PartitionData};

use super::{
    drops::{Dropped, Drops},
    process::Process,
};

/// Where a partition lives.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the driver itself; sent to each process once, ahead of the first task there that reads it.
    Driver(PartitionData),
    /// In the driver itself, as an Arrow IPC stream that came with its task's end; sent along with each task that reads it.
    Inline(Bytes),
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
    /// True if processes were given copies, which they keep until they are told to drop them.
    is_uploaded: AtomicBool,
    /// True if a task or a fetch has read it, or is about to. Until then its query is sure to need it.
    is_read: AtomicBool,
    drops: Drops,
}

impl Inner {
    fn query_id(&self) -> &str {
        self.ticket.rsplit_once('/').map_or(&self.ticket, |(query_id, _)| query_id)
    }

    fn mark_read(&self) {
        if !self.is_read.swap(true, Ordering::Relaxed)
            && let Place::Worker(process) = &self.place
        {
            process.remove_unread(self.query_id());
        }
    }
}

impl Partition {
    pub(super) fn new(ticket: String, num_rows: u64, size_bytes: u64, place: Place, drops: Drops) -> Self {
        if let Place::Inline(stream) = &place {
            drops.inline_bytes().add(stream.len());
        }
        let (is_uploaded, is_read) = (AtomicBool::new(false), AtomicBool::new(true));
        Self { inner: Arc::new(Inner { ticket, num_rows, size_bytes, place, is_uploaded, is_read, drops }) }
    }

    /// Notes that its query has been told of it, and is sure to need it until it is read. Daft drops outputs without
    /// rows unread.
    pub(super) fn expect_reader(&self) {
        if let Place::Worker(process) = &self.inner.place
            && self.inner.num_rows > 0
            && self.inner.is_read.swap(false, Ordering::Relaxed)
        {
            process.add_unread(self.inner.query_id());
        }
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
            Place::Driver(_) | Place::Inline(_) => None,
            Place::Worker(process) => Some(process.worker),
        }
    }

    /// True if the data is gone: its holder was lost, and the driver does not have it.
    pub fn is_lost(&self) -> bool {
        match &self.inner.place {
            Place::Driver(_) | Place::Inline(_) => false,
            Place::Worker(process) => process.is_lost(),
        }
    }

    /// The data, if it is in the driver. Fails if a worker sent what is no Arrow IPC stream.
    pub(super) fn at_hand(&self) -> Result<Option<PartitionData>, CodecError> {
        match &self.inner.place {
            Place::Driver(data) => Ok(Some(data.clone())),
            Place::Inline(stream) => PartitionData::from_stream(stream, self.inner.size_bytes).map(Some),
            Place::Worker(_) => Ok(None),
        }
    }

    /// Notes that a process is given a copy, which the last reference drops there.
    pub(super) fn note_upload(&self) {
        self.inner.is_uploaded.store(true, Ordering::Relaxed);
    }

    /// Notes that a task or a fetch takes care of it from now on: if it is lost, that will say so.
    pub(super) fn mark_read(&self) {
        self.inner.mark_read();
    }

    pub(super) fn place(&self) -> &Place {
        &self.inner.place
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.mark_read();
        if let Place::Inline(stream) = &self.place {
            self.drops.inline_bytes().remove(stream.len());
        }
        let holder = match &self.place {
            Place::Worker(process) => Some(process.clone()),
            Place::Driver(_) | Place::Inline(_) if *self.is_uploaded.get_mut() => None,
            Place::Driver(_) | Place::Inline(_) => return,
        };
        self.drops.tell(Dropped { ticket: std::mem::take(&mut self.ticket), holder });
    }
}
