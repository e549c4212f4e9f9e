//! Stuck workers, as far as they concern tasks and holds; the states themselves are the [fleet](crate::fleet)'s.

use std::time::Duration;

use super::Session;
use super::turn::Timer;
use crate::ids::{LaunchId, TaskId, WorkerId};

impl Session {
    /// A worker reports how many of its slots are held by calls of cancelled tasks.
    pub(super) fn slots_are_held(&mut self, id: WorkerId, launch: LaunchId, slots: u32, calls: &str) {
        match self.fleet.note_held_slots(&self.turn, id, launch, slots, calls) {
            Some(true) => self.mark_stuck(id, self.turn.now),
            Some(false) => self.turn.touch(id),
            None => {}
        }
    }

    /// A cancelled task has not ended in time. A worker that works ends one at once, unless it still writes its outputs.
    pub(super) fn cancel_is_overdue(&mut self, task: TaskId) {
        let Some((worker, since)) = self.tasks.overdue_cancel(task) else {
            return;
        };
        let last = since.saturating_add(self.turn.config.cancel_patience_with_holds);
        let slots = self.turn.config.slots_per_worker.max(1) as usize;
        // With a slot that may work, the others get more time: they would be taken back from where they may run.
        if self.tasks.overdue_at(&self.turn, worker) >= slots || last <= self.turn.now {
            self.mark_stuck(worker, since);
        } else {
            self.turn.set_timer(last, Timer::Cancel(task));
        }
    }

    fn mark_stuck(&mut self, id: WorkerId, since: Duration) {
        if self.fleet.mark_stuck(&mut self.turn, id, since) {
            self.watch_stuck(id);
        }
    }

    pub(super) fn stuck_is_due(&mut self, id: WorkerId, at: Duration) {
        if self.fleet.is_stuck_due(id, at) {
            self.watch_stuck(id);
        }
    }

    /// Does what is due for a stuck worker, and sets the timer for what is not due yet.
    fn watch_stuck(&mut self, id: WorkerId) {
        let Some(since) = self.fleet.stuck_since(id) else {
            return;
        };
        if since.saturating_add(self.turn.config.cancel_patience) <= self.turn.now {
            self.tasks.recall(&mut self.turn, id);
            // A worker that was not wanted and had nothing but these tasks is gone with them.
            self.update_touched();
        }
        self.fleet.watch_stuck(&mut self.turn, id);
    }

    /// Replaces stuck workers where a task waits for a slot, and ends those that are no longer wanted.
    pub(super) fn replace_stuck(&mut self) {
        if !self.fleet.is_any_stuck() {
            return;
        }
        for id in self.fleet.stuck_and_unwanted(&self.turn, |id| self.held_at(id)) {
            self.end_stuck(id);
        }
        let mut needed = self.tasks.without_room().div_ceil(self.turn.config.slots_per_worker.max(1) as usize);
        for id in self.fleet.stuck_without_holds(&self.turn, |id| self.held_at(id)).into_iter().take(needed) {
            self.end_stuck(id);
            needed -= 1;
        }
        if needed == 0 {
            return;
        }
        // With a process that holds something data is lost, so it waits for any other worker that may come up.
        if let Some(id) = self.fleet.stuck_with_holds(&self.turn, |id| self.held_at(id)) {
            self.end_stuck(id);
        }
    }

    fn end_stuck(&mut self, id: WorkerId) {
        let (tasks, holds) = (self.tasks.at(id).collect(), self.held_at(id));
        let end = self.fleet.replace_stuck(&mut self.turn, id, tasks, holds);
        self.end(&end);
    }
}
