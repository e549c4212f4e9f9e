//! Losses of partitions: the tasks that they fail, and the verdicts on partitions that could not be read.

use std::collections::HashSet;

use super::turn::Timer;
use super::{Action, Session};
use crate::FailKind;
use crate::ids::{FetchId, SlotId, TaskId, WorkerId};
use crate::lineage::waiters::Waiter;
use crate::lineage::{Obstacle, Origin};
use crate::slots::verdicts::{Reader, Verdict, holders_of};
use crate::slots::{Location, LostStore, SlotRead};
use crate::tasks::Place;

/// The fate of partitions that are asked for after the end of the session, for people.
const SHUT_DOWN: &str = "the session was shut down, and with it all partitions of its workers are gone";

impl Session {
    /// Takes a new task in. If an input is lost, it waits, or fails at once if the input cannot be recomputed.
    pub(super) fn submit(&mut self, task: TaskId, mut origin: Origin) {
        if self.tasks.get(task).is_some() {
            return;
        }
        origin.order = self.tasks.next_order();
        let inputs = origin.inputs.clone();
        let Some((lost, loss)) = self.slots.lost_of(&inputs) else {
            self.slots.mark_read(&inputs);
            return self.tasks.submit(task, origin, false, false);
        };
        match self.recover(&lost, &loss) {
            Ok(()) => {
                self.slots.mark_read(&inputs);
                self.tasks.submit(task, origin, false, true);
                self.waiters.add(Waiter::Task(task), lost.iter().map(|slot| slot.task));
            }
            Err(obstacle) => {
                let message = loss.of_input(&obstacle).into();
                self.turn.push(Action::FailTask { task, kind: FailKind::InputsLost, message });
            }
        }
    }

    /// Forgets slots to which nothing refers any more.
    pub(super) fn drop_slots(&mut self, slots: &[SlotId]) {
        let mut tasks = Vec::new();
        for slot in slots {
            if let Some(location) = self.slots.remove(*slot) {
                self.slot_is_gone(*slot, &location);
                if tasks.last() != Some(&slot.task) {
                    tasks.push(slot.task);
                }
            }
        }
        self.release_records(tasks);
    }

    /// Has everything recomputed that a query needs and the worker's process held. Fails the tasks that can no longer get
    /// their inputs, and one task of each query of which an unread slot cannot be recomputed: it will be read by a task
    /// that Daft has not submitted, as Daft keeps no other references to outputs of a query that runs.
    pub(super) fn notify_readers(&mut self, worker: WorkerId, lost: LostStore) {
        let loss = lost.loss;
        for slot in &lost.ids {
            self.lineage.slot_lost(slot.task, true);
        }
        for reader in self.verdicts.lose(worker) {
            self.give_verdict(reader, Some(loss.clone()));
        }
        self.set_verdict_timer();
        if lost.ids.is_empty() {
            return;
        }
        let mut failed = HashSet::new();
        for (task, query) in self.tasks.unsent_readers(&self.slots) {
            self.park_or_fail(task);
            if self.tasks.get(task).is_none() {
                failed.insert(query);
            }
        }
        // One failed task ends its query.
        for (query, slots) in lost.unread.iter().filter(|(query, _)| !failed.contains(query)) {
            // Without a task the query may be over, and a reader of its results asks for them.
            if let Some(task) = self.tasks.any_of(query)
                && let Err(obstacle) = self.recover(slots, &loss)
            {
                self.tasks.fail_lost(&mut self.turn, task, &loss.of_query(&obstacle));
            }
        }
    }

    /// An attempt could not read its inputs. That is its end at the worker, also for a cancel that is under way.
    pub(super) fn inputs_are_missing(
        &mut self,
        task: TaskId,
        place: Place,
        slots: &[SlotId],
        gone: bool,
        message: String,
    ) {
        if self.tasks.inputs_are_missing(&mut self.turn, task, place) {
            let holders = holders_of(&self.slots, slots).into_iter().collect();
            self.ask_for_verdict(Reader::Task { task, place, gone, message, holders }, slots);
        }
    }

    /// A fetch could not read these slots. If one was recomputed since the fetch found it, the fetch tries again: it may
    /// have asked a process that is gone.
    pub(super) fn fetch_failed(&mut self, fetch: FetchId, reads: &[SlotRead]) {
        let slots: Vec<SlotId> = reads.iter().map(|read| read.slot).collect();
        let is_stale = |read: &SlotRead| {
            let is_there = matches!(self.slots.location(read.slot), Some(Location::At(_)));
            is_there && self.slots.generation(read.slot) != read.generation
        };
        if self.slots.loss_of(&slots).is_none() && reads.iter().any(is_stale) {
            return self.turn.push(Action::FetchAgain { fetch });
        }
        self.ask_for_verdict(Reader::Fetch { fetch, slots: slots.clone() }, &slots);
    }

    /// Data of the driver that a task needs is gone for good. A task that runs again for lost outputs is not begun anew.
    pub(super) fn driver_lacks_inputs(&mut self, task: TaskId, reason: &str) {
        match self.lineage.running_for(task) {
            Some(loss) => {
                let obstacle = Obstacle::Failed(reason.into());
                let message = loss.of_input(&obstacle);
                self.lineage.spoil(task, obstacle);
                self.tasks.fail_lost(&mut self.turn, task, &message);
            }
            None => self.tasks.fail_lost(&mut self.turn, task, reason),
        }
    }

    /// Finds out whether partitions that could not be read are lost, and tells the reader, now or later.
    pub(super) fn ask_for_verdict(&mut self, reader: Reader, slots: &[SlotId]) {
        let due = self.turn.after(self.turn.config.loss_news_grace);
        if let Some((reader, verdict)) = self.verdicts.ask(&self.slots, reader, slots, due) {
            self.give_verdict(reader, verdict);
        }
        self.set_verdict_timer();
    }

    fn set_verdict_timer(&mut self) {
        let due = self.verdicts.next_due();
        if due != self.verdicts.timer {
            if let Some(old) = std::mem::replace(&mut self.verdicts.timer, due) {
                self.turn.clear_timer(old, Timer::Verdicts);
            }
            if let Some(due) = due {
                self.turn.set_timer(due, Timer::Verdicts);
            }
        }
    }

    /// Tells the readers whose wait is over that their partitions are not lost.
    pub(super) fn give_due_verdicts(&mut self) {
        let is_silent = |holder| self.fleet.is_silent(&self.turn, holder);
        for reader in self.verdicts.take_due(self.turn.now, is_silent) {
            self.give_verdict(reader, None);
        }
        self.set_verdict_timer();
    }

    fn give_verdict(&mut self, reader: Reader, verdict: Verdict) {
        match reader {
            Reader::Fetch { fetch, slots } => match verdict {
                Some(loss) => self.recover_for_fetch(fetch, &slots, &loss),
                None => self.turn.push(Action::FetchVerdict { fetch, lost: None }),
            },
            Reader::Task { task, place, gone, message, holders } => {
                if self.tasks.is_in_doubt(task, place) {
                    self.give_task_verdict(task, place.0, gone, &message, &holders, verdict);
                }
            }
        }
    }

    fn give_task_verdict(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        gone: bool,
        message: &str,
        holders: &[WorkerId],
        verdict: Verdict,
    ) {
        if let Some(loss) = verdict {
            let inputs = self.tasks.get(task).map(|record| record.origin.inputs.clone()).unwrap_or_default();
            // Recomputed meanwhile, or lost; one that was dropped is neither.
            if inputs.iter().all(|input| self.slots.location(*input).is_some()) {
                self.park_or_fail(task);
            } else {
                self.tasks.fail_lost(&mut self.turn, task, &loss.to_string());
            }
        } else if gone {
            let others = holders.iter().filter(|holder| **holder != worker);
            let of = others.map(|holder| format!(" of {holder}")).collect::<Vec<_>>().join(",");
            let reason = format!("{worker} could not read its inputs{of}: {message}; run the query again");
            self.tasks.fail_lost(&mut self.turn, task, &reason);
        } else {
            let reason = format!("it could not read inputs of the task: {message}");
            self.tasks.inputs_are_there(&mut self.turn, &self.fleet, task, worker, reason);
        }
    }

    /// Ends the waits for verdicts with the session. Its tasks have ended already.
    pub(super) fn close_verdicts(&mut self) {
        for reader in self.verdicts.take_all() {
            if let Reader::Fetch { fetch, .. } = reader {
                self.close_fetch(fetch);
            }
        }
        for waiter in self.waiters.take_all() {
            if let Waiter::Fetch(fetch) = waiter {
                self.close_fetch(fetch);
            }
        }
    }

    pub(super) fn close_fetch(&mut self, fetch: FetchId) {
        self.turn.push(Action::FetchVerdict { fetch, lost: Some(SHUT_DOWN.into()) });
    }
}
