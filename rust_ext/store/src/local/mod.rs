//! A store in memory and, under pressure, in files that are mapped back.

mod index;
mod spill_file;
mod spiller;

use std::{io, path::PathBuf, sync::Arc, thread::JoinHandle};

use daft_k8s_ipc::{PartitionData, Ticket};
use parking_lot::Mutex;
use tracing::dispatcher;

use self::{
    index::Location,
    spill_file::SpillFile,
    spiller::{ResidentSource, Spiller},
};
use crate::{Found, Pressure, Store, StoreError, StoreStats, memory};

/// The limits of a store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Memory for partitions, in bytes; 0: no limit.
    pub store_memory_bytes: u64,
    /// Memory for the whole process, in bytes; 0: no limit.
    pub worker_memory_bytes: u64,
    /// The folder for partitions under memory pressure, given to one process only. Made when first needed, readable by
    /// this user alone. Removed (if nothing else is in it) once no partition is spilled any more and the store is
    /// cleared or gone.
    pub spill_dir: PathBuf,
}

/// A worker's partitions in its memory and on its disk.
///
/// A thread of its own samples the memory every 100 ms and moves partitions to disk when the level
/// reaches [`MemoryLevel::Spill`](crate::MemoryLevel::Spill). The thread ends and all files go with the store.
pub struct LocalStore {
    spiller: Arc<Spiller>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LocalStore {
    /// An empty store. Fails only if no thread can be started.
    pub fn new(config: StoreConfig) -> io::Result<Self> {
        Self::with_resident_source(config, Box::new(memory::anonymous_resident_bytes))
    }

    fn with_resident_source(config: StoreConfig, source: ResidentSource) -> io::Result<Self> {
        let spiller = Arc::new(Spiller::new(config, source));
        let thread = {
            let spiller = spiller.clone();
            // The thread logs where its maker does.
            let log = dispatcher::get_default(Clone::clone);
            let run = move || dispatcher::with_default(&log, || spiller.run());
            std::thread::Builder::new().name("store-memory".into()).spawn(run)?
        };
        Ok(Self { spiller, thread: Mutex::new(Some(thread)) })
    }

    /// As [`Store::insert`], but blocks as [`Store::relieve`] does.
    pub fn publish(&self, task: &str, partitions: Vec<PartitionData>) {
        if self.insert(task, partitions) == Pressure::OutOfMemory {
            self.relieve();
        }
    }

    /// The partition, mapped back from disk if it is there (without a copy), on the caller's thread.
    pub fn get(&self, ticket: &Ticket) -> Result<PartitionData, StoreError> {
        let file = match self.spiller.index.lock().find(ticket) {
            Some(Location::Memory(data)) => return Ok(data.clone()),
            Some(Location::Spilled(file)) => file.clone(),
            None => return Err(StoreError::NotFound(ticket.clone())),
        };
        file.map()
    }

    /// Forgets everything, and removes the spill directory.
    fn clear(&self) {
        let removed = self.spiller.index.lock().clear();
        self.discard(removed);
        self.spiller.spill_dir.remove();
    }

    /// Frees memory and files with no lock held.
    fn discard(&self, removed: Vec<Location>) {
        let bytes =
            removed.iter().map(|place| if let Location::Memory(data) = place { data.size_bytes } else { 0 }).sum();
        drop(removed);
        self.spiller.freed(bytes);
    }
}

impl Store for LocalStore {
    fn insert(&self, task: &str, partitions: Vec<PartitionData>) -> Pressure {
        let slots =
            partitions.into_iter().enumerate().filter_map(|(slot, data)| Some((u32::try_from(slot).ok()?, data)));
        let replaced = self.spiller.index.lock().publish(task, slots);
        drop(replaced);
        self.spiller.note_stored()
    }

    fn relieve(&self) {
        self.spiller.relieve();
    }

    fn put(&self, ticket: &Ticket, data: PartitionData) {
        let replaced = self.spiller.index.lock().put(ticket, data);
        drop(replaced);
        if self.spiller.note_stored() == Pressure::OutOfMemory {
            self.relieve();
        }
    }

    fn look_up(&self, ticket: &Ticket) -> Result<Found, StoreError> {
        match self.spiller.index.lock().find(ticket) {
            Some(Location::Memory(data)) => Ok(Found::Memory(data.clone())),
            Some(Location::Spilled(file)) => Ok(Found::Elsewhere(Box::pin(read(file.clone())))),
            None => Err(StoreError::NotFound(ticket.clone())),
        }
    }

    fn drop_tickets(&self, tickets: &[Ticket]) {
        let removed: Vec<_> = {
            let mut index = self.spiller.index.lock();
            tickets.iter().filter_map(|ticket| index.remove(ticket)).collect()
        };
        self.discard(removed);
    }

    fn drop_task(&self, task: &str) {
        let removed = self.spiller.index.lock().remove_task(task);
        self.discard(removed);
    }

    fn stats(&self) -> StoreStats {
        let usage = self.spiller.usage();
        let counts = self.spiller.index.lock().counts();
        StoreStats {
            partitions: counts.partitions,
            spilled_partitions: counts.spilled_partitions,
            store_bytes: usage.store_bytes,
            spilled_bytes: counts.spilled_bytes,
            resident_bytes: usage.resident_bytes,
            level: usage.level(),
        }
    }

    fn close(&self) {
        self.spiller.stop_spilling();
        self.clear();
    }
}

/// Reads a spilled partition on a thread for blocking work, as the runtime's own threads serve the control connections,
/// too.
async fn read(file: Arc<SpillFile>) -> Result<PartitionData, StoreError> {
    let reading = tokio::task::spawn_blocking({
        let file = file.clone();
        move || file.map()
    });
    reading.await.unwrap_or_else(|error| Err(file.error("read", io::Error::other(error))))
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.spiller.stop();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        let removed = self.spiller.index.lock().clear();
        drop(removed);
        self.spiller.spill_dir.remove();
    }
}

#[cfg(test)]
mod tests;
