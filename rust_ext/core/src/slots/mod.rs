//! The places of partitions: the location of each slot that is referred to, its generation, and the slots of each worker.
//!
//! A slot is one output of a task. It is published by one attempt, its generation, at that attempt's worker, and lives
//! in the store of the worker's process: it is lost when the process is. A lost slot keeps its loss, until it is dropped
//! or another attempt publishes it again. Slots that the driver has itself are not known here: they are never lost.
//!
//! A worker that holds slots is not released. A slot is *unread* while its query has been told
//! of it and neither a task nor a fetch has read it: then its query is sure to need it.
//!
//! Invariant: the slots that a worker holds are those that are located at it.

mod loss;
pub(crate) mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use get_size2::GetSize;

use crate::ids::{Attempt, QueryId, SlotId, TaskId, WorkerId};

pub use loss::Loss;

/// An output that an attempt left in the store of its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, GetSize)]
pub struct Output {
    /// The position among the task's outputs.
    pub slot: u32,
    /// True if the partition has rows. Daft drops outputs without rows unread.
    pub has_rows: bool,
}

/// The place of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the store of the worker's present process.
    At(WorkerId),
    /// Gone with the process that held it.
    Lost(Arc<Loss>),
}

/// A slot that is referred to.
#[derive(Debug)]
struct Slot {
    location: Location,
    /// The attempt that published it.
    generation: Attempt,
    query: QueryId,
    is_unread: bool,
}

/// The store of a worker's present process.
#[derive(Debug, Default)]
struct Store {
    slots: u64,
    /// The number of slots that are unread, by query; none is zero.
    unread: HashMap<QueryId, u64>,
}

impl Store {
    fn remove_unread(&mut self, query: &QueryId) {
        if let Some(count) = self.unread.get_mut(query) {
            *count -= 1;
            if *count == 0 {
                self.unread.remove(query);
            }
        }
    }
}

/// The things that were lost with a process.
#[derive(Debug)]
pub(crate) struct LostStore {
    /// The number of slots.
    pub slots: u64,
    /// The loss that the lost slots keep.
    pub loss: Arc<Loss>,
    /// The queries of which a slot was unread, in order.
    pub unread: Vec<QueryId>,
}

/// All slots of a session that are referred to and not the driver's own, and the slots of each worker.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    by_id: HashMap<SlotId, Slot>,
    /// Of workers that hold anything.
    stores: HashMap<WorkerId, Store>,
}

impl Slots {
    /// Enters the outputs that an attempt published at its worker. A slot that is here already takes the new generation
    /// and location; returns the workers that held such slots.
    pub fn publish(
        &mut self,
        task: TaskId,
        generation: Attempt,
        worker: WorkerId,
        query: &QueryId,
        outputs: &[Output],
    ) -> Vec<WorkerId> {
        let mut superseded = Vec::new();
        for output in outputs {
            let id = SlotId { task, slot: output.slot };
            superseded.extend(self.remove(id));
            let location = Location::At(worker);
            self.by_id.insert(id, Slot { location, generation, query: query.clone(), is_unread: output.has_rows });
        }
        let unread = outputs.iter().filter(|output| output.has_rows).count() as u64;
        if !outputs.is_empty() {
            let store = self.stores.entry(worker).or_default();
            store.slots += outputs.len() as u64;
            if unread > 0 {
                *store.unread.entry(query.clone()).or_default() += unread;
            }
        }
        superseded
    }

    /// Forgets a slot to which nothing refers any more. Returns the worker that held it.
    pub fn remove(&mut self, id: SlotId) -> Option<WorkerId> {
        let slot = self.by_id.remove(&id)?;
        let Location::At(worker) = slot.location else {
            return None;
        };
        if let Some(store) = self.stores.get_mut(&worker) {
            store.slots -= 1;
            if slot.is_unread {
                store.remove_unread(&slot.query);
            }
            self.forget_if_empty(worker);
        }
        Some(worker)
    }

    /// Notes that tasks or a fetch take care of these slots from now on: if one is lost, that is noticed there.
    pub fn mark_read(&mut self, ids: &[SlotId]) {
        for id in ids {
            if let Some(slot) = self.by_id.get_mut(id)
                && std::mem::take(&mut slot.is_unread)
                && let Location::At(worker) = slot.location
                && let Some(store) = self.stores.get_mut(&worker)
            {
                store.remove_unread(&slot.query);
            }
        }
    }

    /// Marks everything as lost that the worker's present process held.
    pub fn lose(&mut self, worker: WorkerId, reason: &Arc<str>) -> LostStore {
        let loss = Arc::new(Loss { worker, reason: reason.clone() });
        let store = self.stores.remove(&worker).unwrap_or_default();
        let mut unread: Vec<QueryId> = store.unread.into_keys().collect();
        unread.sort_unstable();
        if store.slots > 0 {
            for slot in self.by_id.values_mut().filter(|slot| slot.location == Location::At(worker)) {
                (slot.location, slot.is_unread) = (Location::Lost(loss.clone()), false);
            }
        }
        LostStore { slots: store.slots, loss, unread }
    }

    /// The place of a slot; `None` if it is the driver's own, or dropped.
    pub fn location(&self, id: SlotId) -> Option<&Location> {
        self.by_id.get(&id).map(|slot| &slot.location)
    }

    /// The attempt that published a slot.
    pub fn generation(&self, id: SlotId) -> Option<Attempt> {
        self.by_id.get(&id).map(|slot| slot.generation)
    }

    /// The loss of the first of these slots that is lost.
    pub fn loss_of(&self, ids: &[SlotId]) -> Option<&Arc<Loss>> {
        ids.iter().find_map(|id| match self.location(*id) {
            Some(Location::Lost(loss)) => Some(loss),
            _ => None,
        })
    }

    /// The number of slots that are referred to and not the driver's own.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The number of slots in the store of the worker's present process.
    pub fn held_at(&self, worker: WorkerId) -> u64 {
        self.stores.get(&worker).map_or(0, |store| store.slots)
    }

    fn forget_if_empty(&mut self, worker: WorkerId) {
        if self.stores.get(&worker).is_some_and(|store| store.slots == 0) {
            self.stores.remove(&worker);
        }
    }
}
