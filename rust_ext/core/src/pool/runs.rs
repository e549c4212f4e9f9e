//! How tasks are sent, end, are refused and are sent again.

use std::sync::Arc;
use std::time::Duration;

use super::task::{Task, TaskPhase};
use super::worker::State;
use super::{Action, ExitCause, FailKind, Pool, Timer};
use crate::ids::{Attempt, LaunchId, TaskId, WorkerId};

/// The side that kept an attempt from running, with its reason for people.
pub(super) enum Refusal {
    /// The worker that the attempt was sent to.
    ByWorker(String),
    /// The worker that holds an input.
    ByHolder(String),
}

impl Pool {
    pub(super) fn submit(&mut self, task: TaskId, prefer: WorkerId) {
        if self.tasks.contains_key(&task) {
            return;
        }
        let order = self.submitted;
        self.submitted += 1;
        self.tasks.insert(task, Task::new(order, prefer));
        self.waiting.insert(order, task);
    }

    /// Sends a task that was taken from the queue to the worker that suits it best.
    pub(super) fn send(&mut self, task: TaskId) {
        let Some(record) = self.tasks.get(&task) else {
            return;
        };
        let Some(worker) = self.place(record) else {
            self.waiting.insert(record.order, task);
            return;
        };
        self.send_to(task, worker);
    }

    pub(super) fn send_to(&mut self, task: TaskId, worker: WorkerId) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        let target = &mut self.workers[worker.index()];
        let launch = target.launch;
        let attempt = record.begin(worker, launch);
        record.sent = self.sends;
        self.sends += 1;
        target.tasks.insert(task);
        self.actions.push(Action::Send { task, attempt, worker, launch });
        self.relist(worker);
    }

    /// The worker with room that suits the task best: a free slot anywhere comes before a place in a queue.
    fn place(&self, task: &Task) -> Option<WorkerId> {
        let refused_by = task.refused_by();
        let suits = |worker: &WorkerId| Some(*worker) != refused_by;
        let slots = self.config.slots_per_worker as usize;
        let load = |worker: &WorkerId| self.workers.get(worker.index()).and_then(|w| w.listed);
        let preferred = Some(task.prefer).filter(suits);
        preferred
            .filter(|worker| load(worker).is_some_and(|load| load < slots))
            .or_else(|| self.open.iter().take_while(|(load, _)| *load < slots).map(|(_, worker)| *worker).find(suits))
            .or_else(|| preferred.filter(|worker| load(worker).is_some()))
            .or_else(|| self.open.iter().map(|(_, worker)| *worker).find(suits))
            .or_else(|| self.open.first().map(|(_, worker)| *worker))
    }

    /// Brings the worker's place among those with room up to date.
    pub(super) fn relist(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.index()];
        if let Some(load) = worker.listed.take() {
            self.open.remove(&(load, id));
        }
        if worker.has_room(self.config.worker_capacity()) {
            let load = worker.tasks.len();
            worker.listed = Some(load);
            self.open.insert((load, id));
        }
        self.note_idleness(id);
    }

    /// A worker's report of an attempt: the task's end, unless it is stale.
    pub(super) fn reported(&mut self, task: TaskId, worker: WorkerId, launch: LaunchId, attempt: Attempt) {
        let Some(record) = self.tasks.get(&task).filter(|record| record.is_at(worker, launch, attempt)) else {
            return;
        };
        self.actions.push(if record.is_cancelling() {
            Action::Cancelled { task }
        } else {
            Action::Deliver { task, attempt, worker, launch }
        });
        // The task is not what ended the processes under it, then.
        let crashed: Vec<(WorkerId, LaunchId)> = record.crashes().collect();
        for (worker, launch) in crashed {
            self.workers[worker.index()].blame(launch);
        }
        self.forget(task);
        self.ended += 1;
        self.workers[worker.index()].proved_fit();
        self.offer_again(worker);
        self.leave(worker, task);
    }

    pub(super) fn cancelled_by_worker(&mut self, task: TaskId, worker: WorkerId, launch: LaunchId, attempt: Attempt) {
        if self.tasks.get(&task).is_some_and(|record| record.is_at(worker, launch, attempt)) {
            let reason = "the worker cancelled it, though the driver did not ask for that".into();
            self.lose_attempt(task, &reason, ExitCause::Crash, true);
            self.offer_again(worker);
            self.leave(worker, task);
        }
    }

    /// The attempt ended without a report, its worker's fault: try again, unless that is hopeless or unwanted.
    pub(super) fn lose_attempt(&mut self, task: TaskId, reason: &Arc<str>, cause: ExitCause, ran: bool) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        if record.is_cancelling() {
            self.actions.push(Action::Cancelled { task });
        } else if record.lose(reason.clone(), cause, ran, &self.config) {
            self.queue(task);
            return;
        } else {
            let message = record.lost_message(&self.config);
            let kind = FailKind::AttemptsLost(record.fatal_cause(&self.config));
            self.actions.push(Action::FailTask { task, kind, message });
        }
        self.forget(task);
    }

    /// A worker did not take an attempt, or could not read its inputs.
    pub(super) fn bounced(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        launch: LaunchId,
        attempt: Attempt,
        refusal: Refusal,
    ) {
        let has_others = self.has_other_tasks(worker, task);
        let Some(record) = self.tasks.get_mut(&task).filter(|record| record.is_at(worker, launch, attempt)) else {
            return;
        };
        if record.is_cancelling() {
            self.actions.push(Action::Cancelled { task });
            self.forget(task);
            self.leave(worker, task);
            return;
        }
        if !matches!(self.workers[worker.index()].state, State::Ready(_)) {
            // It takes no tasks any more, which is no fault of the task and needs no back-off.
            record.phase = TaskPhase::Waiting;
            self.queue(task);
            self.leave(worker, task);
            return;
        }
        match refusal {
            // Whatever memory it lacks is that of the others, and comes back when they end.
            Refusal::ByWorker(reason) if has_others => {
                record.turn_away(worker, reason, self.ended);
                self.queue(task);
                self.cool_down(worker);
            }
            Refusal::ByWorker(reason) => {
                self.refused_task(task, worker, reason);
                self.cool_down(worker);
            }
            Refusal::ByHolder(reason) => self.refused_task(task, worker, reason),
        }
        self.leave(worker, task);
    }

    /// Has a refused task back off, or fails it if it has done so for long enough.
    fn refused_task(&mut self, task: TaskId, worker: WorkerId, reason: String) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        if let Some(until) = record.refuse(worker, reason, self.now, self.ended, &self.config) {
            self.timers.insert((until, Timer::Task(task)));
        } else {
            let message = record.refused_message();
            self.actions.push(Action::FailTask { task, kind: FailKind::Refused, message });
            self.forget(task);
        }
    }

    fn has_other_tasks(&self, worker: WorkerId, task: TaskId) -> bool {
        self.workers.get(worker.index()).is_some_and(|worker| worker.tasks.iter().any(|other| *other != task))
    }

    /// Offers a worker that refused a task nothing for a while. The refusals of one burst count as one.
    fn cool_down(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.index()];
        if worker.cooling.is_none() {
            let until = self.now.saturating_add(self.config.bounce_backoff.delay(worker.refusals));
            worker.refusals = worker.refusals.saturating_add(1);
            worker.cooling = Some(until);
            self.timers.insert((until, Timer::Cooling(id)));
        }
    }

    /// Offers tasks again to a worker that refused one, because another task there has ended and left its memory.
    fn offer_again(&mut self, id: WorkerId) {
        if let Some(until) = self.workers[id.index()].cooling.take() {
            self.timers.remove(&(until, Timer::Cooling(id)));
        }
    }

    pub(super) fn cooled_down(&mut self, id: WorkerId, at: Duration) {
        let worker = &mut self.workers[id.index()];
        if worker.cooling == Some(at) {
            worker.cooling = None;
            self.relist(id);
        }
    }

    pub(super) fn backed_off(&mut self, task: TaskId, at: Duration) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        if record.phase == (TaskPhase::BackingOff { until: at }) {
            record.phase = TaskPhase::Waiting;
            self.queue(task);
        }
    }

    /// Enters a task among those that wait: for room, or for a worker to itself.
    pub(super) fn queue(&mut self, task: TaskId) {
        if let Some(record) = self.tasks.get(&task) {
            let queue = if record.needs_a_worker_to_itself() { &mut self.alone } else { &mut self.waiting };
            queue.insert(record.order, task);
        }
    }

    pub(super) fn inputs_lost(&mut self, task: TaskId, reason: &str) {
        let Some(record) = self.tasks.get(&task) else {
            return;
        };
        let cancelling = record.is_cancelling();
        let place = self.unqueue(task);
        if cancelling {
            self.actions.push(Action::Cancelled { task });
        } else {
            if let Some((worker, launch, attempt)) = place {
                self.actions.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            let message = reason.into();
            self.actions.push(Action::FailTask { task, kind: FailKind::InputsLost, message });
        }
        self.forget(task);
        if let Some((worker, ..)) = place {
            self.leave(worker, task);
        }
    }

    pub(super) fn cancel(&mut self, task: TaskId) {
        let Some(record) = self.tasks.get_mut(&task) else {
            return;
        };
        if let TaskPhase::Sent { worker, launch, attempt, cancelling } = &mut record.phase {
            if !std::mem::replace(cancelling, true) {
                let (worker, launch, attempt) = (*worker, *launch, *attempt);
                record.cancelled_at = Some(self.now);
                let due = self.now.saturating_add(self.config.cancel_patience);
                self.timers.insert((due, Timer::Cancel(task)));
                self.actions.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            return;
        }
        self.unqueue(task);
        self.tasks.remove(&task);
        self.actions.push(Action::Cancelled { task });
    }

    /// Takes a task out of the queue and off its timer; returns where it is, if it is at a worker.
    fn unqueue(&mut self, task: TaskId) -> Option<(WorkerId, LaunchId, Attempt)> {
        let record = self.tasks.get(&task)?;
        match record.phase {
            TaskPhase::Waiting => {
                let (order, seat) = (record.order, record.seat);
                self.waiting.remove(&order);
                self.alone.remove(&order);
                if let Some(worker) = seat {
                    self.give_up_seat(worker, task);
                }
                None
            }
            TaskPhase::BackingOff { until } => {
                self.timers.remove(&(until, Timer::Task(task)));
                None
            }
            TaskPhase::Sent { worker, launch, attempt, .. } => Some((worker, launch, attempt)),
        }
    }

    /// Forgets a task that is over, and the end of the patience with its cancel.
    pub(super) fn forget(&mut self, task: TaskId) {
        if let Some(cancelled_at) = self.tasks.remove(&task).and_then(|record| record.cancelled_at) {
            for patience in [self.config.cancel_patience, self.config.cancel_patience_with_holds] {
                self.timers.remove(&(cancelled_at.saturating_add(patience), Timer::Cancel(task)));
            }
        }
    }

    /// The task no longer is at the worker. Comes after the task's own end, because this may end the worker.
    fn leave(&mut self, worker: WorkerId, task: TaskId) {
        self.workers[worker.index()].tasks.remove(&task);
        self.release_if_unstuck(worker);
        self.give_up_seat(worker, task);
        self.retire_if_free(worker, &super::scaling::not_wanted());
    }

    /// Fails every task that waits or backs off.
    pub(super) fn fail_all_unsent(&mut self, message: &Arc<str>) {
        let due = self.timers.iter().filter_map(|(until, timer)| match timer {
            Timer::Task(task) => Some((*until, *task)),
            _ => None,
        });
        let backing_off: Vec<(Duration, TaskId)> = due.collect();
        for (until, task) in backing_off {
            self.timers.remove(&(until, Timer::Task(task)));
            if let Some(record) = self.tasks.get(&task) {
                self.waiting.insert(record.order, task);
            }
        }
        let mut unsent = std::mem::take(&mut self.waiting);
        unsent.append(&mut self.alone);
        for (_, task) in unsent {
            if let Some(worker) = self.tasks.get(&task).and_then(|record| record.seat) {
                self.give_up_seat(worker, task);
            }
            self.tasks.remove(&task);
            let message = message.clone();
            self.actions.push(Action::FailTask { task, kind: FailKind::NoWorkers, message });
        }
    }
}
