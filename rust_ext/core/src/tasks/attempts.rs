//! Attempts: how tasks that were sent end, are refused, are lost and are sent again.

use std::sync::Arc;
use std::time::Duration;

use super::task::{Task, TaskPhase};
use super::{Fleet, Place, Tasks, Timer, Turn};
use crate::ids::{LaunchId, TaskId, WorkerId};
use crate::journal::Note;
use crate::lineage::Origin;
use crate::{Action, ExitCause, FailKind};

/// The report of an attempt that counts.
pub(crate) struct Reported {
    /// The processes that ended under earlier attempts of the task: the task is not what ended them.
    pub crashed: Vec<(WorkerId, LaunchId)>,
    /// The task, if its report counts for more than its end; `None` if it was cancelled.
    pub counts: Option<Origin>,
    /// True if the task recomputes lost outputs.
    pub is_recovery: bool,
}

impl Tasks {
    /// True if the task's present attempt is this one.
    pub fn is_at(&self, task: TaskId, (worker, launch, attempt): Place) -> bool {
        self.records.get(&task).is_some_and(|record| record.is_at(worker, launch, attempt))
    }

    /// Takes in a worker's report of an attempt, with the number of outputs unless the task's own code failed: the
    /// task's end, unless it is stale.
    pub fn reported(
        &mut self,
        turn: &mut Turn,
        task: TaskId,
        place: Place,
        published: Option<u32>,
    ) -> Option<Reported> {
        let (worker, launch, attempt) = place;
        let record = self.records.get(&task).filter(|record| record.is_at(worker, launch, attempt))?;
        let is_recovery = record.is_recovery;
        if record.is_cancelling() {
            turn.push(Action::Cancelled { task });
        } else if !is_recovery {
            turn.push(Action::Deliver { task, attempt, worker, launch, published });
        }
        let counts = (!record.is_cancelling()).then(|| record.origin.clone());
        let reported = Reported { crashed: record.crashes().collect(), counts, is_recovery };
        self.forget(turn, task);
        self.ended += 1;
        self.loads[worker.index()].refusals = 0;
        self.offer_again(turn, worker);
        self.leave(turn, worker, task);
        Some(reported)
    }

    /// Takes in a worker's report that it cancelled an attempt.
    pub fn cancelled_by_worker(&mut self, turn: &mut Turn, task: TaskId, place: Place) {
        if self.is_at(task, place) {
            let worker = place.0;
            let reason = "the worker cancelled it, though the driver did not ask for that".into();
            self.lose_attempt(turn, task, &reason, ExitCause::Crash, true);
            self.offer_again(turn, worker);
            self.leave(turn, worker, task);
        }
    }

    /// The worker's process is gone: its tasks wait again, or fail at their cap.
    pub fn lose_worker(&mut self, turn: &mut Turn, id: WorkerId, reason: &Arc<str>, cause: ExitCause) {
        let load = std::mem::take(&mut self.loads[id.index()]);
        if let Some(listed) = load.listed {
            self.open.remove(&(listed, id));
        }
        if let Some(until) = load.cooling {
            turn.clear_timer(until, Timer::Cooling(id));
        }
        if let Some(record) = load.reserved_for.and_then(|task| self.records.get_mut(&task)) {
            record.reserved = None;
        }
        // Tasks run in the order in which they came; those beyond the slots only waited, and are not to blame.
        let sent = |task: &TaskId| self.records.get(task).map(|record| (record.sent, *task));
        let mut by_send: Vec<(u64, TaskId)> = load.tasks.iter().filter_map(sent).collect();
        by_send.sort_unstable();
        let slots = turn.config.slots_per_worker.max(1) as usize;
        for (place, (_, task)) in by_send.into_iter().enumerate() {
            self.lose_attempt(turn, task, reason, cause, place < slots);
        }
        // The word of a process that is gone decides nothing: another may read what this one could not.
        let in_doubt = |record: &Task| matches!(record.phase, TaskPhase::InDoubt { worker, .. } if worker == id);
        let doubters = self.records.iter().filter(|(_, record)| in_doubt(record));
        let mut doubters: Vec<TaskId> = doubters.map(|(task, _)| *task).collect();
        doubters.sort_unstable();
        for task in doubters {
            self.lose_attempt(turn, task, reason, cause, false);
        }
    }

    /// Takes in the end of an attempt without a report: another follows, unless that is hopeless or unwanted.
    fn lose_attempt(&mut self, turn: &mut Turn, task: TaskId, reason: &Arc<str>, cause: ExitCause, ran: bool) {
        let Some(record) = self.records.get_mut(&task) else {
            return;
        };
        if let Some((worker, launch, attempt)) = record.place() {
            let charged = ran && cause.charges();
            turn.note(Note::AttemptLost { task, attempt, worker, launch, cause, charged });
        }
        if record.is_cancelling() {
            turn.push(Action::Cancelled { task });
        } else if record.lose(reason.clone(), cause, ran, &turn.config) {
            self.queue(task);
            return;
        } else {
            let message = record.lost_message(&turn.config);
            let kind = FailKind::AttemptsLost(record.fatal_cause(&turn.config));
            turn.fail_task(record.is_recovery, task, kind, message);
        }
        self.forget(turn, task);
    }

    /// Takes in that an attempt could not read its inputs, and is over at its worker. Returns true if the task waits for
    /// the verdict on them.
    pub fn inputs_are_missing(&mut self, turn: &mut Turn, task: TaskId, place: Place) -> bool {
        let (worker, launch, attempt) = place;
        let Some(record) = self.records.get_mut(&task).filter(|record| record.is_at(worker, launch, attempt)) else {
            return false;
        };
        let is_wanted = !record.is_cancelling();
        if is_wanted {
            record.phase = TaskPhase::InDoubt { worker, launch, attempt };
            turn.note(Note::InputsMissing { task, attempt, worker, launch });
        } else {
            turn.push(Action::Cancelled { task });
            self.forget(turn, task);
        }
        self.leave(turn, worker, task);
        is_wanted
    }

    /// True if the task waits for the verdict on the inputs of this attempt.
    pub fn is_in_doubt(&self, task: TaskId, (worker, launch, attempt): Place) -> bool {
        let in_doubt = TaskPhase::InDoubt { worker, launch, attempt };
        self.records.get(&task).is_some_and(|record| record.phase == in_doubt)
    }

    /// Takes in that the inputs which the task could not read at this worker are there.
    pub fn inputs_are_there(&mut self, turn: &mut Turn, fleet: &Fleet, task: TaskId, worker: WorkerId, reason: String) {
        if fleet.is_ready(worker) {
            self.refused(turn, task, worker, reason);
        } else if let Some(record) = self.records.get_mut(&task) {
            record.phase = TaskPhase::Waiting;
            self.queue(task);
        }
    }

    /// Takes in that a worker did not take an attempt.
    pub fn bounced(&mut self, turn: &mut Turn, fleet: &Fleet, task: TaskId, place: Place, reason: String) {
        let (worker, launch, attempt) = place;
        let has_others = self.at(worker).any(|other| other != task);
        let Some(record) = self.records.get_mut(&task).filter(|record| record.is_at(worker, launch, attempt)) else {
            return;
        };
        turn.note(Note::AttemptRefused { task, attempt, worker, launch, reason: reason.as_str().into() });
        if record.is_cancelling() {
            turn.push(Action::Cancelled { task });
            self.forget(turn, task);
        } else if !fleet.is_ready(worker) {
            // It takes no tasks any more, which is no fault of the task and needs no back-off.
            record.phase = TaskPhase::Waiting;
            self.queue(task);
        } else {
            if has_others {
                // Whatever memory it lacks is that of the others, and comes back when they end.
                record.turn_away(worker, reason, self.ended);
                self.queue(task);
            } else {
                self.refused(turn, task, worker, reason);
            }
            self.cool_down(turn, worker);
        }
        self.leave(turn, worker, task);
    }

    /// Has a refused task back off, or fails it if it has done so for long enough.
    fn refused(&mut self, turn: &mut Turn, task: TaskId, worker: WorkerId, reason: String) {
        let Some(record) = self.records.get_mut(&task) else {
            return;
        };
        if let Some(until) = record.refuse(worker, reason, turn.now, self.ended, &turn.config) {
            turn.set_timer(until, Timer::Task(task));
        } else {
            let message = record.refused_message();
            turn.fail_task(record.is_recovery, task, FailKind::Refused, message);
            self.forget(turn, task);
        }
    }

    /// The back-off of a refused task is over.
    pub fn backed_off(&mut self, task: TaskId, at: Duration) {
        let Some(record) = self.records.get_mut(&task) else {
            return;
        };
        if record.phase == (TaskPhase::BackingOff { until: at }) {
            record.phase = TaskPhase::Waiting;
            self.queue(task);
        }
    }

    /// Fails a task, as data that it or its query needs is gone.
    pub fn fail_lost(&mut self, turn: &mut Turn, task: TaskId, reason: &str) {
        self.give_up(turn, task, FailKind::InputsLost, reason.into());
    }

    /// Fails a task that does not get its inputs, or that is not needed any more.
    pub fn give_up(&mut self, turn: &mut Turn, task: TaskId, kind: FailKind, message: Arc<str>) {
        let Some(record) = self.records.get(&task) else {
            return;
        };
        let (cancelling, is_recovery) = (record.is_cancelling(), record.is_recovery);
        let place = self.unqueue(turn, task);
        if cancelling {
            turn.push(Action::Cancelled { task });
        } else {
            if let Some((worker, launch, attempt)) = place {
                turn.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            turn.fail_task(is_recovery, task, kind, message);
        }
        self.forget(turn, task);
        if let Some((worker, ..)) = place {
            self.leave(turn, worker, task);
        }
    }

    /// Cancels a task: at once, or at its worker. One that runs again has ended for its owner already.
    pub fn cancel(&mut self, turn: &mut Turn, task: TaskId) {
        let Some(record) = self.records.get_mut(&task).filter(|record| !record.is_recovery) else {
            return;
        };
        if let TaskPhase::Sent { worker, launch, attempt, cancelling } = &mut record.phase {
            if !std::mem::replace(cancelling, true) {
                let (worker, launch, attempt) = (*worker, *launch, *attempt);
                record.cancelled_at = Some(turn.now);
                let due = turn.after(turn.config.cancel_patience);
                turn.set_timer(due, Timer::Cancel(task));
                turn.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            return;
        }
        self.unqueue(turn, task);
        self.records.remove(&task);
        turn.push(Action::Cancelled { task });
    }

    /// The worker of a task whose cancel has gone unanswered, with the time of the cancel.
    pub fn overdue_cancel(&self, task: TaskId) -> Option<(WorkerId, Duration)> {
        let record = self.records.get(&task)?;
        match (record.phase, record.cancelled_at) {
            (TaskPhase::Sent { worker, .. }, Some(since)) => Some((worker, since)),
            _ => None,
        }
    }

    /// The number of tasks at the worker whose cancel has gone unanswered for longer than is tolerated.
    pub fn overdue_at(&self, turn: &Turn, worker: WorkerId) -> usize {
        let is_overdue = |task: &TaskId| {
            let cancelled_at = self.records.get(task).and_then(|record| record.cancelled_at);
            cancelled_at.is_some_and(|since| since.saturating_add(turn.config.cancel_patience) <= turn.now)
        };
        self.at(worker).filter(is_overdue).count()
    }

    /// Takes back the tasks that wait at a stuck worker: another may run them. That costs them nothing.
    pub fn recall(&mut self, turn: &mut Turn, id: WorkerId) {
        let here: Vec<TaskId> = self.at(id).collect();
        for task in here {
            let Some(record) = self.records.get_mut(&task).filter(|record| !record.is_cancelling()) else {
                continue;
            };
            if let TaskPhase::Sent { worker, launch, attempt, .. } = record.phase {
                turn.push(Action::CancelOnWorker { task, attempt, worker, launch });
            }
            record.phase = TaskPhase::Waiting;
            self.queue(task);
            self.leave(turn, id, task);
        }
    }

    /// Takes a task out of the queue and off its timer; returns its place, if it is at a worker.
    pub(super) fn unqueue(&mut self, turn: &mut Turn, task: TaskId) -> Option<Place> {
        let record = self.records.get(&task)?;
        match record.phase {
            TaskPhase::Waiting => {
                let (order, reserved) = (record.origin.order, record.reserved);
                self.waiting.remove(&order);
                self.exclusive.remove(&order);
                if let Some(worker) = reserved {
                    self.release_reservation(turn, worker, task);
                }
                None
            }
            TaskPhase::BackingOff { until } => {
                turn.clear_timer(until, Timer::Task(task));
                None
            }
            TaskPhase::InDoubt { .. } | TaskPhase::Parked => None,
            TaskPhase::Sent { worker, launch, attempt, .. } => Some((worker, launch, attempt)),
        }
    }

    /// The task no longer is at the worker.
    fn leave(&mut self, turn: &mut Turn, worker: WorkerId, task: TaskId) {
        self.loads[worker.index()].tasks.remove(&task);
        self.release_reservation(turn, worker, task);
    }
}
