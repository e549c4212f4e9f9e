//! How many workers have a process: an elastic pool grows with its work and lets idle workers go.
//!
//! **Out.** When the tasks that are not over are more than the slots that are up or coming up, and a quarter
//! more, or when actors wait for a worker with room, the pool grows to as many workers as there is work for: at once if there is none, else once that has
//! lasted for a round; a few each round, and only so many starts under way. A start that fails is no capacity, so
//! it keeps no other worker from being started; but while starts fail, rounds shrink to one worker and lie further
//! and further apart, and if no worker is ready either, only those that are under way go on trying.
//!
//! **In.** A worker that has had no task and has held nothing for the idle time-out is let go, the one with the
//! highest number first, down to the lower bound. Nothing else shrinks a pool, so demand that swings does not move it.

use std::sync::Arc;
use std::time::Duration;

use super::worker::{State, Worker};
use super::{Action, Pool, Timer};
use crate::ids::{LaunchId, WorkerId};

/// Why a worker that an elastic pool did not choose itself is let go.
pub(super) fn not_wanted() -> Arc<str> {
    "the worker is no longer wanted".into()
}

/// When the pool grows next, and how starts have gone lately.
#[derive(Debug, Default)]
pub(super) struct Growth {
    pub due: Option<Duration>,
    /// Rounds in a row after which a start failed.
    failed_rounds: u32,
    start_failed: bool,
    /// Since when starts have failed. A start that was asked for before proves nothing.
    failing_since: Option<Duration>,
}

impl Growth {
    pub fn failed(&mut self, now: Duration) {
        self.start_failed = true;
        self.failing_since.get_or_insert(now);
    }

    pub fn succeeded(&mut self, launched_at: Duration) {
        if self.failing_since.is_some_and(|since| launched_at >= since) {
            (self.start_failed, self.failed_rounds, self.failing_since) = (false, 0, None);
        }
    }

    const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    fn begin_round(&mut self) {
        if std::mem::take(&mut self.start_failed) {
            self.failed_rounds = self.failed_rounds.saturating_add(1);
        }
    }
}

impl Pool {
    pub(super) fn set_range(&mut self, min: u32, start: u32, max: u32) {
        let max = max.max(min);
        let start = start.clamp(min, max);
        (self.min, self.max) = (min, max);
        let known = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        self.workers.extend((known..max).map(|index| Worker::new(WorkerId(index))));
        let reason = not_wanted();
        for index in 0..self.workers.len() {
            let id = self.workers[index].id;
            if id.0 < start {
                self.want(id);
            } else if id.0 >= max {
                self.unwant(id, &reason);
            }
        }
        self.judge();
    }

    /// A query begins: workers that were given up are tried again, and an elastic pool has at least one come up.
    pub(super) fn wake(&mut self) {
        self.be_patient_again();
        self.mend();
        if !self.is_elastic() {
            return;
        }
        let comes_up = self.workers.iter().any(|worker| worker.wanted && worker.state.is_pending());
        if self.broken.is_none() && self.alive == 0 && !comes_up {
            self.start_more(1);
        }
    }

    /// Tries workers again that were given up and may fare better now.
    fn mend(&mut self) {
        // A pool that still works need not hurry: queries that follow each other closely start no more processes
        // than the back-off would. Without any worker there is nothing to lose.
        let pause = self.config.restart_backoff.max;
        let by = match (&self.broken, self.is_elastic()) {
            (Some(_), _) => Duration::MAX,
            (None, true) => return,
            (None, false) => self.now.saturating_add(self.config.restart_window).saturating_sub(pause),
        };
        let given_up = self.given_up(by);
        self.try_again(&given_up);
        if self.broken.is_some() {
            self.judge();
        }
    }

    pub(super) fn hold(&mut self, id: WorkerId, launch: LaunchId, count: u64) {
        self.change_holds(id, launch, |holds| Some(holds.saturating_add(count)));
    }

    /// A release without a hold is a defect of the caller. Taken as one, it would let go of what another reference needs.
    pub(super) fn release(&mut self, id: WorkerId, launch: LaunchId, count: u64) {
        self.change_holds(id, launch, |holds| holds.checked_sub(count));
    }

    /// Changes what a process holds. One that is not connected (any more) holds nothing.
    fn change_holds(&mut self, id: WorkerId, launch: LaunchId, change: impl FnOnce(u64) -> Option<u64>) {
        let is_connected = |worker: &&mut Worker| worker.launch == launch && worker.state.link().is_some();
        let Some(worker) = self.workers.get_mut(id.index()).filter(is_connected) else {
            return;
        };
        let Some(holds) = change(worker.holds) else {
            let message =
                format!("more was released at {id} (launch {launch}) than the {} that it holds", worker.holds);
            self.actions.push(Action::Defect { message: message.into() });
            return;
        };
        worker.holds = holds;
        self.note_idleness(id);
        self.retire_if_free(id, &not_wanted());
    }

    /// Brings the worker's place among the idle ones up to date.
    pub(super) fn note_idleness(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.index()];
        match (worker.is_idle(), worker.idle_since) {
            (true, None) => {
                worker.idle_since = Some(self.now);
                self.idle.insert((self.now, id));
            }
            (false, Some(since)) => {
                worker.idle_since = None;
                self.idle.remove(&(since, id));
            }
            _ => {}
        }
    }

    /// True if one more worker is needed than are up or coming up. A pool of a fixed size always wants them all.
    pub(super) fn needs_more(&self) -> bool {
        !self.is_elastic() || self.is_short()
    }

    pub(super) const fn is_elastic(&self) -> bool {
        self.min < self.max
    }

    /// How many workers there have to be without any task.
    pub(super) fn fewest(&self) -> usize {
        self.needed.min(self.max).max(self.min) as usize
    }

    fn is_short(&self) -> bool {
        let slots = self.useful().saturating_mul(self.config.slots_per_worker.max(1) as usize);
        let enough = slots.saturating_mul(self.config.growth_threshold_percent as usize);
        self.useful() < self.fewest() || self.tasks.len().saturating_mul(100) > enough
    }

    /// Grows or shrinks as far as that is due, and sets the timers for what is not due yet.
    pub(super) fn scale(&mut self) {
        self.let_idle_ones_go();
        self.withdraw_postponed();
        let may_grow = self.may_grow() && self.alive < self.max as usize;
        if !may_grow {
            if let Some(due) = self.growth.due.take() {
                self.timers.remove(&(due, Timer::Growth));
            }
            return;
        }
        if self.growth.due.is_none() {
            if self.useful() == 0 && !self.growth.is_failing() {
                self.grow();
            }
            self.plan_growth();
        }
    }

    /// While one launch waits for room, another would only wait behind it.
    fn may_grow(&self) -> bool {
        self.is_elastic() && self.broken.is_none() && self.postponed == 0 && self.is_short()
    }

    fn plan_growth(&mut self) {
        let pause = match self.growth.failed_rounds {
            0 => Duration::ZERO,
            failed => self.config.growth_backoff.delay(failed - 1),
        };
        // Never at once, whatever the configuration says: a round must not follow itself.
        let interval = self.config.growth_interval.max(Duration::from_millis(1));
        let due = self.now.saturating_add(interval.max(pause));
        self.growth.due = Some(due);
        self.timers.insert((due, Timer::Growth));
    }

    pub(super) fn growth_due(&mut self, at: Duration) {
        if self.growth.due != Some(at) {
            return;
        }
        self.growth.due = None;
        if self.may_grow() {
            self.grow();
            self.plan_growth();
        }
    }

    /// One round of growth.
    fn grow(&mut self) {
        self.growth.begin_round();
        let given_up = self.given_up(self.now);
        self.try_again(&given_up);
        let slots = self.config.slots_per_worker.max(1) as usize;
        let needed = self.tasks.len().div_ceil(slots).clamp(self.fewest(), self.max as usize);
        let pending = self.workers.iter().filter(|worker| worker.wanted && worker.state.is_pending()).count();
        let room = (self.config.max_pending_starts as usize).saturating_sub(pending);
        let possible = (self.max as usize).saturating_sub(self.alive).min(self.config.growth_step as usize).min(room);
        let mut count = needed.saturating_sub(self.useful()).min(possible);
        if self.growth.is_failing() {
            let is_any_ready = self.workers.iter().any(|worker| matches!(worker.state, State::Ready(_)));
            count = count.min(usize::from(is_any_ready || pending == 0));
        }
        if count > 0 {
            self.start_more(count);
        }
    }

    /// Launches that many workers that have no process, those with the lowest numbers.
    fn start_more(&mut self, count: usize) {
        let max = self.max;
        let absent = |worker: &&Worker| worker.id.0 < max && !worker.wanted && matches!(worker.state, State::Absent);
        // One that still ends its tasks is the best of all: it is up, and keeps what it holds.
        let draining = |worker: &&Worker| worker.id.0 < max && matches!(worker.state, State::Draining(_));
        let chosen: Vec<WorkerId> = (self.workers.iter().filter(draining))
            .chain(self.workers.iter().filter(absent))
            .map(|worker| worker.id)
            .take(count)
            .collect();
        if let (Ok(by), false) = (u32::try_from(chosen.len()), chosen.is_empty()) {
            let to = u32::try_from(self.alive).unwrap_or(u32::MAX).saturating_add(by);
            self.actions.push(Action::Grown { by, to, tasks: self.tasks.len() });
        }
        for id in chosen {
            self.want(id);
        }
    }

    /// The workers that were given up, may fare better, and whose window ends by then.
    fn given_up(&self, by: Duration) -> Vec<WorkerId> {
        let is_over = |worker: &&Worker| {
            matches!(worker.state, State::GivenUp { .. }) && worker.retry_at.is_some_and(|at| at <= by)
        };
        self.workers.iter().filter(is_over).map(|worker| worker.id).collect()
    }

    /// Forgets that these workers were given up. A pool of a fixed size launches them; an elastic one does so when it
    /// needs them.
    pub(super) fn try_again(&mut self, given_up: &[WorkerId]) {
        for &id in given_up {
            if let State::GivenUp { until: Some(until) } = self.enter(id, State::Absent) {
                self.timers.remove(&(until, Timer::Worker(id)));
            }
            let worker = &mut self.workers[id.index()];
            worker.wanted = false;
            worker.forget_restarts();
            if !self.is_elastic() {
                self.want(id);
            }
        }
    }

    fn let_idle_ones_go(&mut self) {
        let timeout = self.config.idle_timeout;
        let mut due = None;
        while self.is_elastic() && !self.keep_all && self.alive > self.fewest() {
            let Some((since, _)) = self.idle.first() else {
                break;
            };
            let first_due = since.saturating_add(timeout);
            if first_due > self.now {
                due = Some(first_due);
                break;
            }
            let long_idle = self.idle.iter().take_while(|(since, _)| since.saturating_add(timeout) <= self.now);
            let Some(last) = long_idle.map(|(_, worker)| *worker).max() else {
                break;
            };
            self.unwant(last, &format!("it was idle for {timeout:?}").into());
        }
        if due != self.idleness_due {
            if let Some(old) = self.idleness_due.take() {
                self.timers.remove(&(old, Timer::Idleness));
            }
            if let Some(new) = due {
                self.timers.insert((new, Timer::Idleness));
            }
            self.idleness_due = due;
        }
    }

    pub(super) fn idleness_is_due(&mut self, at: Duration) {
        // The timer is spent; who is to go is found by `scale`, which follows.
        if self.idleness_due == Some(at) {
            self.idleness_due = None;
        }
    }
}
