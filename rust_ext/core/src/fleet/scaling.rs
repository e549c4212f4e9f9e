//! The number of workers that have a process: an elastic pool grows with its work and releases idle workers.
//!
//! **Out.** When the tasks that are not over are more than the slots that are up or coming up, and a quarter
//! more, or when actors wait for a worker with room, the pool grows to as many workers as there is work for: at once if
//! there is none, else once that has lasted for a round; a few each round, and only so many starts under way. A start
//! that fails is no capacity, so it keeps no other worker from being started; but while starts fail, rounds shrink to
//! one worker and lie further and further apart, and if no worker is ready either, only those that are under way go on
//! trying.
//!
//! **In.** A worker that has had no task and has held nothing for the idle time-out is released, the one with the
//! highest number first, down to the lower bound. Nothing else shrinks a pool, so demand that swings does not move it.

use std::sync::Arc;
use std::time::Duration;

use super::Fleet;
use super::worker::{State, Worker};
use crate::Action;
use crate::ids::WorkerId;
use crate::session::turn::{Timer, Turn};

/// The reason for the end of a worker that an elastic pool did not choose itself.
pub(crate) fn not_wanted() -> Arc<str> {
    "the worker is no longer wanted".into()
}

/// The time of the next round of growth, and the outcome of the latest starts.
#[derive(Debug, Default)]
pub(crate) struct Growth {
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

impl Fleet {
    /// Sets the bounds of the number of workers, and adds the records of those that are new.
    pub fn set_bounds(&mut self, min: u32, max: u32) {
        (self.min, self.max) = (min, max);
        let known = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        self.workers.extend((known..max).map(|index| Worker::new(WorkerId(index))));
    }

    /// Sets the number of workers that are needed whatever the tasks.
    pub const fn need(&mut self, workers: u32) {
        self.needed = workers;
    }

    /// Pauses or resumes the release of idle workers.
    pub const fn keep_all(&mut self, keep: bool) {
        self.keeps_all = keep;
    }

    /// Tries workers again that were given up, and has at least one come up in an elastic pool, as a query begins.
    pub fn wake(&mut self, turn: &mut Turn, demand: usize) {
        self.renew_patience(turn);
        self.restart_given_up(turn);
        if !self.is_elastic() {
            return;
        }
        let comes_up = self.workers.iter().any(|worker| worker.wanted && worker.state.is_pending());
        if self.unavailable.is_none() && self.alive == 0 && !comes_up {
            self.start_more(turn, 1, demand);
        }
    }

    /// Tries workers again that were given up and may fare better now.
    fn restart_given_up(&mut self, turn: &mut Turn) {
        // A pool that still works need not hurry: queries that follow each other closely start no more processes
        // than the back-off would. Without any worker there is nothing to lose.
        let pause = turn.config.restart_backoff.max;
        let by = match (&self.unavailable, self.is_elastic()) {
            (Some(_), _) => Duration::MAX,
            (None, true) => return,
            (None, false) => turn.after(turn.config.restart_window).saturating_sub(pause),
        };
        let given_up = self.given_up(by);
        self.try_again(turn, &given_up);
        if self.unavailable.is_some() {
            self.check_viability(turn);
        }
    }

    /// Brings the worker's place among the idle ones up to date.
    pub fn note_idleness(&mut self, turn: &Turn, id: WorkerId, is_free: bool) {
        let worker = &mut self.workers[id.index()];
        let is_idle = is_free && matches!(worker.state, State::Ready(_));
        match (is_idle, worker.idle_since) {
            (true, None) => {
                worker.idle_since = Some(turn.now);
                self.idle.insert((turn.now, id));
            }
            (false, Some(since)) => {
                worker.idle_since = None;
                self.idle.remove(&(since, id));
            }
            _ => {}
        }
    }

    /// True if one more worker is needed than are up or coming up. A pool of a fixed size always wants them all.
    pub(super) fn needs_more(&self, turn: &Turn, demand: usize) -> bool {
        !self.is_elastic() || self.is_short(turn, demand)
    }

    pub const fn is_elastic(&self) -> bool {
        self.min < self.max
    }

    /// The number of workers that there have to be without any task.
    pub(super) fn fewest(&self) -> usize {
        self.needed.min(self.max).max(self.min) as usize
    }

    fn is_short(&self, turn: &Turn, demand: usize) -> bool {
        let useful = self.useful(turn);
        let slots = useful.saturating_mul(turn.config.slots_per_worker.max(1) as usize);
        let enough = slots.saturating_mul(turn.config.growth_threshold_percent as usize);
        useful < self.fewest() || demand.saturating_mul(100) > enough
    }

    /// Grows as far as that is due, and sets the timer for what is not due yet.
    pub fn scale_out(&mut self, turn: &mut Turn, demand: usize) {
        let may_grow = self.may_grow(turn, demand) && self.alive < self.max as usize;
        if !may_grow {
            if let Some(due) = self.growth.due.take() {
                turn.clear_timer(due, Timer::Growth);
            }
            return;
        }
        if self.growth.due.is_none() {
            if self.useful(turn) == 0 && !self.growth.is_failing() {
                self.grow(turn, demand);
            }
            self.plan_growth(turn);
        }
    }

    /// While one launch waits for room, another would only wait behind it.
    fn may_grow(&self, turn: &Turn, demand: usize) -> bool {
        self.is_elastic() && self.unavailable.is_none() && self.postponed == 0 && self.is_short(turn, demand)
    }

    fn plan_growth(&mut self, turn: &mut Turn) {
        let pause = match self.growth.failed_rounds {
            0 => Duration::ZERO,
            failed => turn.config.growth_backoff.delay(failed - 1),
        };
        // Never at once, whatever the configuration says: a round must not follow itself.
        let interval = turn.config.growth_interval.max(Duration::from_millis(1));
        let due = turn.after(interval.max(pause));
        self.growth.due = Some(due);
        turn.set_timer(due, Timer::Growth);
    }

    pub fn growth_due(&mut self, turn: &mut Turn, at: Duration, demand: usize) {
        if self.growth.due != Some(at) {
            return;
        }
        self.growth.due = None;
        if self.may_grow(turn, demand) {
            self.grow(turn, demand);
            self.plan_growth(turn);
        }
    }

    /// One round of growth.
    fn grow(&mut self, turn: &mut Turn, demand: usize) {
        self.growth.begin_round();
        let given_up = self.given_up(turn.now);
        self.try_again(turn, &given_up);
        let slots = turn.config.slots_per_worker.max(1) as usize;
        let needed = demand.div_ceil(slots).clamp(self.fewest(), self.max as usize);
        let pending = self.workers.iter().filter(|worker| worker.wanted && worker.state.is_pending()).count();
        let room = (turn.config.max_pending_starts as usize).saturating_sub(pending);
        let possible = (self.max as usize).saturating_sub(self.alive).min(turn.config.growth_step as usize).min(room);
        let mut count = needed.saturating_sub(self.useful(turn)).min(possible);
        if self.growth.is_failing() {
            let is_any_ready = self.workers.iter().any(|worker| matches!(worker.state, State::Ready(_)));
            count = count.min(usize::from(is_any_ready || pending == 0));
        }
        if count > 0 {
            self.start_more(turn, count, demand);
        }
    }

    /// Launches that many workers that have no process, those with the lowest numbers.
    fn start_more(&mut self, turn: &mut Turn, count: usize, demand: usize) {
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
            turn.push(Action::Grown { by, to, tasks: demand });
        }
        for id in chosen {
            self.want(turn, id);
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
    pub(super) fn try_again(&mut self, turn: &mut Turn, given_up: &[WorkerId]) {
        for &id in given_up {
            if let State::GivenUp { until: Some(until) } = self.enter(id, State::Absent) {
                turn.clear_timer(until, Timer::Worker(id));
            }
            let worker = self.worker(id);
            worker.wanted = false;
            worker.forget_restarts();
            if !self.is_elastic() {
                self.want(turn, id);
            }
        }
    }

    /// The next worker that was idle for long enough to be released, with the reason. If there is none, sets the timer
    /// for the one that will be.
    pub fn idle_worker_to_release(&mut self, turn: &mut Turn) -> Option<(WorkerId, Arc<str>)> {
        let timeout = turn.config.idle_timeout;
        let may_shrink = self.is_elastic() && !self.keeps_all && self.alive > self.fewest();
        let first_due = self.idle.first().map(|(since, _)| since.saturating_add(timeout)).filter(|_| may_shrink);
        if first_due.is_some_and(|due| due <= turn.now) {
            let long_idle = self.idle.iter().take_while(|(since, _)| since.saturating_add(timeout) <= turn.now);
            let last = long_idle.map(|(_, worker)| *worker).max()?;
            return Some((last, format!("it was idle for {timeout:?}").into()));
        }
        if first_due != self.idleness_due {
            if let Some(old) = self.idleness_due.take() {
                turn.clear_timer(old, Timer::Idleness);
            }
            if let Some(new) = first_due {
                turn.set_timer(new, Timer::Idleness);
            }
            self.idleness_due = first_due;
        }
        None
    }

    pub fn idleness_is_due(&mut self, at: Duration) {
        // The timer is spent; the workers to be released are found by the scaling that follows.
        if self.idleness_due == Some(at) {
            self.idleness_due = None;
        }
    }
}
