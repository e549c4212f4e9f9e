//! The record of one task that is not over.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::config::PoolConfig;
use crate::ids::{Attempt, LaunchId, WorkerId};

/// Where a task stands; the transitions are in the [module](super)'s table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskPhase {
    /// Waits for a worker with room.
    Waiting,
    /// Was refused by a worker; waits until it is tried again.
    BackingOff {
        /// When it is tried again, since session start.
        until: Duration,
    },
    /// Is at a worker.
    Sent {
        /// Which worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Which send.
        attempt: Attempt,
        /// Whether the worker was told to cancel it.
        cancelling: bool,
    },
}

/// An attempt that ended without a report.
#[derive(Debug)]
struct Loss {
    attempt: Attempt,
    worker: WorkerId,
    launch: LaunchId,
    reason: Arc<str>,
}

/// Refusals since the task was last taken by a worker.
#[derive(Debug)]
struct Refusals {
    count: u32,
    waited: Duration,
    worker: WorkerId,
    reason: String,
}

/// One task that is not over.
#[derive(Debug)]
pub(super) struct Task {
    /// Its place in the order of submission.
    pub order: u64,
    pub prefer: WorkerId,
    pub phase: TaskPhase,
    last_attempt: Option<Attempt>,
    losses: Vec<Loss>,
    refusals: Option<Refusals>,
}

impl Task {
    pub const fn new(order: u64, prefer: WorkerId) -> Self {
        Self { order, prefer, phase: TaskPhase::Waiting, last_attempt: None, losses: Vec::new(), refusals: None }
    }

    pub const fn is_cancelling(&self) -> bool {
        matches!(self.phase, TaskPhase::Sent { cancelling: true, .. })
    }

    /// Whether news of this attempt is news of where the task is now.
    pub fn is_at(&self, worker: WorkerId, launch: LaunchId, attempt: Attempt) -> bool {
        match self.phase {
            TaskPhase::Sent { worker: w, launch: l, attempt: a, .. } => (w, l, a) == (worker, launch, attempt),
            _ => false,
        }
    }

    /// How often it was sent.
    pub fn attempts(&self) -> u32 {
        self.last_attempt.map_or(0, |attempt| attempt.0)
    }

    /// The worker that refused it last, if it was not taken by any since.
    pub fn refused_by(&self) -> Option<WorkerId> {
        self.refusals.as_ref().map(|refusals| refusals.worker)
    }

    /// Counts one more send and says its number.
    pub fn begin(&mut self, worker: WorkerId, launch: LaunchId) -> Attempt {
        let attempt = self.last_attempt.map_or(Attempt::FIRST, Attempt::next);
        self.last_attempt = Some(attempt);
        self.phase = TaskPhase::Sent { worker, launch, attempt, cancelling: false };
        attempt
    }

    /// The attempt at hand ended without a report. Returns whether another may be made.
    pub fn lose(&mut self, reason: Arc<str>, config: &PoolConfig) -> bool {
        if let TaskPhase::Sent { worker, launch, attempt, .. } = self.phase {
            self.losses.push(Loss { attempt, worker, launch, reason });
        }
        self.refusals = None;
        self.phase = TaskPhase::Waiting;
        (self.losses.len() as u64) < u64::from(config.max_task_attempts)
    }

    /// A worker refused the attempt at hand. Returns until when to wait, or `None` if it has waited enough.
    pub fn refuse(&mut self, worker: WorkerId, reason: String, now: Duration, config: &PoolConfig) -> Option<Duration> {
        let (count, waited) = self.refusals.as_ref().map_or((0, Duration::ZERO), |past| (past.count, past.waited));
        let delay = config.bounce_backoff.delay(count);
        let until = now.saturating_add(delay);
        self.refusals =
            Some(Refusals { count: count.saturating_add(1), waited: waited.saturating_add(delay), worker, reason });
        self.phase = TaskPhase::BackingOff { until };
        (waited < config.bounce_limit).then_some(until)
    }

    /// Tells people how the task was lost, attempt by attempt.
    pub fn lost_message(&self) -> Arc<str> {
        let mut text = format!("it was lost {} times with the worker it ran on:", self.losses.len());
        for Loss { attempt, worker, launch, reason } in &self.losses {
            // Writing to a String does not fail.
            let _ = write!(text, " attempt {attempt} on {worker} (launch {launch}): {reason};");
        }
        text.push_str(" no further attempt is made. If the task itself kills its workers (memory), give workers more");
        text.push_str(" memory or make partitions smaller; else raise max_task_attempts");
        text.into()
    }

    /// Tells people that no worker takes the task.
    pub fn refused_message(&self) -> Arc<str> {
        let mut text = String::from("it was taken by no worker");
        if let Some(Refusals { count, waited, worker, reason }) = &self.refusals {
            let _ = write!(text, ": {count} refusals, {waited:?} of back-off, the last by {worker}: {reason}");
        }
        for Loss { attempt, worker, launch, reason } in &self.losses {
            let _ = write!(text, "; earlier, attempt {attempt} on {worker} (launch {launch}): {reason}");
        }
        text.push_str("; give workers more memory or run more of them");
        text.into()
    }
}
