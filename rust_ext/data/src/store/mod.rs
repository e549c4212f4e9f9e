//! Where a worker keeps the outputs of its tasks until they are dropped.

mod index;
mod keeper;
mod spill;

use std::{io, path::PathBuf, sync::Arc, thread::JoinHandle};

use daft_k8s_core::LogSink;
use parking_lot::Mutex;

use self::{
    index::Place,
    keeper::{Keeper, ResidentSource},
    spill::SpillFile,
};
use crate::{MemoryLevel, MemoryUsage, PartitionData, StoreError, Ticket, memory};

/// What a store may use.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Memory for partitions, in bytes; 0: no limit.
    pub store_memory_bytes: u64,
    /// Memory for the whole process, in bytes; 0: no limit.
    pub worker_memory_bytes: u64,
    /// Where partitions go under pressure. Made when first needed, readable by this user alone,
    /// and removed (if nothing else is in it) once nothing is spilled any more and the store is
    /// cleared or gone. To be given to one process only.
    pub spill_dir: PathBuf,
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

/// What a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStats {
    /// Partitions, in memory or not.
    pub partitions: usize,
    /// Those on disk.
    pub spilled_partitions: usize,
    /// Bytes of those in memory.
    pub store_bytes: u64,
    /// Bytes of those on disk.
    pub spilled_bytes: u64,
    /// Anonymous memory of the process at the last sample.
    pub resident_bytes: u64,
    /// How full it is.
    pub level: MemoryLevel,
}

/// A worker's partitions; a clone is the same store.
///
/// A thread of its own samples the memory every 100 ms and moves partitions to disk when the level
/// reaches [`MemoryLevel::Spill`]. The thread ends and all files go with the last clone.
#[derive(Clone)]
pub struct Store {
    owner: Arc<Owner>,
}

struct Owner {
    keeper: Arc<Keeper>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A partition that was looked up: spilled ones are not yet mapped.
#[derive(Debug)]
pub(crate) enum Found {
    Memory(PartitionData),
    Spilled(Arc<SpillFile>),
}

impl Found {
    /// The data; for a spilled partition this reads from disk.
    pub(crate) fn load(self) -> Result<PartitionData, StoreError> {
        match self {
            Self::Memory(data) => Ok(data),
            Self::Spilled(file) => file.map(),
        }
    }

    /// As [`Found::load`]; a spilled partition is read on a thread for blocking work, as the runtime's own threads serve
    /// the control connections, too.
    pub(crate) async fn fetch(self) -> Result<PartitionData, StoreError> {
        match self {
            Self::Memory(data) => Ok(data),
            Self::Spilled(file) => {
                let reading = tokio::task::spawn_blocking({
                    let file = file.clone();
                    move || file.map()
                });
                reading.await.unwrap_or_else(|error| Err(file.error("read", io::Error::other(error))))
            }
        }
    }
}

impl Store {
    /// An empty store. Fails only if no thread can be started.
    pub fn new(config: StoreConfig, log: LogSink) -> io::Result<Self> {
        Self::with_resident_source(config, log, Box::new(memory::anonymous_resident_bytes))
    }

    fn with_resident_source(config: StoreConfig, log: LogSink, source: ResidentSource) -> io::Result<Self> {
        let keeper = Arc::new(Keeper::new(config, log, source));
        let thread = {
            let keeper = keeper.clone();
            std::thread::Builder::new().name("store-memory".into()).spawn(move || keeper.run())?
        };
        Ok(Self { owner: Arc::new(Owner { keeper, thread: Mutex::new(Some(thread)) }) })
    }

    fn keeper(&self) -> &Keeper {
        &self.owner.keeper
    }

    /// Makes all outputs of a task visible at once, as slots 0, 1 ...; replaces what the task had.
    ///
    /// Blocks the caller while more is in memory than may be, until enough of it is on disk.
    pub fn publish(&self, task: &str, partitions: Vec<PartitionData>) {
        if self.insert(task, partitions) == Pressure::OutOfMemory {
            self.relieve();
        }
    }

    /// As [`Store::publish`], but never blocks: a caller that can wait is to call [`Store::relieve`] under pressure.
    pub fn insert(&self, task: &str, partitions: Vec<PartitionData>) -> Pressure {
        let slots =
            partitions.into_iter().enumerate().filter_map(|(slot, data)| Some((u32::try_from(slot).ok()?, data)));
        let replaced = self.keeper().index.lock().publish(task, slots);
        drop(replaced);
        self.keeper().note_stored()
    }

    /// Blocks while more is in memory than may be, until enough of it is on disk or the disk refuses.
    pub fn relieve(&self) {
        self.keeper().relieve();
    }

    /// Stores one partition under its ticket, beside what the task has; replaces an older one.
    ///
    /// Blocks as [`Store::publish`] does.
    pub fn put(&self, ticket: &Ticket, data: PartitionData) {
        let replaced = self.keeper().index.lock().put(ticket, data);
        drop(replaced);
        if self.keeper().note_stored() == Pressure::OutOfMemory {
            self.relieve();
        }
    }

    /// The partition, mapped back from disk if it is there (without a copy).
    pub fn get(&self, ticket: &Ticket) -> Result<PartitionData, StoreError> {
        self.look_up(ticket)?.load()
    }

    /// As [`Store::get`], for a caller that must not block: a spilled partition is read on a thread for that. Must run
    /// within a tokio runtime.
    pub async fn fetch(&self, ticket: &Ticket) -> Result<PartitionData, StoreError> {
        self.look_up(ticket)?.fetch().await
    }

    /// Whether the partition is here, in memory or not.
    pub fn contains(&self, ticket: &Ticket) -> bool {
        self.keeper().index.lock().find(ticket).is_some()
    }

    pub(crate) fn look_up(&self, ticket: &Ticket) -> Result<Found, StoreError> {
        match self.keeper().index.lock().find(ticket) {
            Some(Place::Memory(data)) => Ok(Found::Memory(data.clone())),
            Some(Place::Spilled(file)) => Ok(Found::Spilled(file.clone())),
            None => Err(StoreError::NotFound(ticket.clone())),
        }
    }

    /// Forgets these partitions; unknown ones are ignored.
    pub fn drop_tickets(&self, tickets: &[Ticket]) {
        let removed: Vec<_> = {
            let mut index = self.keeper().index.lock();
            tickets.iter().filter_map(|ticket| index.remove(ticket)).collect()
        };
        self.discard(removed);
    }

    /// Forgets all partitions of a task.
    pub fn drop_task(&self, task: &str) {
        let removed = self.keeper().index.lock().remove_task(task);
        self.discard(removed);
    }

    /// Forgets everything, and removes the spill directory.
    pub fn clear(&self) {
        let removed = self.keeper().index.lock().clear();
        self.discard(removed);
        self.keeper().spill_dir.remove();
    }

    /// As [`Self::clear`], for the end of the process: nothing is spilled from now on, so that no file comes after.
    ///
    /// Blocks while a partition is being written.
    pub fn close(&self) {
        self.keeper().stop_spilling();
        self.clear();
    }

    /// Frees memory and files with no lock held.
    fn discard(&self, removed: Vec<Place>) {
        let bytes = removed.iter().map(|place| if let Place::Memory(data) = place { data.size_bytes } else { 0 }).sum();
        drop(removed);
        self.keeper().freed(bytes);
    }

    /// How full memory is now. From [`MemoryLevel::Refuse`] on, take no further task.
    pub fn level(&self) -> MemoryLevel {
        self.usage().level()
    }

    /// What is used of what there is.
    pub fn usage(&self) -> MemoryUsage {
        self.keeper().usage()
    }

    /// What the store holds.
    pub fn stats(&self) -> StoreStats {
        let usage = self.usage();
        let counts = self.keeper().index.lock().counts();
        StoreStats {
            partitions: counts.partitions,
            spilled_partitions: counts.spilled_partitions,
            store_bytes: usage.store_bytes,
            spilled_bytes: counts.spilled_bytes,
            resident_bytes: usage.resident_bytes,
            level: usage.level(),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.keeper.stop();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        let removed = self.keeper.index.lock().clear();
        drop(removed);
        self.keeper.spill_dir.remove();
    }
}

#[cfg(test)]
mod tests;
