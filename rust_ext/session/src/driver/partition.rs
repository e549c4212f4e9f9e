//! A partition as the driver refers to it; dropping the last reference frees it where it lives.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use daft_k8s_core::{Attempt, Generation, Location, Run, SlotId, TaskId, WorkerId};
use daft_k8s_ipc::{CodecError, PartitionData};

use super::{
    Inner as Driver,
    drops::{Dropped, Drops},
};

/// A task as tickets name it.
#[derive(Debug)]
pub(super) struct TaskName {
    pub(super) query_id: String,
    /// The number within the query.
    pub(super) number: u64,
}

impl TaskName {
    /// The ticket of an output that this attempt made.
    pub(super) fn ticket(&self, Generation { run, attempt }: Generation, slot: u32) -> String {
        format!("{}/{}.{attempt}:{slot}", self.query_of_run(run), self.number)
    }

    /// The query id under which workers know a run of the task. Each run after the first has one of its own: workers take
    /// no task of a query that has ended, nor one that they have met.
    pub(super) fn query_of_run(&self, run: Run) -> Cow<'_, str> {
        match run {
            Run::FIRST => Cow::Borrowed(&self.query_id),
            Run(run) => Cow::Owned(format!("{}~{}.{run}", self.query_id, self.number)),
        }
    }
}

/// The data that the driver has of a partition.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// All of it; sent to each process once, ahead of the first task there that reads it.
    Put(PartitionData),
    /// All of it, as an Arrow IPC stream that came with its task's end; sent along with each task that reads it.
    Inline(Bytes),
    /// None: it is in the store of a worker, which the [core](daft_k8s_core::Session) knows.
    Remote,
    /// None, as [`Self::Remote`]: an input of a task that runs again, which the core keeps for it.
    Pinned,
}

/// A reference to a partition: a slot. Clones share it; the last one to go frees the data.
#[derive(Clone)]
pub struct Partition {
    inner: Arc<Inner>,
}

struct Inner {
    slot: SlotId,
    maker: Arc<TaskName>,
    /// The attempt that made the data that the driver has; of a remote slot the core knows the generation.
    generation: Generation,
    num_rows: u64,
    size_bytes: u64,
    data: Data,
    /// True if processes were given copies, which they keep until they are told to drop them.
    is_uploaded: AtomicBool,
    driver: Weak<Driver>,
    drops: Drops,
}

impl Partition {
    pub(super) fn new(
        driver: &Arc<Driver>,
        slot: SlotId,
        (maker, generation): (Arc<TaskName>, Generation),
        (num_rows, size_bytes): (u64, u64),
        data: Data,
    ) -> Self {
        let drops = driver.drops.clone();
        if let Data::Inline(stream) = &data {
            drops.inline_bytes().add(stream.len());
        }
        let (is_uploaded, driver) = (AtomicBool::new(false), Arc::downgrade(driver));
        let inner = Inner { slot, maker, generation, num_rows, size_bytes, data, is_uploaded, driver, drops };
        Self { inner: Arc::new(inner) }
    }

    /// A partition that the driver made, of which it has the data.
    pub(super) fn put(driver: &Arc<Driver>, task: TaskId, data: PartitionData) -> Self {
        let maker = Arc::new(TaskName { query_id: "driver".to_owned(), number: task.0 });
        let size = (data.num_rows as u64, data.size_bytes);
        Self::new(driver, SlotId { task, slot: 0 }, (maker, Generation::first(Attempt::FIRST)), size, Data::Put(data))
    }

    /// An input of a task that runs again. It frees nothing.
    pub(super) fn pinned(driver: &Arc<Driver>, slot: SlotId, maker: Arc<TaskName>) -> Self {
        Self::new(driver, slot, (maker, Generation::first(Attempt::FIRST)), (0, 0), Data::Pinned)
    }

    /// A reference that keeps no data.
    pub(super) fn downgrade(&self) -> WeakPartition {
        WeakPartition(Arc::downgrade(&self.inner))
    }

    /// The task that made it.
    pub(super) fn maker(&self) -> &Arc<TaskName> {
        &self.inner.maker
    }

    /// The slot; unique in the session.
    pub fn slot(&self) -> SlotId {
        self.inner.slot
    }

    /// The number of rows.
    pub fn num_rows(&self) -> u64 {
        self.inner.num_rows
    }

    /// The size in memory, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// The worker that holds it, or lost it; `None` if the driver has it, or no longer knows, as after the session's end.
    pub fn worker(&self) -> Option<WorkerId> {
        self.location().map(|location| match location {
            Location::At(worker) => worker,
            Location::Lost(loss) => loss.worker,
        })
    }

    /// True if the data is gone: its holder was lost, the driver does not have it, and it cannot be recomputed.
    pub fn is_lost(&self) -> bool {
        if !self.is_remote() || self.inner.drops.is_in_forked_child() {
            return false;
        }
        self.inner.driver.upgrade().is_some_and(|driver| driver.state.lock().core.is_gone(self.inner.slot))
    }

    fn location(&self) -> Option<Location> {
        if !self.is_remote() || self.inner.drops.is_in_forked_child() {
            return None;
        }
        let driver = self.inner.driver.upgrade()?;
        let state = driver.state.lock();
        state.core.location(self.inner.slot).cloned()
    }

    /// True if the driver has the data: to read it takes no worker.
    pub fn is_at_hand(&self) -> bool {
        !self.is_remote()
    }

    /// True if the driver does not have the data.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.inner.data, Data::Remote | Data::Pinned)
    }

    pub(super) fn data(&self) -> &Data {
        &self.inner.data
    }

    /// The data, if the driver has it. Fails if a worker sent what is no Arrow IPC stream.
    pub(super) fn at_hand(&self) -> Result<Option<PartitionData>, CodecError> {
        match &self.inner.data {
            Data::Put(data) => Ok(Some(data.clone())),
            Data::Inline(stream) => PartitionData::from_stream(stream, self.inner.size_bytes).map(Some),
            Data::Remote | Data::Pinned => Ok(None),
        }
    }

    /// The attempt that made the data that the driver has.
    pub(super) fn own_generation(&self) -> Generation {
        self.inner.generation
    }

    /// The name of the data that this attempt made, for workers.
    pub(super) fn ticket(&self, generation: Generation) -> String {
        self.inner.maker.ticket(generation, self.inner.slot.slot)
    }

    /// Notes that a process is given a copy, which the last reference drops there.
    pub(super) fn note_upload(&self) {
        self.inner.is_uploaded.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Partition").field(&self.inner.slot).finish()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Data::Inline(stream) = &self.data {
            self.drops.inline_bytes().remove(stream.len());
        }
        let slot = self.slot;
        match &self.data {
            Data::Remote => self.drops.tell(Dropped::Remote { slot, maker: self.maker.clone() }),
            Data::Put(_) | Data::Inline(_) if *self.is_uploaded.get_mut() => {
                self.drops.tell(Dropped::Uploaded { ticket: self.maker.ticket(self.generation, slot.slot) });
            }
            Data::Put(_) | Data::Inline(_) | Data::Pinned => {}
        }
    }
}

/// A reference to a partition that does not keep it.
#[derive(Clone)]
pub(super) struct WeakPartition(Weak<Inner>);

impl WeakPartition {
    /// The partition, unless the last reference to it has gone.
    pub(super) fn upgrade(&self) -> Option<Partition> {
        self.0.upgrade().map(|inner| Partition { inner })
    }
}
