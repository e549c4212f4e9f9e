//! Workers whose slots are held by cancelled tasks that do not end.
//!
//! Python cannot stop a call of a UDF. After a cancel the call goes on, in a thread that runs nothing else meanwhile. A
//! worker tells how many of its slots are held so ([`Event::Stuck`](super::Event::Stuck)). A UDF that holds the
//! interpreter's lock keeps its worker from ending any task: there the cancel itself goes unanswered.
//!
//! A worker without a slot that works is *stuck*. It is offered no task, and is no capacity for an elastic pool. Once it
//! has been stuck for `cancel_patience`, its other tasks go back into the queue, as they only wait behind the calls. If
//! a task waits then and no worker has room, the process is replaced by force, and no task is charged. A process that
//! holds partitions or actors is replaced last: after `cancel_patience_with_holds`, and only if no other worker is
//! coming up.

use std::sync::Arc;
use std::time::Duration;

use super::lives::{Next, Process};
use super::worker::{State, Stuck, Worker};
use super::{Action, ExitCause, Pool, TaskPhase, Timer};
use crate::ids::{LaunchId, TaskId, WorkerId};

impl Pool {
    /// A worker tells how many of its slots are held by calls of cancelled tasks.
    pub(super) fn slots_are_stuck(&mut self, id: WorkerId, launch: LaunchId, slots: u32, calls: &str) {
        let (now, own_slots) = (self.now, self.config.slots_per_worker.max(1));
        let Some(worker) = self.present(id, launch).filter(|worker| worker.state.link().is_some()) else {
            return;
        };
        worker.has_no_slot = slots >= own_slots;
        worker.stuck_calls = calls.into();
        if worker.has_no_slot {
            self.mark_stuck(id, now);
        } else {
            self.release_if_unstuck(id);
        }
    }

    /// A cancelled task has not ended in time. A worker that works ends one at once, unless it still writes its outputs.
    pub(super) fn cancel_is_overdue(&mut self, task: TaskId) {
        let Some(record) = self.tasks.get(&task) else {
            return;
        };
        let (TaskPhase::Sent { worker, .. }, Some(since)) = (record.phase, record.cancelled_at) else {
            return;
        };
        let last = since.saturating_add(self.config.cancel_patience_with_holds);
        let overdue = self.workers[worker.index()].tasks.iter().filter(|task| self.is_overdue(**task)).count();
        // With a slot that may work, the others get more time: they would be taken back from where they may run.
        if overdue >= self.config.slots_per_worker.max(1) as usize || last <= self.now {
            self.mark_stuck(worker, since);
        } else {
            self.timers.insert((last, Timer::Cancel(task)));
        }
    }

    fn is_overdue(&self, task: TaskId) -> bool {
        let cancelled_at = self.tasks.get(&task).and_then(|record| record.cancelled_at);
        cancelled_at.is_some_and(|since| since.saturating_add(self.config.cancel_patience) <= self.now)
    }

    fn mark_stuck(&mut self, id: WorkerId, since: Duration) {
        let worker = &mut self.workers[id.index()];
        if worker.stuck.is_some() {
            return;
        }
        worker.stuck = Some(Stuck { since, due: None });
        self.stuck += 1;
        self.relist(id);
        self.watch_stuck(id);
    }

    /// Does what is due for a stuck worker, and sets the timer for what is not due yet.
    fn watch_stuck(&mut self, id: WorkerId) {
        let Some(since) = self.workers[id.index()].stuck.as_ref().map(|stuck| stuck.since) else {
            return;
        };
        let recall = since.saturating_add(self.config.cancel_patience);
        let last = since.saturating_add(self.config.cancel_patience_with_holds);
        if recall <= self.now {
            self.recall_tasks(id);
        }
        // A worker that was not wanted and had nothing but these tasks is gone with them.
        if let Some(stuck) = &mut self.workers[id.index()].stuck {
            stuck.due = [recall, last].into_iter().find(|due| *due > self.now);
            self.timers.extend(stuck.due.map(|due| (due, Timer::Stuck(id))));
        }
    }

    pub(super) fn stuck_is_due(&mut self, id: WorkerId, at: Duration) {
        if self.workers[id.index()].stuck.as_ref().is_some_and(|stuck| stuck.due == Some(at)) {
            self.watch_stuck(id);
        }
    }

    /// Takes back the tasks that wait at a stuck worker: another may run them. That costs them nothing.
    fn recall_tasks(&mut self, id: WorkerId) {
        let here: Vec<TaskId> = self.workers[id.index()].tasks.iter().copied().collect();
        for task in here {
            let Some(record) = self.tasks.get_mut(&task).filter(|record| !record.is_cancelling()) else {
                continue;
            };
            if let TaskPhase::Sent { worker, launch, attempt, .. } = record.phase {
                self.actions.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            record.phase = TaskPhase::Waiting;
            self.queue(task);
            self.workers[id.index()].tasks.remove(&task);
            self.give_up_seat(id, task);
        }
        self.retire_if_free(id, &super::scaling::not_wanted());
    }

    /// Ends the state if a slot of the worker works again, and its cancelled tasks have ended.
    pub(super) fn release_if_unstuck(&mut self, id: WorkerId) {
        let worker = &self.workers[id.index()];
        let is_overdue = worker.tasks.iter().any(|task| self.is_overdue(*task));
        if worker.stuck.is_some() && !worker.has_no_slot && !is_overdue {
            self.forget_stuck(id);
            self.relist(id);
        }
    }

    /// Drops the state with its timer; the caller sees to the worker's place among those with room.
    pub(super) fn forget_stuck(&mut self, id: WorkerId) {
        if let Some(stuck) = self.workers[id.index()].stuck.take() {
            self.stuck = self.stuck.saturating_sub(1);
            if let Some(due) = stuck.due {
                self.timers.remove(&(due, Timer::Stuck(id)));
            }
        }
    }

    /// The number of workers that are up or coming up, without those that have been stuck for long.
    pub(super) fn useful(&self) -> usize {
        if self.stuck == 0 {
            return self.alive;
        }
        let stuck = self.stuck_for(self.config.cancel_patience, |worker| worker.state.counts());
        self.alive.saturating_sub(stuck.len())
    }

    /// Replaces stuck workers where a task waits for a slot, and ends those that are no longer wanted.
    pub(super) fn replace_stuck(&mut self) {
        if self.stuck == 0 {
            return;
        }
        for id in self.stuck_for(self.config.cancel_patience, |worker| !worker.wanted && worker.holds == 0) {
            self.end_stuck(id);
        }
        let without_room = if self.open.is_empty() { self.waiting.len() } else { 0 };
        let seatless = |task: &&TaskId| self.tasks.get(task).is_some_and(|record| record.seat.is_none());
        let waiting = without_room + self.alone.values().filter(seatless).count();
        let mut needed = waiting.div_ceil(self.config.slots_per_worker.max(1) as usize);
        let keep_all = self.keep_all;
        let takes_tasks = |worker: &Worker| matches!(worker.state, State::Ready(_));
        let holds_nothing = |worker: &Worker| takes_tasks(worker) && worker.holds == 0 && !keep_all;
        for id in self.stuck_for(self.config.cancel_patience, holds_nothing).into_iter().take(needed) {
            self.end_stuck(id);
            needed -= 1;
        }
        // With a process that holds something data is lost, so it waits for any other worker that may come up.
        let comes_up = |worker: &Worker| worker.state.is_pending() && !worker.state.is_out_of_sight();
        if needed > 0 && !self.workers.iter().any(comes_up) {
            let mut others = self.stuck_for(self.config.cancel_patience_with_holds, takes_tasks);
            others.sort_by_key(|id| self.workers[id.index()].holds);
            if let Some(id) = others.first() {
                self.end_stuck(*id);
            }
        }
    }

    /// The workers that have been stuck for that long and are such.
    fn stuck_for(&self, time: Duration, is_such: impl Fn(&Worker) -> bool) -> Vec<WorkerId> {
        let has_lasted =
            |worker: &Worker| worker.stuck.as_ref().is_some_and(|stuck| stuck.since.saturating_add(time) <= self.now);
        self.workers.iter().filter(|worker| has_lasted(worker) && is_such(worker)).map(|worker| worker.id).collect()
    }

    fn end_stuck(&mut self, id: WorkerId) {
        let worker = &self.workers[id.index()];
        let held_for = worker.stuck.as_ref().map_or(Duration::ZERO, |stuck| self.now.saturating_sub(stuck.since));
        let (calls, tasks) = (worker.stuck_calls.clone(), worker.tasks.iter().copied().collect());
        let (launch, holds) = (worker.launch, worker.holds);
        self.actions.push(Action::Replaced { worker: id, launch, calls, tasks, held_for, holds });
        let reason: Arc<str> =
            format!("its process was replaced, because a cancelled task did not end for {held_for:?}").into();
        self.end_process(id, reason, Process::ToKill, Next::Restart, ExitCause::Stopped);
    }
}
