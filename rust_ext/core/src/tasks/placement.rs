//! Placement: the load of each worker, and the worker that a task is sent to.

use std::collections::BTreeSet;
use std::time::Duration;

use super::task::Task;
use super::{Slots, Tasks, Timer, Turn};
use crate::fleet::Fleet;
use crate::ids::{TaskId, WorkerId};
use crate::{Action, TaskPhase};

/// The tasks at a worker's present process, and what keeps others from being sent there.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Sent and not yet over.
    pub tasks: BTreeSet<TaskId>,
    /// The time until which the worker is offered no task, because it refused one.
    pub cooling: Option<Duration>,
    /// Refusals in a row, a burst counted once.
    pub refusals: u32,
    /// The load under which the worker stands among those with room.
    pub listed: Option<usize>,
    /// The task that has the worker exclusively, or will once the other tasks here have ended.
    pub reserved_for: Option<TaskId>,
}

impl Tasks {
    /// Sends tasks while there is room. Returns true if a task was stranded instead, which may leave room for others.
    pub fn serve_queue(&mut self, turn: &mut Turn, fleet: &Fleet, slots: &Slots) -> bool {
        self.serve_exclusive(turn, fleet, slots);
        while !self.open.is_empty() {
            let Some((order, task)) = self.waiting.pop_first() else {
                break;
            };
            let Some(record) = self.records.get(&task) else {
                continue;
            };
            let Some(worker) = self.place(turn, record) else {
                self.waiting.insert(order, task);
                break;
            };
            self.send(turn, fleet, slots, task, worker);
        }
        !self.stranded.is_empty()
    }

    /// Sends a task. One of which an input was lost since it was at a worker is stranded instead.
    pub(super) fn send(&mut self, turn: &mut Turn, fleet: &Fleet, slots: &Slots, task: TaskId, worker: WorkerId) {
        let Some(record) = self.records.get_mut(&task) else {
            return;
        };
        if slots.loss_of(&record.origin.inputs).is_some() {
            record.phase = TaskPhase::Parked;
            self.stranded.push(task);
            if let Some(worker) = record.reserved {
                self.release_reservation(turn, worker, task);
            }
            return;
        }
        let launch = fleet.launch_of(worker);
        let attempt = record.begin(worker, launch);
        record.sent = self.sends;
        self.sends += 1;
        self.loads[worker.index()].tasks.insert(task);
        turn.push(Action::Send { task, attempt, worker, launch });
        self.relist(turn, fleet, worker);
        turn.touch(worker);
    }

    /// The worker with room that suits the task best: a free slot anywhere comes before a place in a queue.
    fn place(&self, turn: &Turn, task: &Task) -> Option<WorkerId> {
        let refused_by = task.refused_by();
        let suits = |worker: &WorkerId| Some(*worker) != refused_by;
        let slots = turn.config.slots_per_worker as usize;
        let load = |worker: &WorkerId| self.load(*worker).and_then(|load| load.listed);
        let preferred = Some(task.origin.prefer).filter(suits);
        preferred
            .filter(|worker| load(worker).is_some_and(|load| load < slots))
            .or_else(|| self.open.iter().take_while(|(load, _)| *load < slots).map(|(_, worker)| *worker).find(suits))
            .or_else(|| preferred.filter(|worker| load(worker).is_some()))
            .or_else(|| self.open.iter().map(|(_, worker)| *worker).find(suits))
            .or_else(|| self.open.first().map(|(_, worker)| *worker))
    }

    /// Brings the worker's place among those with room up to date.
    pub fn relist(&mut self, turn: &Turn, fleet: &Fleet, id: WorkerId) {
        let load = &mut self.loads[id.index()];
        if let Some(listed) = load.listed.take() {
            self.open.remove(&(listed, id));
        }
        let count = load.tasks.len();
        let is_offered = load.cooling.is_none() && load.reserved_for.is_none() && fleet.takes_tasks(id);
        if is_offered && count < turn.config.worker_capacity() {
            load.listed = Some(count);
            self.open.insert((count, id));
        }
    }

    /// The number of tasks that have to wait for a slot, as no worker has room.
    pub fn without_room(&self) -> usize {
        let unreserved = |task: &&TaskId| self.records.get(task).is_some_and(|record| record.reserved.is_none());
        let waiting = if self.open.is_empty() { self.waiting.len() } else { 0 };
        waiting + self.exclusive.values().filter(unreserved).count()
    }

    /// Offers a worker that refused a task nothing for a while. The refusals of one burst count as one.
    pub(super) fn cool_down(&mut self, turn: &mut Turn, id: WorkerId) {
        let load = &mut self.loads[id.index()];
        if load.cooling.is_none() {
            let until = turn.after(turn.config.bounce_backoff.delay(load.refusals));
            load.refusals = load.refusals.saturating_add(1);
            load.cooling = Some(until);
            turn.set_timer(until, Timer::Cooling(id));
        }
    }

    /// Offers tasks again to a worker that refused one, because another task there has ended and left its memory.
    pub(super) fn offer_again(&mut self, turn: &mut Turn, id: WorkerId) {
        if let Some(until) = self.loads[id.index()].cooling.take() {
            turn.clear_timer(until, Timer::Cooling(id));
        }
    }

    /// The pause after a refusal is over.
    pub fn cooled_down(&mut self, turn: &mut Turn, id: WorkerId, at: Duration) {
        let load = &mut self.loads[id.index()];
        if load.cooling == Some(at) {
            load.cooling = None;
            turn.touch(id);
        }
    }
}
