//! The life cycle of workers: how they come up, end, are started again and are given up.

use std::sync::Arc;
use std::time::Duration;

use super::worker::{Addresses, Link, State, Worker};
use super::{ExitCause, Fleet};
use crate::Action;
use crate::ids::{Incarnation, LaunchId, WorkerId};
use crate::reasons::split_log;
use crate::session::turn::{Timer, Turn};

/// The step after the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another launch, if the worker is wanted and the budget lasts.
    Restart,
    /// Another launch, as long as a start may take: something refuses workers that it has admitted before.
    AskAgain,
    /// Nothing: the next one would fare no better.
    GiveUp,
}

/// The part of the allocator in the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// None: the process is gone.
    Gone,
    /// The allocator stops the process, which may drain.
    ToStop,
    /// The allocator kills the process.
    ToKill,
}

/// The end of a worker's present process: for the session, nothing that it reports from then on counts.
#[derive(Debug)]
pub(crate) struct End {
    pub worker: WorkerId,
    pub reason: Arc<str>,
    pub process: Process,
    pub next: Next,
    pub cause: ExitCause,
}

impl End {
    fn to_stop(worker: WorkerId, reason: impl Into<Arc<str>>, next: Next, cause: ExitCause) -> Self {
        Self { worker, reason: reason.into(), process: Process::ToStop, next, cause }
    }
}

/// The consequence of a handshake beyond the worker's own state.
#[derive(Debug)]
pub(crate) enum Connected {
    /// The handshake tells of a process that cannot go on.
    Ends(End),
    /// Another process answers under the same launch.
    RestartedInPlace { link: Link, reason: Arc<str> },
}

impl Fleet {
    /// Has the worker come up, or keep up.
    pub fn want(&mut self, turn: &mut Turn, id: WorkerId) {
        self.worker(id).wanted = true;
        match self.enter(id, State::Absent) {
            State::Absent => {
                // What was refused long ago says nothing of now.
                self.worker(id).refused_since = None;
                self.launch(turn, id);
            }
            State::Draining(link) => self.ready(turn, id, link),
            other => drop(self.enter(id, other)),
        }
    }

    /// Has the worker drain, or end if it is free.
    pub fn unwant(&mut self, turn: &mut Turn, id: WorkerId, reason: &Arc<str>, is_free: bool) -> Option<End> {
        self.worker(id).wanted = false;
        match self.enter(id, State::Absent) {
            State::Ready(link) if !is_free => {
                self.enter(id, State::Draining(link));
                turn.touch(id);
                None
            }
            State::Restarting { until, .. } | State::GivenUp { until: Some(until) } => {
                turn.clear_timer(until, Timer::Worker(id));
                None
            }
            State::Absent | State::GivenUp { until: None } => None,
            other => {
                self.enter(id, other);
                self.retire(id, reason, is_free)
            }
        }
    }

    /// Ends a worker that is not wanted and with which nothing would be lost.
    pub fn retire(&self, id: WorkerId, reason: &Arc<str>, is_free: bool) -> Option<End> {
        let worker = &self.workers[id.index()];
        let retires = !worker.wanted && is_free && worker.state.has_process();
        retires.then(|| End::to_stop(id, reason.clone(), Next::Restart, ExitCause::Stopped))
    }

    /// Gives a worker another state, and keeps count of those that are up or coming up; returns the one before.
    pub(super) fn enter(&mut self, id: WorkerId, state: State) -> State {
        let (counts, postponed) = (usize::from(state.counts()), usize::from(state.is_postponed()));
        let before = std::mem::replace(&mut self.worker(id).state, state);
        self.changes += 1;
        self.alive = (self.alive + counts).saturating_sub(usize::from(before.counts()));
        self.postponed = (self.postponed + postponed).saturating_sub(usize::from(before.is_postponed()));
        before
    }

    fn launch(&mut self, turn: &mut Turn, id: WorkerId) {
        let deadline = turn.after(turn.config.start_timeout);
        let worker = self.worker(id);
        worker.launch = LaunchId(worker.launch.0 + 1);
        worker.launched_at = turn.now;
        let launch = worker.launch;
        self.enter(id, State::Starting { deadline });
        turn.set_timer(deadline, Timer::Worker(id));
        turn.push(Action::Launch { worker: id, launch });
    }

    pub fn ready(&mut self, turn: &mut Turn, id: WorkerId, link: Link) {
        self.was_ever_ready = true;
        let worker = self.worker(id);
        worker.refused_since = None;
        let (launch, launched_at) = (worker.launch, worker.launched_at);
        let incarnation = link.incarnation.clone();
        self.growth.succeeded(launched_at);
        self.enter(id, State::Ready(link));
        turn.push(Action::WorkerReady { worker: id, launch, incarnation });
        turn.touch(id);
    }

    /// The worker, if this is its present process; else the news is stale.
    pub(super) fn present(&mut self, id: WorkerId, launch: LaunchId) -> Option<&mut Worker> {
        self.workers.get_mut(id.index()).filter(|worker| worker.launch == launch && worker.state.has_process())
    }

    /// The launched process listens.
    pub fn started(&mut self, turn: &mut Turn, id: WorkerId, launch: LaunchId, addresses: Addresses) {
        // Should that not have been reported.
        self.admitted(turn, id, launch);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        let reconnects = match &worker.state {
            State::Starting { .. } => false,
            State::Connecting { addresses: known, .. } if *known != addresses => true,
            // Reported twice; or a process that answers elsewhere, which its connection will find out.
            _ => return,
        };
        let Some(deadline) = worker.state.due() else {
            return;
        };
        worker.state = State::Connecting { deadline, addresses: addresses.clone() };
        if reconnects {
            turn.push(Action::Disconnect { worker: id, launch });
        }
        turn.push(Action::Connect { worker: id, launch, addresses });
    }

    /// The handshake went well.
    pub fn connected(
        &mut self,
        turn: &mut Turn,
        id: WorkerId,
        launch: LaunchId,
        incarnation: Incarnation,
    ) -> Option<Connected> {
        let is_here = |other: &Worker| other.link().is_some_and(|link| link.incarnation == incarnation);
        if self.workers.iter().any(|other| other.id != id && is_here(other)) {
            // The shell has mistaken one process for another. Two names for one process would share its ends.
            let end = self.unreachable(id, launch, "the process of another worker answers at its address");
            return end.map(Connected::Ends);
        }
        match &self.present(id, launch)?.state {
            State::Connecting { deadline, addresses } => {
                let (deadline, addresses) = (*deadline, addresses.clone());
                turn.clear_timer(deadline, Timer::Worker(id));
                self.worker(id).last_heard = turn.now;
                self.ready(turn, id, Link { incarnation, addresses });
                None
            }
            State::Ready(link) | State::Draining(link) | State::Leaving(link) if link.incarnation != incarnation => {
                let reason = format!(
                    "the process was restarted in place (a new incarnation, {incarnation}, answers); what the old one \
                     held and ran is gone"
                );
                let link = Link { incarnation, addresses: link.addresses.clone() };
                Some(Connected::RestartedInPlace { link, reason: reason.into() })
            }
            _ => None,
        }
    }

    /// Takes a process that was restarted in place in the stead of the old one; false if the worker is not wanted any
    /// more or its budget is spent.
    pub fn accepts_restart_in_place(&mut self, turn: &Turn, id: WorkerId, counts: bool) -> bool {
        let accepts = self.workers[id.index()].wanted && self.take_restart(turn, id, counts).is_some();
        if accepts {
            self.worker(id).last_heard = turn.now;
        }
        accepts
    }

    /// The end of a process that was restarted in place and is not taken.
    pub fn restart_in_place_ends(id: WorkerId, reason: Arc<str>) -> End {
        End::to_stop(id, reason, Next::Restart, ExitCause::Crash)
    }

    /// The handshake was refused.
    pub fn refused(&mut self, id: WorkerId, launch: LaunchId, reason: &str) -> Option<End> {
        self.present(id, launch)?;
        let reason = format!("the worker refused the connection: {reason}");
        Some(End::to_stop(id, reason, Next::GiveUp, ExitCause::NeverStarted))
    }

    /// The process is gone, or never came.
    pub fn exited(
        &mut self,
        id: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) -> Option<End> {
        let was_ever_ready = self.was_ever_ready;
        let worker = self.present(id, launch)?;
        // What refuses workers now, after it has admitted some, may do so for a minute: a quota of 0, a wrong label
        // for Pod Security, a webhook, a full disk. Before any success it is a mistake, which is told at once.
        let next = match (restartable, was_ever_ready) {
            (true, _) => Next::Restart,
            (false, true) if worker.link().is_some() => Next::Restart,
            (false, true) => Next::AskAgain,
            (false, false) => Next::GiveUp,
        };
        Some(End { worker: id, reason: reason.into(), process: Process::Gone, next, cause })
    }

    /// The worker has not answered for longer than is tolerated.
    pub fn unreachable(&mut self, id: WorkerId, launch: LaunchId, reason: &str) -> Option<End> {
        self.present(id, launch)?;
        let reason = format!("the worker could not be reached: {reason}");
        Some(End::to_stop(id, reason, Next::Restart, ExitCause::Infrastructure))
    }

    /// A start took too long, or the back-off before a restart is over.
    pub fn worker_due(&mut self, turn: &mut Turn, id: WorkerId, at: Duration, demand: usize) -> Option<End> {
        let worker = self.get(id).filter(|worker| worker.state.due() == Some(at))?;
        let timeout = turn.config.start_timeout;
        let reason = match &worker.state {
            State::Restarting { .. } => {
                self.restart(turn, id, demand);
                return None;
            }
            State::GivenUp { .. } => {
                self.try_again(turn, &[id]);
                return None;
            }
            State::Postponed { .. } => {
                self.out_of_patience(id);
                return None;
            }
            State::Connecting { addresses, .. } => {
                format!("not ready {timeout:?} after its launch: no handshake at {}", addresses.control)
            }
            _ => format!("not ready {timeout:?} after its launch: the process does not listen yet"),
        };
        Some(End::to_stop(id, reason, Next::Restart, ExitCause::NeverStarted))
    }

    /// The back-off is over: launches the worker again, unless an elastic pool does not need it any more.
    fn restart(&mut self, turn: &mut Turn, id: WorkerId, demand: usize) {
        self.enter(id, State::Absent);
        if self.needs_more(turn, demand) {
            self.launch(turn, id);
        } else {
            self.worker(id).wanted = false;
        }
    }

    /// The process was told to stop, not by the pool: it ends what it runs, and its replacement is started when it is
    /// gone.
    pub fn leaving(&mut self, turn: &mut Turn, id: WorkerId, launch: LaunchId) {
        if self.present(id, launch).is_none() {
            return;
        }
        match self.enter(id, State::Absent) {
            State::Ready(link) => {
                self.enter(id, State::Leaving(link));
                turn.touch(id);
            }
            other => drop(self.enter(id, other)),
        }
    }

    /// Closes the worker's process and its connection. Returns true if the process was connected.
    pub fn close(&mut self, turn: &mut Turn, end: &End) -> bool {
        let id = end.worker;
        let worker = &self.workers[id.index()];
        let launch = worker.launch;
        if let Some(due) = worker.state.due() {
            turn.clear_timer(due, Timer::Worker(id));
        }
        if end.process != Process::Gone {
            let force = end.process == Process::ToKill;
            turn.push(Action::Stop { worker: id, launch, force, reason: end.reason.clone() });
        }
        if worker.state.has_connection() {
            turn.push(Action::Disconnect { worker: id, launch });
        }
        worker.link().is_some()
    }

    /// Removes the worker's process: leaves the worker absent. Returns that process, if it was connected.
    pub fn remove(&mut self, turn: &mut Turn, id: WorkerId, reason: &Arc<str>) -> Option<Link> {
        self.forget_stuck(turn, id);
        self.forget_unanswered(turn, id);
        let worker = self.worker(id);
        (worker.has_no_slot, worker.stuck_calls) = (false, "".into());
        worker.reason = Some(reason.clone());
        if let Some(since) = worker.idle_since.take() {
            self.idle.remove(&(since, id));
        }
        match self.enter(id, State::Absent) {
            State::Ready(link) | State::Draining(link) | State::Leaving(link) => Some(link),
            _ => None,
        }
    }

    /// Takes the next step with a worker whose process has ended. `counts`: its restart counts against its budget.
    pub fn replace(&mut self, turn: &mut Turn, end: &End, was_connected: bool, counts: bool, demand: usize) {
        let (id, next) = (end.worker, end.next);
        if !self.workers[id.index()].wanted {
            return;
        }
        if !was_connected {
            self.growth.failed(turn.now);
        }
        if next != Next::AskAgain {
            self.worker(id).refused_since = None;
        }
        if next != Next::GiveUp && !self.needs_more(turn, demand) {
            self.worker(id).wanted = false;
            return;
        }
        let restart = match next {
            Next::Restart => self.take_restart(turn, id, counts),
            Next::AskAgain if self.is_worth_asking(turn, id) => self.take_restart(turn, id, false),
            Next::AskAgain | Next::GiveUp => None,
        };
        if let Some(earlier) = restart {
            let until = turn.after(turn.config.restart_backoff.delay(earlier));
            self.enter(id, State::Restarting { until, was_ready: was_connected });
            turn.set_timer(until, Timer::Worker(id));
            return;
        }
        self.give_up(turn, id, &end.reason, next);
    }

    fn give_up(&mut self, turn: &mut Turn, id: WorkerId, reason: &Arc<str>, next: Next) {
        let retry_at = (next != Next::GiveUp).then(|| turn.after(turn.config.restart_window));
        // An elastic pool starts another one in its place, and asks for this one when it grows.
        let until = retry_at.filter(|_| !self.is_elastic());
        self.enter(id, State::GivenUp { until });
        if let Some(until) = until {
            turn.set_timer(until, Timer::Worker(id));
        }
        let worker = self.worker(id);
        worker.retry_at = retry_at;
        if next == Next::Restart {
            let (restarts, window) = (turn.config.max_worker_restarts, turn.config.restart_window);
            let (reason, log) = split_log(reason);
            let text =
                format!("{reason} (given up: {restarts} restarts within {window:?} are all that is allowed){log}");
            worker.reason = Some(text.into());
        }
        self.check_viability(turn);
    }

    /// True if a refused start may be asked for again: refusals have not lasted for longer than a start may take.
    fn is_worth_asking(&mut self, turn: &Turn, id: WorkerId) -> bool {
        let since = *self.worker(id).refused_since.get_or_insert(turn.now);
        turn.now.saturating_sub(since) < turn.config.start_timeout
    }

    fn take_restart(&mut self, turn: &Turn, id: WorkerId, counts: bool) -> Option<u32> {
        let (window, max) = (turn.config.restart_window, turn.config.max_worker_restarts);
        self.worker(id).take_restart(turn.now, window, max, counts)
    }

    /// Counts the death of that process against its worker, because the task that ran in it has ended elsewhere.
    pub fn blame(&mut self, id: WorkerId, launch: LaunchId) {
        self.worker(id).blame(launch);
    }

    /// Clears the worker's budget: it ran a task to its end.
    pub fn proved_fit(&mut self, id: WorkerId) {
        self.worker(id).proved_fit();
    }
}
