//! The things that all parts of a session share: the configuration, the time, timers, and the actions so far.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use get_size2::GetSize;

use super::{Action, FailKind, PoolConfig};
use crate::ids::{ActorPoolId, RouteId, TaskId, WorkerId};
use crate::journal::{Journal, Note};

/// The things that may be due at a point in time. Each is checked against the state when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, GetSize)]
pub enum Timer {
    /// A start takes too long, or a restart is due.
    Worker(WorkerId),
    /// A worker that refused a task is offered tasks again.
    Cooling(WorkerId),
    /// A task that was refused is tried again.
    Task(TaskId),
    /// A cancelled task should have ended by now.
    Cancel(TaskId),
    /// The patience with a stuck worker ends.
    Stuck(WorkerId),
    /// A worker that does not answer counts as lost.
    Silence(WorkerId),
    /// Verdicts on partitions that could not be read may be due.
    Verdicts,
    /// An elastic pool may grow.
    Growth,
    /// A worker of an elastic pool has been idle for long enough.
    Idleness,
    /// The time-out of the start of a pool of actors.
    ActorPool(ActorPoolId),
    /// The wait of a call for an actor to go to ends, or it may go to one that it has tried.
    ActorRoute(RouteId),
}

/// The context in which each part of the session handles an event.
#[derive(Debug)]
pub(crate) struct Turn {
    pub config: PoolConfig,
    /// The time since the session's start; never goes back.
    pub now: Duration,
    pub timers: BTreeSet<(Duration, Timer)>,
    /// The actions that the event at hand has led to so far.
    pub actions: Vec<Action>,
    /// Tasks that recompute lost outputs and have failed: these have no owner, and the session sees to those that wait.
    pub failed_recoveries: Vec<(TaskId, FailKind, Arc<str>)>,
    /// Workers of which something changed that decides on their load, idleness or end; [`Session`](super::Session)
    /// brings these up to date.
    pub touched: BTreeSet<WorkerId>,
    /// The consequences of the loss that is being handled, if one is.
    pub loss: Option<Consequences>,
    pub journal: Journal,
}

/// The consequences of a loss of partitions, for the log.
#[derive(Debug, Default)]
pub(crate) struct Consequences {
    /// The tasks that run again.
    pub tasks: Vec<TaskId>,
    /// The first reason why a partition that is needed cannot be recomputed.
    pub obstacle: Option<Arc<str>>,
}

impl Turn {
    pub const fn new(config: PoolConfig) -> Self {
        Self {
            journal: Journal::new(config.journal),
            config,
            now: Duration::ZERO,
            timers: BTreeSet::new(),
            actions: Vec::new(),
            failed_recoveries: Vec::new(),
            touched: BTreeSet::new(),
            loss: None,
        }
    }

    /// Begins a turn. The time never goes back.
    pub fn begin(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.journal.begin_turn(self.now);
    }

    /// The time after `wait`.
    pub const fn after(&self, wait: Duration) -> Duration {
        self.now.saturating_add(wait)
    }

    pub fn set_timer(&mut self, due: Duration, timer: Timer) {
        self.timers.insert((due, timer));
    }

    pub fn clear_timer(&mut self, due: Duration, timer: Timer) {
        self.timers.remove(&(due, timer));
    }

    /// Takes the timers that are due.
    pub fn take_due(&mut self) -> Vec<(Duration, Timer)> {
        let mut due = Vec::new();
        while let Some(first) = self.timers.pop_first() {
            if first.0 > self.now {
                self.timers.insert(first);
                break;
            }
            due.push(first);
        }
        due
    }

    pub fn push(&mut self, action: Action) {
        self.journal.action(&action);
        self.actions.push(action);
    }

    /// Tells the journal of what is neither an event nor an action.
    pub fn note(&mut self, note: Note) {
        self.journal.note(note);
    }

    /// Tells a task's owner of its failure, or the session if the task recomputes lost outputs.
    pub fn fail_task(&mut self, is_recovery: bool, task: TaskId, kind: FailKind, message: Arc<str>) {
        if is_recovery {
            self.failed_recoveries.push((task, kind, message));
        } else {
            self.push(Action::FailTask { task, kind, message });
        }
    }

    pub fn touch(&mut self, worker: WorkerId) {
        self.touched.insert(worker);
    }
}
