//! The record of one task that is not over.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::Place;
use crate::ids::{Attempt, LaunchId, WorkerId};
use crate::lineage::Origin;
use crate::reasons::{split_log, without_numbers};
use crate::{ExitCause, PoolConfig};

/// The place of a task in its life; the transitions are in the table of [`session`](crate::session).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPhase {
    /// Waits for a worker with room.
    Waiting,
    /// Was refused by a worker; waits until it is tried again.
    BackingOff {
        /// The time at which it is tried again, since session start.
        until: Duration,
    },
    /// Is at a worker.
    Sent {
        /// The worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
        /// True if the worker was told to cancel it.
        cancelling: bool,
    },
    /// Waits until lost inputs of it have been recomputed.
    Parked,
    /// Could not read its inputs; waits for the verdict on them. It is at no worker any more.
    InDoubt {
        /// The worker that could not read.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
    },
}

/// The number of losses that end a task although none of them was its fault: workers that are taken away faster than
/// the task ends, or at which it only waited.
const MAX_INNOCENT_LOSSES: usize = 16;

/// An attempt that ended without a report.
#[derive(Debug)]
struct LostAttempt {
    attempt: Attempt,
    worker: WorkerId,
    launch: LaunchId,
    reason: Arc<str>,
    cause: ExitCause,
    /// True if the task may have run by then, so that the attempt is used up.
    charged: bool,
}

/// Refusals since a worker last took the task.
#[derive(Debug)]
struct Refusals {
    count: u32,
    /// The sum of its back-offs.
    waited: Duration,
    /// The number of tasks of the pool that had ended by then. Once more have, the count and the wait begin anew.
    ended: u64,
    worker: WorkerId,
    reason: String,
}

/// One task that is not over.
#[derive(Debug)]
pub(crate) struct Task {
    pub origin: Origin,
    /// True if it recomputes lost outputs: it has no owner.
    pub is_recovery: bool,
    pub phase: TaskPhase,
    /// The number of its latest send among all sends of the pool.
    pub sent: u64,
    /// The worker that is reserved for it, while it waits for one of its own.
    pub reserved: Option<WorkerId>,
    /// The time at which its worker was told to cancel it.
    pub cancelled_at: Option<Duration>,
    last_attempt: Option<Attempt>,
    losses: Vec<LostAttempt>,
    refusals: Option<Refusals>,
}

impl Task {
    pub const fn new(origin: Origin, is_recovery: bool) -> Self {
        Self {
            origin,
            is_recovery,
            phase: TaskPhase::Waiting,
            sent: 0,
            reserved: None,
            cancelled_at: None,
            last_attempt: None,
            losses: Vec::new(),
            refusals: None,
        }
    }

    pub const fn is_sent(&self) -> bool {
        matches!(self.phase, TaskPhase::Sent { .. })
    }

    pub const fn is_cancelling(&self) -> bool {
        matches!(self.phase, TaskPhase::Sent { cancelling: true, .. })
    }

    /// The attempt at hand, if there is one: at a worker, or over there and in doubt.
    pub const fn place(&self) -> Option<Place> {
        match self.phase {
            TaskPhase::Sent { worker, launch, attempt, .. } | TaskPhase::InDoubt { worker, launch, attempt } => {
                Some((worker, launch, attempt))
            }
            TaskPhase::Waiting | TaskPhase::Parked | TaskPhase::BackingOff { .. } => None,
        }
    }

    /// True if news of this attempt is of the task's present one.
    pub fn is_at(&self, worker: WorkerId, launch: LaunchId, attempt: Attempt) -> bool {
        match self.phase {
            TaskPhase::Sent { worker: w, launch: l, attempt: a, .. } => (w, l, a) == (worker, launch, attempt),
            _ => false,
        }
    }

    /// The number of times that it was sent.
    pub fn attempts(&self) -> u32 {
        self.last_attempt.map_or(0, |attempt| attempt.0)
    }

    /// True if the task needs an exclusive reservation: the memory of a worker that it shared was not enough.
    pub fn needs_reservation(&self) -> bool {
        self.losses_to_memory() > 0
    }

    fn losses_to_memory(&self) -> usize {
        self.losses.iter().filter(|loss| loss.charged && loss.cause == ExitCause::OutOfMemory).count()
    }

    /// The worker that refused it last, if it was not taken by any since.
    pub fn refused_by(&self) -> Option<WorkerId> {
        self.refusals.as_ref().map(|refusals| refusals.worker)
    }

    /// The processes whose end used up an attempt of the task.
    pub fn crashes(&self) -> impl Iterator<Item = (WorkerId, LaunchId)> + '_ {
        self.losses.iter().filter(|loss| loss.charged).map(|loss| (loss.worker, loss.launch))
    }

    /// Counts one more send and returns its number.
    pub fn begin(&mut self, worker: WorkerId, launch: LaunchId) -> Attempt {
        let attempt = self.last_attempt.map_or(Attempt::FIRST, Attempt::next);
        self.last_attempt = Some(attempt);
        self.phase = TaskPhase::Sent { worker, launch, attempt, cancelling: false };
        attempt
    }

    /// The attempt at hand ended without a report. Returns true if another may be made.
    pub fn lose(&mut self, reason: Arc<str>, cause: ExitCause, ran: bool, config: &PoolConfig) -> bool {
        if let Some((worker, launch, attempt)) = self.place() {
            let charged = ran && cause.charges();
            self.losses.push(LostAttempt { attempt, worker, launch, reason, cause, charged });
        }
        self.refusals = None;
        self.phase = TaskPhase::Waiting;
        let charged = self.losses.iter().filter(|loss| loss.charged).count();
        charged < config.max_task_attempts.max(1) as usize
            && self.losses_to_memory() < config.max_oom_attempts.max(1) as usize
            && self.losses.len() - charged < MAX_INNOCENT_LOSSES
    }

    /// A worker refused the attempt at hand. Returns the end of the back-off, or `None` if the task has waited enough.
    ///
    /// `ended` is the number of tasks of the pool that have ended: as long as some do, a refusal may pass.
    pub fn refuse(
        &mut self,
        worker: WorkerId,
        reason: String,
        now: Duration,
        ended: u64,
        config: &PoolConfig,
    ) -> Option<Duration> {
        let past = self.refusals.as_ref().filter(|past| past.ended == ended);
        let (count, waited) = past.map_or((0, Duration::ZERO), |past| (past.count, past.waited));
        let delay = config.bounce_backoff.delay(count);
        let until = now.saturating_add(delay);
        let (count, so_far) = (count.saturating_add(1), waited.saturating_add(delay));
        self.refusals = Some(Refusals { count, waited: so_far, ended, worker, reason });
        self.phase = TaskPhase::BackingOff { until };
        (waited < config.bounce_limit).then_some(until)
    }

    /// A worker had no room for the attempt at hand, which costs nothing: the task waits for room again.
    pub fn turn_away(&mut self, worker: WorkerId, reason: String, ended: u64) {
        match &mut self.refusals {
            Some(past) => (past.worker, past.reason) = (worker, reason),
            none => *none = Some(Refusals { count: 0, waited: Duration::ZERO, ended, worker, reason }),
        }
        self.phase = TaskPhase::Waiting;
    }

    /// The error of a task that was lost for good, attempt by attempt, with the last log; for people.
    pub fn lost_message(&self, config: &PoolConfig) -> Arc<str> {
        let times = if self.losses.len() == 1 { "once".to_owned() } else { format!("{} times", self.losses.len()) };
        let mut text = format!("it was lost {times} with the worker it ran on:");
        let (mut told, mut last_log) = (String::new(), "");
        for LostAttempt { attempt, worker, launch, reason, cause, charged } in &self.losses {
            let (head, log) = split_log(reason);
            last_log = if log.is_empty() { last_log } else { log };
            let told_before = std::mem::replace(&mut told, without_numbers(head));
            let head = if told == told_before { "the same" } else { head };
            let innocent = match (charged, cause) {
                (true, _) => "",
                (false, ExitCause::Infrastructure) => " (does not count: the worker was taken away)",
                (false, _) => " (does not count: it only waited there)",
            };
            // Writing to a String does not fail.
            let _ = write!(text, " attempt {attempt} on {worker} (launch {launch}): {head}{innocent};");
        }
        text.push_str(" no further attempt is made. ");
        text.push_str(self.advice(config));
        text.push_str(last_log);
        text.into()
    }

    /// The cause that used up the attempts of a task that was lost for good.
    pub fn fatal_cause(&self, config: &PoolConfig) -> ExitCause {
        if self.losses_to_memory() >= config.max_oom_attempts.max(1) as usize {
            ExitCause::OutOfMemory
        } else if self.crashes().count() >= config.max_task_attempts.max(1) as usize {
            ExitCause::Crash
        } else {
            ExitCause::Infrastructure
        }
    }

    /// The way out for a task that was lost for good.
    fn advice(&self, config: &PoolConfig) -> &'static str {
        match self.fatal_cause(config) {
            ExitCause::OutOfMemory => {
                "The task needs more memory than its workers have: give them more (worker_memory), let each run fewer \
                 tasks at once (worker_cpu), or make the data of one task smaller (more shuffle_partitions, \
                 into_partitions, smaller batches in UDFs); else raise max_oom_attempts"
            }
            ExitCause::Crash => {
                "If the task itself ends its workers (memory, a crash in a UDF), give workers more memory or make \
                 partitions smaller; else raise max_task_attempts"
            }
            _ => {
                "Workers are taken away faster than the task can end: use nodes that stay (not spot or preemptible \
                 ones), raise the workers' priority (priority_class), or make tasks shorter (into_partitions)"
            }
        }
    }

    /// The error of a task that no worker takes; for people.
    pub fn refused_message(&self) -> Arc<str> {
        let mut text = String::from("it was taken by no worker");
        if let Some(Refusals { count, waited, worker, reason, .. }) = &self.refusals {
            let _ = write!(text, ": {count} refusals, {waited:?} of back-off, the last by {worker}: {reason}");
        }
        for LostAttempt { attempt, worker, launch, reason, .. } in &self.losses {
            let head = split_log(reason).0;
            let _ = write!(text, "; earlier, attempt {attempt} on {worker} (launch {launch}): {head}");
        }
        text.push_str("; give workers more memory or run more of them");
        text.into()
    }
}
