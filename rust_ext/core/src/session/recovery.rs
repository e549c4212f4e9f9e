//! Recovery: lost slots are recomputed by running the tasks that made them again, and what reads them waits.
//!
//! The [lineage](crate::lineage) plans which tasks run again; `docs/recovery.md` has the picture. A task that runs again
//! is a task without an owner, under a new run: it goes before all that may wait for it, as it keeps its place in the
//! order of submission. What it reads is pinned. Its outputs take the place of those slots that are lost, if each output
//! has as many rows as before; the others are dropped.
//!
//! Invariant: a task that waits for lost inputs is at no worker, so those that run again find room.

use std::sync::Arc;

use super::{Action, Session};
use crate::ids::{FetchId, Generation, SlotId, TaskId};
use crate::lineage::Obstacle;
use crate::lineage::waiters::Waiter;
use crate::slots::{Location, Output};
use crate::tasks::Place;
use crate::{FailKind, Loss};

impl Session {
    /// Has a task that is at no worker wait for its lost inputs, or fails it if they cannot be recomputed.
    pub(super) fn park_or_fail(&mut self, task: TaskId) {
        let Some(inputs) = self.tasks.get(task).map(|record| record.origin.inputs.clone()) else {
            return;
        };
        self.tasks.park(&mut self.turn, task);
        let Some((lost, loss)) = self.slots.lost_of(&inputs) else {
            return self.tasks.unpark(task);
        };
        match self.recover(&lost, &loss) {
            Ok(()) => self.waiters.add(Waiter::Task(task), lost.iter().map(|slot| slot.task)),
            Err(obstacle) => self.tasks.fail_lost(&mut self.turn, task, &loss.of_input(&obstacle)),
        }
    }

    /// Has a fetch wait for lost slots, or tells it that they are gone.
    pub(super) fn recover_for_fetch(&mut self, fetch: FetchId, slots: &[SlotId], known: &Arc<Loss>) {
        let Some((lost, loss)) = self.slots.lost_of(slots) else {
            let is_there = |slot: &SlotId| self.slots.location(*slot).is_some();
            return self.turn.push(if slots.iter().all(is_there) {
                Action::FetchAgain { fetch }
            } else {
                Action::FetchVerdict { fetch, lost: Some(known.to_string().into()) }
            });
        };
        match self.recover(&lost, &loss) {
            Ok(()) => self.waiters.add(Waiter::Fetch(fetch), lost.iter().map(|slot| slot.task)),
            Err(obstacle) => {
                let lost = Some(loss.with_obstacle(&obstacle).into());
                self.turn.push(Action::FetchVerdict { fetch, lost });
            }
        }
    }

    /// Begins to recompute lost slots, unless that is under way.
    pub(super) fn recover(&mut self, lost: &[SlotId], loss: &Arc<Loss>) -> Result<(), Obstacle> {
        let planned = self.lineage.plan(&self.slots, lost, &self.turn.config);
        if let (Err(obstacle), Some(consequences)) = (&planned, &mut self.turn.loss) {
            consequences.obstacle.get_or_insert_with(|| obstacle.to_string().into());
        }
        let plan = planned?;
        match &mut self.turn.loss {
            Some(consequences) => consequences.tasks.extend(&plan),
            None if plan.is_empty() => {}
            None => {
                let tasks = plan.clone();
                self.turn.push(Action::Recovering { tasks, slots: lost.len(), worker: loss.worker });
            }
        }
        for task in plan {
            self.run_again(task, loss);
        }
        Ok(())
    }

    fn run_again(&mut self, task: TaskId, loss: &Arc<Loss>) {
        let Some((run, origin)) = self.lineage.begin(task, loss) else {
            return;
        };
        let mut producers = Vec::new();
        for input in &*origin.inputs {
            if self.slots.pin(*input, &origin.query, loss) {
                self.lineage.slot_lost(input.task, false);
            }
            if !matches!(self.slots.location(*input), Some(Location::At(_))) {
                producers.push(input.task);
            }
        }
        self.turn.push(Action::RunAgain { task, run });
        self.tasks.submit(task, origin, true, !producers.is_empty());
        if !producers.is_empty() {
            self.waiters.add(Waiter::Task(task), producers);
        }
    }

    /// A task that was run again has ended at its worker; `None`: its own code failed.
    pub(super) fn ran_again(&mut self, task: TaskId, (worker, _, attempt): Place, outputs: Option<&[Output]>) {
        let Some((run, inputs, loss)) = self.lineage.end(task) else {
            return;
        };
        let checked = match outputs {
            Some(outputs) => self.lineage.check(task, outputs),
            None => Err(Obstacle::Failed("a task that made it failed when it ran again".into())),
        };
        let mut dropped = Vec::new();
        for output in outputs.unwrap_or_default().iter().filter(|output| output.is_stored) {
            let slot = SlotId { task, slot: output.slot };
            if checked.is_ok() && self.slots.restore(slot, Generation { run, attempt }, worker) {
                self.lineage.slot_restored(task);
            } else {
                dropped.push(output.slot);
            }
        }
        self.turn.touch(worker);
        self.turn.push(Action::RunOver { task, run, attempt, worker, dropped });
        self.unpin(task, &inputs);
        match checked {
            Ok(()) => {
                for waiter in self.waiters.recomputed(task) {
                    match waiter {
                        Waiter::Task(task) => self.tasks.unpark(task),
                        Waiter::Fetch(fetch) => self.turn.push(Action::FetchAgain { fetch }),
                    }
                }
            }
            Err(obstacle) => {
                let (of_task, of_fetch) = (loss.of_input(&obstacle), loss.with_obstacle(&obstacle));
                self.lineage.spoil(task, obstacle);
                self.fail_waiters(task, FailKind::InputsLost, &of_task.into(), &of_fetch.into());
            }
        }
        self.release_records([task]);
    }

    /// Takes in what the turn has led to so far: tasks that were run again and failed, and tasks that were to be sent
    /// though an input of them is lost.
    pub(super) fn settle_recoveries(&mut self) {
        loop {
            if let Some(task) = self.tasks.stranded.pop() {
                self.park_or_fail(task);
            } else if let Some((task, kind, message)) = self.turn.failed_recoveries.pop() {
                self.run_failed(task, kind, &message);
            } else {
                return;
            }
        }
    }

    fn run_failed(&mut self, task: TaskId, kind: FailKind, message: &Arc<str>) {
        let Some((run, inputs, _)) = self.lineage.end(task) else {
            return;
        };
        if matches!(kind, FailKind::AttemptsLost(_)) {
            let reason = format!("a task that made it was lost when it ran again: {message}");
            self.lineage.spoil(task, Obstacle::Failed(reason.into()));
        }
        self.waiters.remove(Waiter::Task(task));
        self.turn.push(Action::RunEnded { task, run });
        self.unpin(task, &inputs);
        self.fail_waiters(task, kind, message, message);
        self.release_records([task]);
    }

    fn fail_waiters(&mut self, task: TaskId, kind: FailKind, of_task: &Arc<str>, of_fetch: &Arc<str>) {
        for waiter in self.waiters.failed(task) {
            match waiter {
                Waiter::Task(task) => self.tasks.give_up(&mut self.turn, task, kind, of_task.clone()),
                Waiter::Fetch(fetch) => self.turn.push(Action::FetchVerdict { fetch, lost: Some(of_fetch.clone()) }),
            }
        }
    }

    /// A task that was run again needs its inputs no more. Those that nothing else keeps are dropped at their workers.
    fn unpin(&mut self, task: TaskId, inputs: &[SlotId]) {
        let mut parents = Vec::new();
        for input in inputs {
            if let Some((location, generation)) = self.slots.unpin(*input) {
                if let Location::At(worker) = &location {
                    self.turn.push(Action::DropInput { reader: task, slot: *input, worker: *worker, generation });
                }
                self.slot_is_gone(*input, &location);
                parents.push(input.task);
            }
        }
        self.release_records(parents);
    }

    /// A slot is not kept any more.
    pub(super) fn slot_is_gone(&mut self, slot: SlotId, location: &Location) {
        if let Location::At(worker) = location {
            self.turn.touch(*worker);
        }
        if self.lineage.slot_gone(slot.task, matches!(location, Location::Lost(_))) {
            let message = "nothing needs its outputs any more".into();
            self.tasks.give_up(&mut self.turn, slot.task, FailKind::InputsLost, message);
        }
    }

    /// Forgets the records of these tasks, as far as nothing needs them.
    pub(super) fn release_records(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        let mut forgotten = Vec::new();
        for task in tasks {
            forgotten.extend(self.lineage.release(task));
        }
        self.note_forgotten(forgotten);
    }

    pub(super) fn note_forgotten(&mut self, tasks: Vec<TaskId>) {
        if !tasks.is_empty() {
            self.turn.push(Action::Forget { tasks });
        }
    }
}
