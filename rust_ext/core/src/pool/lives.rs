//! How workers come up, go down and are given up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::worker::{Addresses, Link, State, Worker};
use super::{Action, ExitCause, Pool, Timer};
use crate::ids::{Incarnation, LaunchId, TaskId, WorkerId};

/// How many different reasons the message of a broken pool spells out.
const REASONS_SHOWN: usize = 10;

/// What may follow the end of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Another launch, if the worker is wanted and the budget lasts.
    Restart,
    /// Nothing: the next one would fare no better.
    GiveUp,
}

/// Whether the allocator still has the process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Process {
    Gone,
    ToStop,
}

impl Pool {
    pub(super) fn set_desired(&mut self, count: u32) {
        self.desired = count;
        let known = u32::try_from(self.workers.len()).unwrap_or(u32::MAX);
        self.workers.extend((known..count).map(|index| Worker::new(WorkerId(index))));
        for index in 0..self.workers.len() {
            let id = self.workers[index].id;
            if id.0 < count { self.want(id) } else { self.unwant(id) }
        }
        self.judge();
    }

    fn want(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.index()];
        match std::mem::replace(&mut worker.state, State::Absent) {
            State::Absent => self.launch(id),
            State::Draining(link) => self.ready(id, link),
            other => worker.state = other,
        }
    }

    fn unwant(&mut self, id: WorkerId) {
        let worker = &mut self.workers[id.index()];
        match std::mem::replace(&mut worker.state, State::Absent) {
            State::Ready(link) if !worker.tasks.is_empty() => {
                worker.state = State::Draining(link);
                self.relist(id);
            }
            State::Restarting { until } => {
                self.timers.remove(&(until, Timer::Worker(id)));
            }
            State::Absent | State::GivenUp => {}
            other => {
                worker.state = other;
                self.retire_if_idle(id);
            }
        }
    }

    /// Stops a worker that is not wanted and has no tasks left.
    pub(super) fn retire_if_idle(&mut self, id: WorkerId) {
        let worker = &self.workers[id.index()];
        if id.0 >= self.desired && worker.tasks.is_empty() && worker.state.has_process() {
            let reason = "the worker is no longer wanted".into();
            self.end_process(id, reason, Process::ToStop, Next::Restart, ExitCause::Stopped);
        }
    }

    fn launch(&mut self, id: WorkerId) {
        let deadline = self.now.saturating_add(self.config.start_timeout);
        let worker = &mut self.workers[id.index()];
        worker.launch = LaunchId(worker.launch.0 + 1);
        worker.state = State::Starting { deadline };
        self.timers.insert((deadline, Timer::Worker(id)));
        self.actions.push(Action::Launch { worker: id, launch: worker.launch });
    }

    fn ready(&mut self, id: WorkerId, link: Link) {
        let worker = &mut self.workers[id.index()];
        let incarnation = link.incarnation.clone();
        worker.state = State::Ready(link);
        self.actions.push(Action::WorkerReady { worker: id, launch: worker.launch, incarnation });
        self.relist(id);
    }

    /// The worker, if this is its present process; else the news is stale.
    fn present(&mut self, id: WorkerId, launch: LaunchId) -> Option<&mut Worker> {
        self.workers.get_mut(id.index()).filter(|worker| worker.launch == launch && worker.state.has_process())
    }

    pub(super) fn started(&mut self, id: WorkerId, launch: LaunchId, addresses: Addresses) {
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
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        match &worker.state {
            State::Connecting { deadline, addresses } => {
                let (deadline, addresses) = (*deadline, addresses.clone());
                self.timers.remove(&(deadline, Timer::Worker(id)));
                self.ready(id, Link { incarnation, addresses });
            }
            State::Ready(link) | State::Draining(link) if link.incarnation != incarnation => {
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
        if id.0 < self.desired && self.take_restart(id).is_some() {
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
        if self.present(id, launch).is_some() {
            let next = if restartable { Next::Restart } else { Next::GiveUp };
            self.end_process(id, reason.into(), Process::Gone, next, cause);
        }
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
            State::Restarting { .. } => return self.launch(id),
            State::Connecting { addresses, .. } => {
                format!("not ready {timeout:?} after its launch: no handshake at {}", addresses.control)
            }
            _ => format!("not ready {timeout:?} after its launch: the process does not listen yet"),
        };
        self.end_process(id, reason.into(), Process::ToStop, Next::Restart, ExitCause::NeverStarted);
    }

    /// The process is over for the pool: nothing that it says from now on counts.
    fn end_process(&mut self, id: WorkerId, reason: Arc<str>, process: Process, next: Next, cause: ExitCause) {
        let worker = &mut self.workers[id.index()];
        let launch = worker.launch;
        if let Some(due) = worker.state.due() {
            self.timers.remove(&(due, Timer::Worker(id)));
        }
        let connected = worker.state.has_connection();
        if process == Process::ToStop {
            self.actions.push(Action::Stop { worker: id, launch, reason: reason.clone() });
        }
        if connected {
            self.actions.push(Action::Disconnect { worker: id, launch });
        }
        self.bury(id, &reason, cause);
        if id.0 >= self.desired {
            return;
        }
        let restart = if next == Next::Restart { self.take_restart(id) } else { None };
        let worker = &mut self.workers[id.index()];
        if let Some(earlier) = restart {
            let until = self.now.saturating_add(self.config.restart_backoff.delay(earlier));
            worker.state = State::Restarting { until };
            self.timers.insert((until, Timer::Worker(id)));
            return;
        }
        worker.state = State::GivenUp;
        if next == Next::Restart {
            let (restarts, window) = (self.config.max_worker_restarts, self.config.restart_window);
            let text = format!("{reason} (given up: {restarts} restarts within {window:?} are all that is allowed)");
            worker.reason = Some(text.into());
        }
        self.judge();
    }

    /// Leaves the worker absent, its incarnation mourned and its tasks waiting (or failed at their cap).
    fn bury(&mut self, id: WorkerId, reason: &Arc<str>, cause: ExitCause) {
        let worker = &mut self.workers[id.index()];
        let launch = worker.launch;
        if let Some(load) = worker.listed {
            self.open.remove(&(load, id));
        }
        if let Some(until) = worker.cooling {
            self.timers.remove(&(until, Timer::Cooling(id)));
        }
        worker.reason = Some(reason.clone());
        let state = std::mem::replace(&mut worker.state, State::Absent);
        let kept_for = worker.kept_for;
        let orphans = worker.forget_tasks();
        if let Some(record) = kept_for.and_then(|task| self.tasks.get_mut(&task)) {
            record.seat = None;
        }
        if let State::Ready(link) | State::Draining(link) = state {
            let (incarnation, reason) = (link.incarnation, reason.clone());
            self.actions.push(Action::WorkerLost { worker: id, launch, incarnation, reason });
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

    fn take_restart(&mut self, id: WorkerId) -> Option<u32> {
        let (window, max) = (self.config.restart_window, self.config.max_worker_restarts);
        self.workers[id.index()].take_restart(self.now, window, max)
    }

    /// Decides anew whether any wanted worker is left that is or can come up.
    fn judge(&mut self) {
        let wanted = &self.workers[..self.desired as usize];
        if wanted.is_empty() || !wanted.iter().all(|worker| matches!(worker.state, State::GivenUp)) {
            self.broken = None;
        } else if self.broken.is_none() {
            let message: Arc<str> = broken_message(wanted).into();
            self.broken = Some(message.clone());
            self.actions.push(Action::PoolBroken { message });
        }
    }
}

/// Names every reason once, with the workers that it stopped. Bounded, however many workers there are.
fn broken_message(workers: &[Worker]) -> String {
    let mut reasons: BTreeMap<&str, (WorkerId, usize)> = BTreeMap::new();
    for worker in workers {
        let reason = worker.reason.as_deref().unwrap_or("unknown");
        reasons.entry(reason).or_insert((worker.id, 0)).1 += 1;
    }
    let mut grouped: Vec<_> = reasons.iter().collect();
    grouped.sort_unstable_by_key(|(_, (first, _))| *first);
    let mut text = format!("no worker is ready and none of the {} wanted can come up any more", workers.len());
    for (reason, (first, count)) in grouped.iter().take(REASONS_SHOWN) {
        // Writing to a String does not fail.
        let _ = match count {
            1 => write!(text, "; {first}: {reason}"),
            _ => write!(text, "; {first} and {} more: {reason}", count - 1),
        };
    }
    if grouped.len() > REASONS_SHOWN {
        let _ = write!(text, "; and {} more reasons", grouped.len() - REASONS_SHOWN);
    }
    text
}
