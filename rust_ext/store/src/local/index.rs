//! The index of partitions: their locations and sizes. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use daft_k8s_ipc::{PartitionData, Ticket};

use super::spill_file::SpillFile;

/// The location of a partition: in memory or on disk.
#[derive(Debug)]
pub(super) enum Location {
    Memory(PartitionData),
    Spilled(Arc<SpillFile>),
}

impl Location {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Memory(data) => data.size_bytes,
            Self::Spilled(file) => file.size_bytes(),
        }
    }
}

struct Entry {
    /// Grows with every entry: tells an entry from a later one under the same ticket.
    sequence: u64,
    location: Location,
}

/// A partition that may go to disk.
pub(super) struct Victim {
    pub(super) ticket: Ticket,
    pub(super) sequence: u64,
    pub(super) data: PartitionData,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) partitions: usize,
    pub(super) spilled_partitions: usize,
    pub(super) store_bytes: u64,
    pub(super) spilled_bytes: u64,
}

#[derive(Default)]
pub(super) struct Index {
    tasks: HashMap<Arc<str>, BTreeMap<u32, Entry>>,
    next_sequence: u64,
    counts: Counts,
}

impl Index {
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns what was replaced, to be dropped outside the lock.
    pub(super) fn publish(&mut self, task: &str, slots: impl Iterator<Item = (u32, PartitionData)>) -> Vec<Location> {
        let replaced = self.remove_task(task);
        let mut entries = BTreeMap::new();
        for (slot, data) in slots {
            let entry = self.new_entry(data);
            entries.insert(slot, entry);
        }
        if !entries.is_empty() {
            self.tasks.insert(task.into(), entries);
        }
        replaced
    }

    pub(super) fn put(&mut self, ticket: &Ticket, data: PartitionData) -> Option<Location> {
        let replaced = self.remove(ticket);
        let entry = self.new_entry(data);
        self.tasks.entry(ticket.task.clone()).or_default().insert(ticket.slot, entry);
        replaced
    }

    fn new_entry(&mut self, data: PartitionData) -> Entry {
        let entry = Entry { sequence: self.next_sequence, location: Location::Memory(data) };
        self.next_sequence += 1;
        self.add(&entry.location);
        entry
    }

    pub(super) fn find(&self, ticket: &Ticket) -> Option<&Location> {
        Some(&self.tasks.get(&ticket.task)?.get(&ticket.slot)?.location)
    }

    pub(super) fn remove(&mut self, ticket: &Ticket) -> Option<Location> {
        let slots = self.tasks.get_mut(&ticket.task)?;
        let entry = slots.remove(&ticket.slot)?;
        if slots.is_empty() {
            self.tasks.remove(&ticket.task);
        }
        self.subtract(&entry.location);
        Some(entry.location)
    }

    pub(super) fn remove_task(&mut self, task: &str) -> Vec<Location> {
        let slots = self.tasks.remove(task).unwrap_or_default();
        let locations: Vec<_> = slots.into_values().map(|entry| entry.location).collect();
        for location in &locations {
            self.subtract(location);
        }
        locations
    }

    pub(super) fn clear(&mut self) -> Vec<Location> {
        self.counts = Counts::default();
        std::mem::take(&mut self.tasks)
            .into_values()
            .flat_map(BTreeMap::into_values)
            .map(|entry| entry.location)
            .collect()
    }

    /// Partitions in memory of at least `least_bytes` each that sum up to `wanted_bytes`, or all there are. The
    /// largest come first, and the older first among those of like size.
    pub(super) fn victims(&self, wanted_bytes: u64, least_bytes: u64) -> Vec<Victim> {
        let mut candidates: Vec<_> = self
            .tasks
            .iter()
            .flat_map(|(task, slots)| slots.iter().map(move |(slot, entry)| (task, *slot, entry)))
            .filter_map(|(task, slot, entry)| match &entry.location {
                Location::Memory(data) if data.size_bytes >= least_bytes => Some((task, slot, entry.sequence, data)),
                _ => None,
            })
            .collect();
        candidates.sort_unstable_by_key(|(_, _, sequence, data)| {
            (std::cmp::Reverse(data.size_bytes.max(1).ilog2() / 2), *sequence)
        });
        let mut victims = Vec::new();
        let mut sum = 0;
        for (task, slot, sequence, data) in candidates {
            if sum >= wanted_bytes {
                break;
            }
            sum += data.size_bytes;
            victims.push(Victim { ticket: Ticket::new(task.clone(), slot), sequence, data: data.clone() });
        }
        victims
    }

    /// Puts the file in the place of the data, unless the partition was dropped or replaced
    /// meanwhile. Returns what is no longer needed, to be dropped outside the lock.
    pub(super) fn spilled(&mut self, victim: &Victim, file: Arc<SpillFile>) -> Result<Location, Arc<SpillFile>> {
        let entry = self.tasks.get_mut(&victim.ticket.task).and_then(|slots| slots.get_mut(&victim.ticket.slot));
        let Some(entry) = entry.filter(|entry| entry.sequence == victim.sequence) else {
            return Err(file);
        };
        let old = std::mem::replace(&mut entry.location, Location::Spilled(file.clone()));
        self.subtract(&old);
        self.add(&Location::Spilled(file));
        Ok(old)
    }

    fn add(&mut self, location: &Location) {
        self.counts.partitions += 1;
        match location {
            Location::Memory(data) => self.counts.store_bytes += data.size_bytes,
            Location::Spilled(file) => {
                self.counts.spilled_partitions += 1;
                self.counts.spilled_bytes += file.size_bytes();
            }
        }
    }

    fn subtract(&mut self, location: &Location) {
        self.counts.partitions -= 1;
        match location {
            Location::Memory(_) => self.counts.store_bytes -= location.size_bytes(),
            Location::Spilled(_) => {
                self.counts.spilled_partitions -= 1;
                self.counts.spilled_bytes -= location.size_bytes();
            }
        }
    }
}
