//! The lives of workers: how they come up, end, are started again and are given up.

use std::sync::Arc;
use std::time::Duration;

use super::worker::{Addresses, Link, State, Worker};
use super::{Action, ExitCause, Pool, Timer};
use crate::ids::{Incarnation, LaunchId, TaskId, WorkerId};

/// The step after the end of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another launch, if the worker is wanted and the budget lasts.
    Restart,
    /// Another launch, as long as a start may take: something refuses workers that it has admitted before.
    AskAgain,
    /// Nothing: the next one would fare no better.
    GiveUp,
}

/// The part of the allocator in the end of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    /// None: the process is gone.
    Gone,
    /// The allocator stops the process, which may drain.
    ToStop,
    /// The allocator kills the process.
    ToKill,
}

impl Pool {
    pub(super) fn want(&mut self, id: WorkerId) {
        self.workers[id.index()].wanted = true;
        match self.enter(id, State::Absent) {
            State::Absent => {
                // What was refused long ago says nothing of now.
                self.workers[id.index()].refused_since = None;
                self.launch(id);
            }
            State::Draining(link) => self.ready(id, link),
            other => drop(self.enter(id, other)),
        }
    }

    pub(super) fn unwant(&mut self, id: WorkerId, reason: &Arc<str>) {
        let worker = &mut self.workers[id.index()];
        worker.wanted = false;
        let is_free = worker.is_free();
        match self.enter(id, State::Absent) {
            State::Ready(link) if !is_free => {
                self.enter(id, State::Draining(link));
                self.relist(id);
            }
            State::Restarting { until, .. } | State::GivenUp { until: Some(until) } => {
                self.timers.remove(&(until, Timer::Worker(id)));
            }
            State::Absent | State::GivenUp { until: None } => {}
            other => {
                self.enter(id, other);
                self.retire_if_free(id, reason);
            }
        }
    }

    /// Stops a worker that is not wanted and with which nothing would be lost.
    pub(super) fn retire_if_free(&mut self, id: WorkerId, reason: &Arc<str>) {
        let worker = &self.workers[id.index()];
        if !worker.wanted && worker.is_free() && worker.state.has_process() {
            self.end_process(id, reason.clone(), Process::ToStop, Next::Restart, ExitCause::Stopped);
        }
    }

    /// Gives a worker another state, and keeps count of those that are up or coming up; returns the one before.
    pub(super) fn enter(&mut self, id: WorkerId, state: State) -> State {
        let worker = &mut self.workers[id.index()];
        let (counts, postponed) = (usize::from(state.counts()), usize::from(state.is_postponed()));
        let before = std::mem::replace(&mut worker.state, state);
        self.alive = (self.alive + counts).saturating_sub(usize::from(before.counts()));
        self.postponed = (self.postponed + postponed).saturating_sub(usize::from(before.is_postponed()));
        before
    }

    pub(super) fn launch(&mut self, id: WorkerId) {
        let deadline = self.now.saturating_add(self.config.start_timeout);
        let worker = &mut self.workers[id.index()];
        worker.launch = LaunchId(worker.launch.0 + 1);
        worker.launched_at = self.now;
        let launch = worker.launch;
        self.enter(id, State::Starting { deadline });
        self.timers.insert((deadline, Timer::Worker(id)));
        self.actions.push(Action::Launch { worker: id, launch });
    }

    fn ready(&mut self, id: WorkerId, link: Link) {
        self.was_ever_ready = true;
        let worker = &mut self.workers[id.index()];
        worker.refused_since = None;
        let (incarnation, launch) = (link.incarnation.clone(), worker.launch);
        self.growth.succeeded(worker.launched_at);
        self.enter(id, State::Ready(link));
        self.actions.push(Action::WorkerReady { worker: id, launch, incarnation });
        self.relist(id);
    }

    /// The worker, if this is its present process; else the news is stale.
    pub(super) fn present(&mut self, id: WorkerId, launch: LaunchId) -> Option<&mut Worker> {
        self.workers.get_mut(id.index()).filter(|worker| worker.launch == launch && worker.state.has_process())
    }

    pub(super) fn started(&mut self, id: WorkerId, launch: LaunchId, addresses: Addresses) {
        // Should that not have been said.
        self.admitted(id, launch);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        let reconnects = match &worker.state {
            State::Starting { .. } => false,
            State::Connecting { addresses: known, .. } if *known != addresses => true,
            // Said twice; or a process that answers elsewhere, which its connection will find out.
            _ => return,
        };
        let Some(deadline) = worker.state.due() else {
            return;
        };
        worker.state = State::Connecting { deadline, addresses: addresses.clone() };
        if reconnects {
            self.actions.push(Action::Disconnect { worker: id, launch });
        }
        self.actions.push(Action::Connect { worker: id, launch, addresses });
    }

    pub(super) fn connected(&mut self, id: WorkerId, launch: LaunchId, incarnation: Incarnation) {
        let is_here = |other: &Worker| other.state.link().is_some_and(|link| link.incarnation == incarnation);
        if self.workers.iter().any(|other| other.id != id && is_here(other)) {
            // The shell has mistaken one process for another. Two names for one process would share its ends.
            return self.unreachable(id, launch, "the process of another worker answers at its address");
        }
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        match &worker.state {
            State::Connecting { deadline, addresses } => {
                let (deadline, addresses) = (*deadline, addresses.clone());
                self.timers.remove(&(deadline, Timer::Worker(id)));
                self.ready(id, Link { incarnation, addresses });
            }
            State::Ready(link) | State::Draining(link) | State::Leaving(link) if link.incarnation != incarnation => {
                let addresses = link.addresses.clone();
                self.restarted_in_place(id, Link { incarnation, addresses });
            }
            _ => {}
        }
    }

    fn restarted_in_place(&mut self, id: WorkerId, link: Link) {
        let reason: Arc<str> = format!(
            "the process was restarted in place (a new incarnation, {}, answers); what the old one held and ran is gone",
            link.incarnation
        )
        .into();
        let counts = !self.runs_a_task(id);
        if self.workers[id.index()].wanted && self.take_restart(id, counts).is_some() {
            self.bury(id, &reason, ExitCause::Crash);
            self.ready(id, link);
        } else {
            // Not wanted any more, or the budget is spent, as `end_process` will find.
            self.end_process(id, reason, Process::ToStop, Next::Restart, ExitCause::Crash);
        }
    }

    pub(super) fn refused(&mut self, id: WorkerId, launch: LaunchId, reason: &str) {
        if self.present(id, launch).is_some() {
            let reason = format!("the worker refused the connection: {reason}").into();
            self.end_process(id, reason, Process::ToStop, Next::GiveUp, ExitCause::NeverStarted);
        }
    }

    pub(super) fn exited(
        &mut self,
        id: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) {
        let was_ever_ready = self.was_ever_ready;
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        // What refuses workers now, after it has admitted some, may do so for a minute: a quota of 0, a wrong label
        // for Pod Security, a webhook, a full disk. Before any success it is a mistake, which is told at once.
        let next = match (restartable, was_ever_ready) {
            (true, _) => Next::Restart,
            (false, true) if worker.state.link().is_some() => Next::Restart,
            (false, true) => Next::AskAgain,
            (false, false) => Next::GiveUp,
        };
        self.end_process(id, reason.into(), Process::Gone, next, cause);
    }

    pub(super) fn unreachable(&mut self, id: WorkerId, launch: LaunchId, reason: &str) {
        if self.present(id, launch).is_some() {
            let reason = format!("the worker could not be reached: {reason}").into();
            self.end_process(id, reason, Process::ToStop, Next::Restart, ExitCause::Infrastructure);
        }
    }

    /// A start took too long, or the back-off before a restart is over.
    pub(super) fn worker_due(&mut self, id: WorkerId, at: Duration) {
        let Some(worker) = self.workers.get(id.index()) else {
            return;
        };
        if worker.state.due() != Some(at) {
            return;
        }
        let timeout = self.config.start_timeout;
        let reason = match &worker.state {
            State::Restarting { .. } => return self.restart(id),
            State::GivenUp { .. } => return self.try_again(&[id]),
            State::Postponed { .. } => return self.out_of_patience(id),
            State::Connecting { addresses, .. } => {
                format!("not ready {timeout:?} after its launch: no handshake at {}", addresses.control)
            }
            _ => format!("not ready {timeout:?} after its launch: the process does not listen yet"),
        };
        self.end_process(id, reason.into(), Process::ToStop, Next::Restart, ExitCause::NeverStarted);
    }

    /// Its back-off is over: launches it again, unless an elastic pool does not need it any more.
    fn restart(&mut self, id: WorkerId) {
        self.enter(id, State::Absent);
        if self.needs_more() {
            self.launch(id);
        } else {
            self.workers[id.index()].wanted = false;
        }
    }

    /// Others told the process to stop: it ends what it runs, and its replacement is started when it is gone.
    pub(super) fn leaving(&mut self, id: WorkerId, launch: LaunchId) {
        if self.present(id, launch).is_none() {
            return;
        }
        match self.enter(id, State::Absent) {
            State::Ready(link) => {
                self.enter(id, State::Leaving(link));
                self.relist(id);
            }
            other => drop(self.enter(id, other)),
        }
    }

    /// The process is over for the pool: nothing that it says from now on counts.
    pub(super) fn end_process(
        &mut self,
        id: WorkerId,
        reason: Arc<str>,
        process: Process,
        next: Next,
        cause: ExitCause,
    ) {
        let worker = &mut self.workers[id.index()];
        let launch = worker.launch;
        if let Some(due) = worker.state.due() {
            self.timers.remove(&(due, Timer::Worker(id)));
        }
        let connected = worker.state.has_connection();
        let was_ready = worker.state.link().is_some();
        if process != Process::Gone {
            let force = process == Process::ToKill;
            self.actions.push(Action::Stop { worker: id, launch, force, reason: reason.clone() });
        }
        if connected {
            self.actions.push(Action::Disconnect { worker: id, launch });
        }
        // A task that ran there bounds how often that happens, by its own caps: it is not counted twice.
        let counts = cause != ExitCause::Stopped && !self.runs_a_task(id);
        self.bury(id, &reason, cause);
        if !self.workers[id.index()].wanted {
            return;
        }
        if !was_ready {
            self.growth.failed(self.now);
        }
        if next != Next::AskAgain {
            self.workers[id.index()].refused_since = None;
        }
        if next != Next::GiveUp && !self.needs_more() {
            self.workers[id.index()].wanted = false;
            return;
        }
        let restart = match next {
            Next::Restart => self.take_restart(id, counts),
            Next::AskAgain if self.is_worth_asking(id) => self.take_restart(id, false),
            Next::AskAgain | Next::GiveUp => None,
        };
        if let Some(earlier) = restart {
            let until = self.now.saturating_add(self.config.restart_backoff.delay(earlier));
            self.enter(id, State::Restarting { until, was_ready });
            self.timers.insert((until, Timer::Worker(id)));
            return;
        }
        self.give_up(id, &reason, next);
    }

    fn give_up(&mut self, id: WorkerId, reason: &Arc<str>, next: Next) {
        let retry_at = (next != Next::GiveUp).then(|| self.now.saturating_add(self.config.restart_window));
        // An elastic pool starts another one in its place, and asks for this one when it grows.
        let until = retry_at.filter(|_| !self.is_elastic());
        self.enter(id, State::GivenUp { until });
        self.timers.extend(until.map(|until| (until, Timer::Worker(id))));
        let worker = &mut self.workers[id.index()];
        worker.retry_at = retry_at;
        if next == Next::Restart {
            let (restarts, window) = (self.config.max_worker_restarts, self.config.restart_window);
            let text = format!("{reason} (given up: {restarts} restarts within {window:?} are all that is allowed)");
            worker.reason = Some(text.into());
        }
        self.judge();
    }

    /// True if a refused start may be asked for again: refusals have not lasted for longer than a start may take.
    fn is_worth_asking(&mut self, id: WorkerId) -> bool {
        let (now, patience) = (self.now, self.config.start_timeout);
        let since = *self.workers[id.index()].refused_since.get_or_insert(now);
        now.saturating_sub(since) < patience
    }

    /// True if a task ran in the worker's process, as far as the pool can tell: it was sent one that was not cancelled.
    fn runs_a_task(&self, id: WorkerId) -> bool {
        let tasks = &self.workers[id.index()].tasks;
        tasks.iter().any(|task| self.tasks.get(task).is_some_and(|record| !record.is_cancelling()))
    }

    /// Leaves the worker absent, its incarnation mourned and its tasks waiting (or failed at their cap).
    fn bury(&mut self, id: WorkerId, reason: &Arc<str>, cause: ExitCause) {
        self.forget_stuck(id);
        let worker = &mut self.workers[id.index()];
        let launch = worker.launch;
        if let Some(load) = worker.listed {
            self.open.remove(&(load, id));
        }
        if let Some(until) = worker.cooling {
            self.timers.remove(&(until, Timer::Cooling(id)));
        }
        if let Some(since) = worker.idle_since.take() {
            self.idle.remove(&(since, id));
        }
        worker.reason = Some(reason.clone());
        // What it held is gone with it, also if it was restarted in place.
        let orderly = cause == ExitCause::Stopped && worker.holds == 0;
        worker.holds = 0;
        let kept_for = worker.kept_for;
        let orphans = worker.forget_tasks();
        if let Some(record) = kept_for.and_then(|task| self.tasks.get_mut(&task)) {
            record.seat = None;
        }
        if let State::Ready(link) | State::Draining(link) | State::Leaving(link) = self.enter(id, State::Absent) {
            let (incarnation, reason) = (link.incarnation, reason.clone());
            self.actions.push(Action::WorkerLost { worker: id, launch, incarnation, reason, orderly });
        }
        // Tasks run in the order in which they came; those beyond the slots only waited, and are not to blame.
        let mut by_send: Vec<(u64, TaskId)> =
            orphans.iter().filter_map(|task| self.tasks.get(task).map(|record| (record.sent, *task))).collect();
        by_send.sort_unstable();
        let slots = self.config.slots_per_worker.max(1) as usize;
        for (place, (_, task)) in by_send.into_iter().enumerate() {
            self.lose_attempt(task, reason, cause, place < slots);
        }
    }

    fn take_restart(&mut self, id: WorkerId, counts: bool) -> Option<u32> {
        let (window, max) = (self.config.restart_window, self.config.max_worker_restarts);
        self.workers[id.index()].take_restart(self.now, window, max, counts)
    }
}
