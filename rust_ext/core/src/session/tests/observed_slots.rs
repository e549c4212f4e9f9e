//! The observer's books of slots, and of the tasks that wait for a verdict on their inputs.

use std::collections::BTreeSet;

use super::observer::Observer;
use super::*;
use crate::tasks::Place;

/// A slot as the observer knows it.
#[derive(Debug)]
pub(super) struct Partition {
    pub at: (WorkerId, LaunchId),
    pub query: u64,
    pub lost: bool,
    pub unread: bool,
}

/// A task that waits for the verdict on its inputs.
#[derive(Debug)]
pub(super) struct Doubt {
    pub task: TaskId,
    pub place: Place,
    pub holders: BTreeSet<WorkerId>,
    pub gone: bool,
    pub due: Duration,
}

impl Observer {
    /// True if the task was sent when its input was lost, and came back since: it fails when it is to be sent again.
    fn was_sent(&self, task: TaskId) -> bool {
        self.pool.task(task).is_some_and(|view| view.attempts > 0)
    }

    /// True if a task may fail for data that is gone.
    pub(super) fn may_miss_inputs(&self, task: TaskId) -> bool {
        let known = &self.tasks[&task];
        let is_lost = |id: &SlotId| self.slots.get(id).is_some_and(|slot| slot.lost);
        self.to_fail == Some(task)
            || known.inputs.iter().any(is_lost)
            || self.missed.contains(&known.query)
            || self.doubts.iter().any(|doubt| doubt.task == task)
    }

    /// Lets go of doubts that are over, and checks that none is over too soon or too late.
    pub(super) fn resolve_doubts(&mut self) {
        let config = self.pool.config();
        let is_silent = |worker: &WorkerId| {
            let seen = &self.workers[worker];
            seen.incarnation.is_some() && self.now - seen.heard >= config.suspect_timeout
        };
        let mut doubts = std::mem::take(&mut self.doubts);
        doubts.retain(|doubt| {
            let Some(view) = self.pool.task(doubt.task) else {
                return false;
            };
            let (worker, launch, attempt) = doubt.place;
            let is_over = doubt.due <= self.now && !doubt.holders.iter().any(is_silent);
            let waits = view.phase == TaskPhase::InDoubt { worker, launch, attempt };
            if waits {
                assert!(!is_over, "the verdict on {} is overdue", doubt.task);
            } else {
                assert!(is_over && !doubt.gone, "the verdict on {} came too soon", doubt.task);
            }
            waits
        });
        self.doubts = doubts;
    }

    /// Checks that each slot is where the books say, and that no task waits for a lost one.
    pub(super) fn check_slots(&self) {
        assert_eq!(self.pool.slot_count(), self.slots.len());
        for (id, slot) in &self.slots {
            match self.pool.location(*id) {
                Some(Location::At(worker)) => assert!(!slot.lost && slot.at.0 == *worker, "{id}"),
                Some(Location::Lost(loss)) => assert!(slot.lost && slot.at.0 == loss.worker, "{id}"),
                None => panic!("{id} is unknown"),
            }
        }
        for (task, known) in self.tasks.iter().filter(|(_, known)| known.ends == 0 && known.at.is_none()) {
            let is_lost = |input: &SlotId| self.slots.get(input).is_some_and(|slot| slot.lost);
            assert!(!known.inputs.iter().any(is_lost) || self.was_sent(*task), "{task} waits in vain");
        }
    }
}
