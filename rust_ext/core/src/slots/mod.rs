//! The places of partitions: the location of each slot that is referred to, its generation, and the slots of each worker.
//!
//! A slot is one output of a task. It is published by one attempt, its generation, at that attempt's worker, and lives
//! in the store of the worker's process: it is lost when the process is. A lost slot keeps its loss, until it is dropped
//! or another attempt publishes it again. Slots that the driver has itself are not known here: they are never lost.
//!
//! A slot is kept while the driver refers to it, and while it is pinned by a task that recomputes what was made of it.
//!
//! A worker that holds slots is not released. A slot is *unread* while its query has been told
//! of it and neither a task nor a fetch has read it: then its query is sure to need it.
//!
//! Invariant: the slots that a worker holds are those that are located at it.

mod loss;
pub(crate) mod verdicts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use get_size2::GetSize;

use crate::ids::{Attempt, Generation, QueryId, SlotId, TaskId, WorkerId};

pub use loss::Loss;

/// An output of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, GetSize)]
pub struct Output {
    /// The position among the task's outputs.
    pub slot: u32,
    /// The number of rows. Daft drops outputs without rows unread.
    pub num_rows: u64,
    /// A digest of its rows that does not depend on their order; `None`: the worker made none.
    pub fingerprint: Option<u64>,
    /// True if it is in the store of the attempt's worker; else it came to the driver.
    pub is_stored: bool,
}

impl Output {
    /// True if a task of the query will read it.
    const fn has_rows(&self) -> bool {
        self.num_rows > 0
    }
}

/// A slot as a fetch of the driver found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, GetSize)]
pub struct SlotRead {
    /// The slot.
    pub slot: SlotId,
    /// The generation that the fetch asked for; `None` if the slot was nowhere.
    pub generation: Option<Generation>,
}

/// The place of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the store of the worker's present process.
    At(WorkerId),
    /// Gone with the process that held it.
    Lost(Arc<Loss>),
}

impl Location {
    /// The worker that holds the slot.
    const fn holder(&self) -> Option<WorkerId> {
        match self {
            Self::At(worker) => Some(*worker),
            Self::Lost(_) => None,
        }
    }
}

/// A slot that is kept.
#[derive(Debug)]
struct Slot {
    location: Location,
    /// The attempt that published it.
    generation: Generation,
    query: QueryId,
    is_unread: bool,
    /// True as long as the driver refers to it.
    is_referenced: bool,
    /// The number of tasks that recompute something and read it.
    pins: u32,
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
    /// The loss that the lost slots keep.
    pub loss: Arc<Loss>,
    /// The lost slots.
    pub ids: Vec<SlotId>,
    /// The slots that were unread, by query.
    pub unread: BTreeMap<QueryId, Vec<SlotId>>,
}

/// All slots of a session that are referred to and not the driver's own, and the slots of each worker.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    by_id: HashMap<SlotId, Slot>,
    /// Of workers that hold anything.
    stores: HashMap<WorkerId, Store>,
}

impl Slots {
    /// Enters the outputs that an attempt published at its worker, unless they came to the driver. A slot that is here
    /// already takes the new generation and location; returns the workers that held such slots.
    pub fn publish(
        &mut self,
        task: TaskId,
        generation: Generation,
        worker: WorkerId,
        query: &QueryId,
        outputs: &[Output],
    ) -> Vec<WorkerId> {
        let mut superseded = Vec::new();
        let (mut stored, mut unread) = (0, 0);
        for output in outputs.iter().filter(|output| output.is_stored) {
            let id = SlotId { task, slot: output.slot };
            superseded.extend(self.forget(id).and_then(|location| location.holder()));
            let location = Location::At(worker);
            let (query, is_unread) = (query.clone(), output.has_rows());
            let slot = Slot { location, generation, query, is_unread, is_referenced: true, pins: 0 };
            self.by_id.insert(id, slot);
            stored += 1;
            unread += u64::from(is_unread);
        }
        if stored > 0 {
            let store = self.stores.entry(worker).or_default();
            store.slots += stored;
            if unread > 0 {
                *store.unread.entry(query.clone()).or_default() += unread;
            }
        }
        superseded
    }

    /// Enters that a lost slot was recomputed by an attempt at its worker. False if the slot is not lost.
    pub fn restore(&mut self, id: SlotId, generation: Generation, worker: WorkerId) -> bool {
        match self.by_id.get_mut(&id) {
            Some(slot) if matches!(slot.location, Location::Lost(_)) => {
                (slot.location, slot.generation) = (Location::At(worker), generation);
                self.stores.entry(worker).or_default().slots += 1;
                true
            }
            _ => false,
        }
    }

    /// Gives up the driver's reference to a slot. Returns the slot's last place if nothing else keeps it.
    pub fn remove(&mut self, id: SlotId) -> Option<Location> {
        let slot = self.by_id.get_mut(&id)?;
        slot.is_referenced = false;
        if slot.pins > 0 { None } else { self.forget(id) }
    }

    /// Keeps a slot for a task that reads it. One that was dropped is entered anew, as lost: true if so.
    pub fn pin(&mut self, id: SlotId, query: &QueryId, loss: &Arc<Loss>) -> bool {
        if let Some(slot) = self.by_id.get_mut(&id) {
            slot.pins += 1;
            return false;
        }
        let slot = Slot {
            location: Location::Lost(loss.clone()),
            generation: Generation::first(Attempt::FIRST),
            query: query.clone(),
            is_unread: false,
            is_referenced: false,
            pins: 1,
        };
        self.by_id.insert(id, slot);
        true
    }

    /// Gives up what [`Self::pin`] has kept. Returns the slot's last place, with its generation, if nothing else keeps it.
    pub fn unpin(&mut self, id: SlotId) -> Option<(Location, Generation)> {
        let slot = self.by_id.get_mut(&id)?;
        slot.pins = slot.pins.saturating_sub(1);
        let (is_kept, generation) = (slot.is_referenced || slot.pins > 0, slot.generation);
        if is_kept { None } else { self.forget(id).map(|location| (location, generation)) }
    }

    /// True if a task that recomputes something reads the slot.
    pub fn is_pinned(&self, id: SlotId) -> bool {
        self.by_id.get(&id).is_some_and(|slot| slot.pins > 0)
    }

    /// Forgets a slot. Returns its last place.
    fn forget(&mut self, id: SlotId) -> Option<Location> {
        let slot = self.by_id.remove(&id)?;
        if let Location::At(worker) = slot.location
            && let Some(store) = self.stores.get_mut(&worker)
        {
            store.slots -= 1;
            if slot.is_unread {
                store.remove_unread(&slot.query);
            }
            self.forget_if_empty(worker);
        }
        Some(slot.location)
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
        let (mut ids, mut unread) = (Vec::new(), BTreeMap::<QueryId, Vec<SlotId>>::new());
        if store.slots > 0 {
            for (id, slot) in self.by_id.iter_mut().filter(|(_, slot)| slot.location == Location::At(worker)) {
                slot.location = Location::Lost(loss.clone());
                ids.push(*id);
                if std::mem::take(&mut slot.is_unread) {
                    unread.entry(slot.query.clone()).or_default().push(*id);
                }
            }
            // What follows from a loss must not depend on the order in which a table is kept.
            ids.sort_unstable();
            unread.values_mut().for_each(|slots| slots.sort_unstable());
        }
        LostStore { loss, ids, unread }
    }

    /// The place of a slot; `None` if it is the driver's own, or dropped.
    pub fn location(&self, id: SlotId) -> Option<&Location> {
        self.by_id.get(&id).map(|slot| &slot.location)
    }

    /// The attempt that published a slot.
    pub fn generation(&self, id: SlotId) -> Option<Generation> {
        self.by_id.get(&id).map(|slot| slot.generation)
    }

    /// The loss of the first of these slots that is lost.
    pub fn loss_of(&self, ids: &[SlotId]) -> Option<&Arc<Loss>> {
        ids.iter().find_map(|id| match self.location(*id) {
            Some(Location::Lost(loss)) => Some(loss),
            _ => None,
        })
    }

    /// The lost ones of these slots, with the loss of the first.
    pub fn lost_of(&self, ids: &[SlotId]) -> Option<(Vec<SlotId>, Arc<Loss>)> {
        let loss = self.loss_of(ids)?.clone();
        let is_lost = |id: &&SlotId| matches!(self.location(**id), Some(Location::Lost(_)));
        Some((ids.iter().filter(is_lost).copied().collect(), loss))
    }

    /// The number of slots that are kept and not the driver's own.
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
