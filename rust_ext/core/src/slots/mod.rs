//! What workers hold that must not be lost: partitions in use, and actors.

use std::collections::HashMap;

use crate::ids::WorkerId;

/// The holds of the session. Those of a process that is gone are forgotten with it.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    /// The number of partitions in use and of actors at the present process of each worker; none is zero.
    held: HashMap<WorkerId, u64>,
}

impl Slots {
    /// The number of holds at the worker's present process.
    pub fn held_at(&self, worker: WorkerId) -> u64 {
        self.held.get(&worker).copied().unwrap_or(0)
    }

    pub fn hold(&mut self, worker: WorkerId, count: u64) {
        if count > 0 {
            let held = self.held.entry(worker).or_default();
            *held = held.saturating_add(count);
        }
    }

    /// Gives up holds. Fails with the number that is held if that is fewer, and changes nothing then: a release
    /// without a hold would let go of what another reference needs.
    pub fn release(&mut self, worker: WorkerId, count: u64) -> Result<(), u64> {
        let held = self.held_at(worker);
        match held.checked_sub(count) {
            Some(0) => drop(self.held.remove(&worker)),
            Some(left) => drop(self.held.insert(worker, left)),
            None => return Err(held),
        }
        Ok(())
    }

    /// Forgets what the worker's present process held; returns how much that was.
    pub fn lose(&mut self, worker: WorkerId) -> u64 {
        self.held.remove(&worker).unwrap_or(0)
    }
}
