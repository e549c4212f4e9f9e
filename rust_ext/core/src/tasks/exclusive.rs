//! Exclusive reservations: tasks that run again after a worker was killed for its memory get a worker of their own.
//!
//! Sent to shared workers, such tasks would only take the next workers with them. So each waits for a worker that is
//! reserved for it: no other task is sent there until it has ended.

use super::{Fleet, Slots, Tasks, Turn};
use crate::TaskPhase;
use crate::ids::{TaskId, WorkerId};

impl Tasks {
    /// Reserves a worker for each task that needs one, and sends those whose worker is free.
    pub(super) fn serve_exclusive(&mut self, turn: &mut Turn, fleet: &Fleet, slots: &Slots) {
        if self.exclusive.is_empty() {
            return;
        }
        let waiting: Vec<(u64, TaskId)> = self.exclusive.iter().map(|(order, task)| (*order, *task)).collect();
        let mut all_are_taken = false;
        for (order, task) in waiting {
            if all_are_taken && self.records.get(&task).is_none_or(|record| record.reserved.is_none()) {
                continue;
            }
            let Some(worker) = self.reservation_of(turn, fleet, task) else {
                // The later ones find none either, but they may have one.
                all_are_taken = true;
                continue;
            };
            let load = &self.loads[worker.index()];
            if load.tasks.is_empty() && load.cooling.is_none() {
                self.exclusive.remove(&order);
                self.send(turn, fleet, slots, task, worker);
            }
        }
    }

    /// The worker that is reserved for the task; chosen now if none is yet.
    fn reservation_of(&mut self, turn: &mut Turn, fleet: &Fleet, task: TaskId) -> Option<WorkerId> {
        let record = self.records.get(&task)?;
        let refused_by = record.refused_by();
        if let Some(worker) = record.reserved {
            if fleet.takes_tasks(worker) {
                return Some(worker);
            }
            self.release_reservation(turn, worker, task);
        }
        // One that is not the one that refused it, does not cool down, and has least to end before.
        let (_, worker) = fleet
            .workers()
            .iter()
            .filter(|worker| worker.takes_tasks())
            .map(|worker| (&self.loads[worker.id.index()], worker.id))
            .filter(|(load, _)| load.reserved_for.is_none())
            .min_by_key(|(load, id)| (Some(*id) == refused_by, load.cooling.is_some(), load.tasks.len()))?;
        self.loads[worker.index()].reserved_for = Some(task);
        self.records.get_mut(&task)?.reserved = Some(worker);
        self.relist(turn, fleet, worker);
        turn.touch(worker);
        Some(worker)
    }

    /// Gives up the worker's reservation for the task, if there is one: other tasks may be sent there.
    pub(super) fn release_reservation(&mut self, turn: &mut Turn, worker: WorkerId, task: TaskId) {
        let reserved_for = &mut self.loads[worker.index()].reserved_for;
        if *reserved_for == Some(task) {
            *reserved_for = None;
        }
        if let Some(record) = self.records.get_mut(&task)
            && record.reserved == Some(worker)
            && !matches!(record.phase, TaskPhase::Sent { worker: at, .. } if at == worker)
        {
            record.reserved = None;
        }
        turn.touch(worker);
    }
}
