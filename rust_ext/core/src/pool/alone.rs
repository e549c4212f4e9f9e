//! Tasks that get a worker to themselves: they run again after one was killed for its memory.
//!
//! Sent to the others as they are, they would only take the next workers with them. So each waits for a
//! worker that is kept free for it: no other task is sent there until it has ended.

use super::worker::State;
use super::{Pool, TaskPhase};
use crate::ids::{TaskId, WorkerId};

impl Pool {
    /// Finds a seat for each task that waits for one, and sends those whose seat is free.
    pub(super) fn seat_those_alone(&mut self) {
        if self.alone.is_empty() {
            return;
        }
        let waiting: Vec<(u64, TaskId)> = self.alone.iter().map(|(order, task)| (*order, *task)).collect();
        let mut all_are_taken = false;
        for (order, task) in waiting {
            if all_are_taken && self.tasks.get(&task).is_none_or(|record| record.seat.is_none()) {
                continue;
            }
            let Some(worker) = self.seat_of(task) else {
                // The later ones find none either, but they may have one.
                all_are_taken = true;
                continue;
            };
            let seat = &self.workers[worker.index()];
            if seat.tasks.is_empty() && seat.cooling.is_none() {
                self.alone.remove(&order);
                self.send_to(task, worker);
            }
        }
    }

    /// The worker that is kept for the task; chosen now if none is yet.
    fn seat_of(&mut self, task: TaskId) -> Option<WorkerId> {
        let record = self.tasks.get(&task)?;
        let refused_by = record.refused_by();
        if let Some(worker) = record.seat {
            let seat = &self.workers[worker.index()];
            if matches!(seat.state, State::Ready(_)) && seat.stuck.is_none() {
                return Some(worker);
            }
            self.give_up_seat(worker, task);
        }
        let free = |worker: &&super::worker::Worker| {
            matches!(worker.state, State::Ready(_)) && worker.kept_for.is_none() && worker.stuck.is_none()
        };
        // One that is not the one that refused it, does not cool down, and has least to end before.
        let worker = self
            .workers
            .iter()
            .filter(free)
            .min_by_key(|worker| (Some(worker.id) == refused_by, worker.cooling.is_some(), worker.tasks.len()))?
            .id;
        self.workers[worker.index()].kept_for = Some(task);
        self.tasks.get_mut(&task)?.seat = Some(worker);
        self.relist(worker);
        Some(worker)
    }

    /// The task no longer needs the worker, if that was kept for it: others may be sent there.
    pub(super) fn give_up_seat(&mut self, worker: WorkerId, task: TaskId) {
        let kept = &mut self.workers[worker.index()].kept_for;
        if *kept == Some(task) {
            *kept = None;
        }
        if let Some(record) = self.tasks.get_mut(&task)
            && record.seat == Some(worker)
            && !matches!(record.phase, TaskPhase::Sent { worker: at, .. } if at == worker)
        {
            record.seat = None;
        }
        self.relist(worker);
    }
}
