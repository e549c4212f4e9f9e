//! The tasks of a session that are not over: the queue, their attempts, and the workers that they are placed on.
//!
//! The tasks read of the [`Fleet`] only which workers take tasks, and their present launch. The end of a task goes to
//! the turn's actions; a worker whose load changed is touched, so that [`Session`](crate::Session) sees to its idleness
//! and its end.
//!
//! # Room
//!
//! A worker has room while it takes tasks, has fewer than `slots_per_worker + queue_ahead`, did not just refuse one, and
//! is not reserved. It is offered tasks again as soon as one of its tasks ends. A task goes to the worker that it
//! prefers, else to the least loaded, else (if that is all there is) to the one that refused it last. A task that was
//! lost to memory gets an exclusive reservation of a worker.

mod attempts;
mod exclusive;
mod placement;
mod task;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::Fleet;
use crate::ids::{Attempt, LaunchId, QueryId, TaskId, WorkerId};
use crate::lineage::Origin;
use crate::session::turn::{Timer, Turn};
use crate::slots::Slots;
use crate::{Action, FailKind};
use placement::Load;
use task::Task;

pub use task::TaskPhase;

/// All tasks of a session that are not over.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    records: HashMap<TaskId, Task>,
    /// Tasks that wait for room, by order of submission.
    waiting: BTreeMap<u64, TaskId>,
    /// Tasks that wait for a worker of their own, by order of submission.
    exclusive: BTreeMap<u64, TaskId>,
    /// By worker index.
    loads: Vec<Load>,
    /// Workers that have room, least loaded first.
    open: BTreeSet<(usize, WorkerId)>,
    /// Tasks that were to be sent, but read a lost slot. Each is parked or failed by the session before its turn ends.
    pub stranded: Vec<TaskId>,
    submitted: u64,
    sends: u64,
    /// The number of tasks that ran to their end: as it grows, what a task waits for may come.
    ended: u64,
}

impl Tasks {
    /// The number of tasks that are not over.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn get(&self, task: TaskId) -> Option<&Task> {
        self.records.get(&task)
    }

    /// The tasks that wait for room, in the order in which they will be served.
    pub fn waiting(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.waiting.values().copied()
    }

    /// The tasks that wait for a worker of their own, in the order in which they will be served.
    pub fn waiting_exclusive(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.exclusive.values().copied()
    }

    /// The tasks that are at a worker, by number.
    pub fn at(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> + '_ {
        self.loads.get(worker.index()).into_iter().flat_map(|load| load.tasks.iter().copied())
    }

    /// The number of tasks at workers.
    pub fn sent(&self) -> usize {
        self.loads.iter().map(|load| load.tasks.len()).sum()
    }

    /// The load of a worker, if there is such a worker.
    pub fn load(&self, worker: WorkerId) -> Option<&Load> {
        self.loads.get(worker.index())
    }

    /// True if no task is at the worker.
    pub fn is_free(&self, worker: WorkerId) -> bool {
        self.loads[worker.index()].tasks.is_empty()
    }

    /// True if no task is at the worker, and it is reserved for none.
    pub fn is_unused(&self, worker: WorkerId) -> bool {
        let load = &self.loads[worker.index()];
        load.tasks.is_empty() && load.reserved_for.is_none()
    }

    /// True if a task ran in the worker's process, as far as the driver can tell: it was sent one that was not
    /// cancelled.
    pub fn is_any_running_at(&self, worker: WorkerId) -> bool {
        self.at(worker).any(|task| self.records.get(&task).is_some_and(|record| !record.is_cancelling()))
    }

    /// The tasks that are not at a worker and read a slot that this worker has lost, by number, with their query. A task
    /// that is at a worker may have its inputs already; if not, the worker reports it.
    pub fn unsent_readers(&self, slots: &Slots) -> Vec<(TaskId, QueryId)> {
        let unsent = self.records.iter().filter(|(_, record)| !record.is_sent());
        let of_lost = unsent.filter(|(_, record)| slots.loss_of(&record.origin.inputs).is_some());
        let mut readers: Vec<_> = of_lost.map(|(task, record)| (*task, record.origin.query.clone())).collect();
        readers.sort_unstable_by_key(|(task, _)| *task);
        readers
    }

    /// The task of the query whose failure costs least: one that is not at a worker, if there is one.
    pub fn any_of(&self, query: &QueryId) -> Option<TaskId> {
        let is_owned = |record: &Task| record.origin.query == *query && !record.is_recovery;
        let of_query = self.records.iter().filter(|(_, record)| is_owned(record));
        of_query.map(|(task, record)| (record.is_sent(), *task)).min().map(|(_, task)| task)
    }

    /// Makes room for the loads of that many workers.
    pub fn set_workers(&mut self, count: usize) {
        if count > self.loads.len() {
            self.loads.resize_with(count, Load::default);
        }
    }

    /// The place of the next new task in the order of submission.
    pub const fn next_order(&mut self) -> u64 {
        let order = self.submitted;
        self.submitted += 1;
        order
    }

    /// Takes a task in, one that is new or one that runs again for its outputs. The latter keeps its place in the order of
    /// submission: it is served before all that may wait for it. It begins parked if it `waits` for inputs.
    pub fn submit(&mut self, task: TaskId, origin: Origin, is_recovery: bool, waits: bool) {
        let order = origin.order;
        let mut record = Task::new(origin, is_recovery);
        if waits {
            record.phase = TaskPhase::Parked;
        } else {
            self.waiting.insert(order, task);
        }
        self.records.insert(task, record);
    }

    /// Takes a task that is at no worker out of the queue, until its inputs have been recomputed.
    pub fn park(&mut self, turn: &mut Turn, task: TaskId) {
        self.unqueue(turn, task);
        if let Some(record) = self.records.get_mut(&task) {
            record.phase = TaskPhase::Parked;
        }
    }

    /// The inputs of a parked task are there again.
    pub fn unpark(&mut self, task: TaskId) {
        if let Some(record) = self.records.get_mut(&task).filter(|record| record.phase == TaskPhase::Parked) {
            record.phase = TaskPhase::Waiting;
            self.queue(task);
        }
    }

    /// Enters a task among those that wait: for room, or for a worker of its own.
    fn queue(&mut self, task: TaskId) {
        if let Some(record) = self.records.get(&task) {
            let queue = if record.needs_reservation() { &mut self.exclusive } else { &mut self.waiting };
            queue.insert(record.origin.order, task);
        }
    }

    /// Forgets a task that is over, and the end of the patience with its cancel.
    fn forget(&mut self, turn: &mut Turn, task: TaskId) {
        if let Some(cancelled_at) = self.records.remove(&task).and_then(|record| record.cancelled_at) {
            for patience in [turn.config.cancel_patience, turn.config.cancel_patience_with_holds] {
                turn.clear_timer(cancelled_at.saturating_add(patience), Timer::Cancel(task));
            }
        }
    }

    /// Fails every task that waits, backs off or is parked.
    pub fn fail_all_unsent(&mut self, turn: &mut Turn, message: &Arc<str>) {
        let due = turn.timers.iter().filter_map(|(until, timer)| match timer {
            Timer::Task(task) => Some((*until, *task)),
            _ => None,
        });
        let backing_off: Vec<(Duration, TaskId)> = due.collect();
        for (until, task) in backing_off {
            turn.clear_timer(until, Timer::Task(task));
            if let Some(record) = self.records.get(&task) {
                self.waiting.insert(record.origin.order, task);
            }
        }
        let parked = self.records.iter().filter(|(_, record)| record.phase == TaskPhase::Parked);
        self.waiting.extend(parked.map(|(task, record)| (record.origin.order, *task)));
        let mut unsent = std::mem::take(&mut self.waiting);
        unsent.append(&mut self.exclusive);
        for (_, task) in unsent {
            if let Some(worker) = self.records.get(&task).and_then(|record| record.reserved) {
                self.release_reservation(turn, worker, task);
            }
            let is_recovery = self.records.remove(&task).is_some_and(|record| record.is_recovery);
            turn.fail_task(is_recovery, task, FailKind::NoWorkers, message.clone());
        }
    }

    /// Ends the session: every task is over.
    pub fn shut_down(&mut self, turn: &mut Turn) {
        self.open.clear();
        self.waiting.clear();
        self.exclusive.clear();
        self.stranded.clear();
        self.loads.iter_mut().for_each(|load| *load = Load::default());
        let message: Arc<str> = "the session was shut down before the task ended".into();
        let mut tasks: Vec<(TaskId, Task)> = self.records.drain().collect();
        tasks.sort_unstable_by_key(|(_, record)| record.origin.order);
        for (task, record) in tasks {
            if record.is_cancelling() {
                turn.push(Action::Cancelled { task });
            } else {
                turn.fail_task(record.is_recovery, task, FailKind::Shutdown, message.clone());
            }
        }
    }
}

/// The attempt of a task at one process.
pub(crate) type Place = (WorkerId, LaunchId, Attempt);
