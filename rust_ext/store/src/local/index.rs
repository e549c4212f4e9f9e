//! The index of partitions: their places and sizes. No I/O.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use daft_k8s_ipc::{PartitionData, Ticket};

use super::spill::SpillFile;

/// The place of a partition.
#[derive(Debug)]
pub(super) enum Place {
    Memory(PartitionData),
    Spilled(Arc<SpillFile>),
}

impl Place {
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
    place: Place,
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
    pub(super) fn publish(&mut self, task: &str, slots: impl Iterator<Item = (u32, PartitionData)>) -> Vec<Place> {
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

    pub(super) fn put(&mut self, ticket: &Ticket, data: PartitionData) -> Option<Place> {
        let replaced = self.remove(ticket);
        let entry = self.new_entry(data);
        self.tasks.entry(ticket.task.clone()).or_default().insert(ticket.slot, entry);
        replaced
    }

    fn new_entry(&mut self, data: PartitionData) -> Entry {
        let entry = Entry { sequence: self.next_sequence, place: Place::Memory(data) };
        self.next_sequence += 1;
        self.add(&entry.place);
        entry
    }

    pub(super) fn find(&self, ticket: &Ticket) -> Option<&Place> {
        Some(&self.tasks.get(&ticket.task)?.get(&ticket.slot)?.place)
    }

    pub(super) fn remove(&mut self, ticket: &Ticket) -> Option<Place> {
        let slots = self.tasks.get_mut(&ticket.task)?;
        let entry = slots.remove(&ticket.slot)?;
        if slots.is_empty() {
            self.tasks.remove(&ticket.task);
        }
        self.subtract(&entry.place);
        Some(entry.place)
    }

    pub(super) fn remove_task(&mut self, task: &str) -> Vec<Place> {
        let slots = self.tasks.remove(task).unwrap_or_default();
        let places: Vec<_> = slots.into_values().map(|entry| entry.place).collect();
        for place in &places {
            self.subtract(place);
        }
        places
    }

    pub(super) fn clear(&mut self) -> Vec<Place> {
        self.counts = Counts::default();
        std::mem::take(&mut self.tasks).into_values().flat_map(BTreeMap::into_values).map(|entry| entry.place).collect()
    }

    /// Partitions in memory of at least `least_bytes` each that sum up to `wanted_bytes`, or all there are. The
    /// largest come first, and the older first among those of like size.
    pub(super) fn victims(&self, wanted_bytes: u64, least_bytes: u64) -> Vec<Victim> {
        let mut candidates: Vec<_> = self
            .tasks
            .iter()
            .flat_map(|(task, slots)| slots.iter().map(move |(slot, entry)| (task, *slot, entry)))
            .filter_map(|(task, slot, entry)| match &entry.place {
                Place::Memory(data) if data.size_bytes >= least_bytes => Some((task, slot, entry.sequence, data)),
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
    pub(super) fn spilled(&mut self, victim: &Victim, file: Arc<SpillFile>) -> Result<Place, Arc<SpillFile>> {
        let entry = self.tasks.get_mut(&victim.ticket.task).and_then(|slots| slots.get_mut(&victim.ticket.slot));
        let Some(entry) = entry.filter(|entry| entry.sequence == victim.sequence) else {
            return Err(file);
        };
        let old = std::mem::replace(&mut entry.place, Place::Spilled(file.clone()));
        self.subtract(&old);
        self.add(&Place::Spilled(file));
        Ok(old)
    }

    fn add(&mut self, place: &Place) {
        self.counts.partitions += 1;
        match place {
            Place::Memory(data) => self.counts.store_bytes += data.size_bytes,
            Place::Spilled(file) => {
                self.counts.spilled_partitions += 1;
                self.counts.spilled_bytes += file.size_bytes();
            }
        }
    }

    fn subtract(&mut self, place: &Place) {
        self.counts.partitions -= 1;
        match place {
            Place::Memory(_) => self.counts.store_bytes -= place.size_bytes(),
            Place::Spilled(_) => {
                self.counts.spilled_partitions -= 1;
                self.counts.spilled_bytes -= place.size_bytes();
            }
        }
    }
}
