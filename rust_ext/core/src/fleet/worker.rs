//! The record of one logical worker.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use get_size2::GetSize;

use crate::ids::{Incarnation, LaunchId, WorkerId};

/// The phase of a logical worker, for status; the transitions are in the table of [`session`](crate::session).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WorkerPhase {
    /// Not wanted; no process.
    Absent,
    /// Launched; not listening yet.
    Starting,
    /// Launched; the allocator waits for room.
    Postponed,
    /// Listening; the handshake is not done.
    Connecting,
    /// Takes tasks.
    Ready,
    /// No longer wanted; finishes the tasks that it has, and keeps what is still held.
    Draining,
    /// Told to stop, not by the pool; finishes the tasks that it has.
    Leaving,
    /// Lost; waits to be launched again.
    Restarting,
    /// Lost for good.
    GivenUp,
}

impl fmt::Display for WorkerPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Postponed => "postponed",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
            Self::Restarting => "restarting",
            Self::GivenUp => "given up",
        })
    }
}

/// The addresses of a process, as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub struct Addresses {
    /// Its control server, as the driver reaches it.
    pub control: Arc<str>,
    /// Its data server, as the driver reaches it.
    pub data: Arc<str>,
    /// Its data server, as other workers reach it. A driver outside the cluster comes through a tunnel, they do not.
    pub peer: Arc<str>,
}

/// A process that shook hands.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub incarnation: Incarnation,
    pub addresses: Addresses,
}

/// The state with what belongs to it alone. Each `Duration` has a timer.
#[derive(Debug)]
pub(crate) enum State {
    Absent,
    Starting {
        deadline: Duration,
    },
    /// Without `patience` it has waited for so long that it counts as one that does not come.
    Postponed {
        patience: Option<Duration>,
        reason: Arc<str>,
    },
    Connecting {
        deadline: Duration,
        addresses: Addresses,
    },
    Ready(Link),
    Draining(Link),
    Leaving(Link),
    Restarting {
        until: Duration,
        was_ready: bool,
    },
    /// Tried again at `until`; `None`: at the next query, if ever.
    GivenUp {
        until: Option<Duration>,
    },
}

impl State {
    pub const fn phase(&self) -> WorkerPhase {
        match self {
            Self::Absent => WorkerPhase::Absent,
            Self::Starting { .. } => WorkerPhase::Starting,
            Self::Postponed { .. } => WorkerPhase::Postponed,
            Self::Connecting { .. } => WorkerPhase::Connecting,
            Self::Ready(_) => WorkerPhase::Ready,
            Self::Draining(_) => WorkerPhase::Draining,
            Self::Leaving(_) => WorkerPhase::Leaving,
            Self::Restarting { .. } => WorkerPhase::Restarting,
            Self::GivenUp { .. } => WorkerPhase::GivenUp,
        }
    }

    /// True if the allocator was asked for a process that it was not told to stop.
    pub const fn has_process(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Postponed { .. }) || self.has_connection()
    }

    /// True if `Connect` was asked for.
    pub const fn has_connection(&self) -> bool {
        matches!(self, Self::Connecting { .. } | Self::Ready(_) | Self::Draining(_) | Self::Leaving(_))
    }

    /// The time at which this state ends by itself.
    pub const fn due(&self) -> Option<Duration> {
        match self {
            Self::Starting { deadline } | Self::Connecting { deadline, .. } => Some(*deadline),
            Self::Restarting { until, .. } => Some(*until),
            Self::Postponed { patience, .. } => *patience,
            Self::GivenUp { until } => *until,
            Self::Absent | Self::Ready(_) | Self::Draining(_) | Self::Leaving(_) => None,
        }
    }

    /// True if the worker is capacity that is there, or that soon will be.
    ///
    /// A worker that failed to start and waits for its next start is not: it must not keep others from being started.
    /// Nor is a worker without room: idle workers are not released on its account.
    pub const fn counts(&self) -> bool {
        matches!(
            self,
            Self::Starting { .. } | Self::Connecting { .. } | Self::Ready(_) | Self::Restarting { was_ready: true, .. }
        )
    }

    /// True if it is on its way up.
    pub const fn is_pending(&self) -> bool {
        matches!(
            self,
            Self::Starting { .. } | Self::Postponed { .. } | Self::Connecting { .. } | Self::Restarting { .. }
        )
    }

    pub const fn is_postponed(&self) -> bool {
        matches!(self, Self::Postponed { .. })
    }

    /// True if it is not expected to come up for now.
    pub const fn is_out_of_sight(&self) -> bool {
        matches!(self, Self::GivenUp { .. } | Self::Postponed { patience: None, .. })
    }

    /// The process that shook hands, if there is one.
    pub const fn link(&self) -> Option<&Link> {
        match self {
            Self::Ready(link) | Self::Draining(link) | Self::Leaving(link) => Some(link),
            _ => None,
        }
    }

    pub const fn addresses(&self) -> Option<&Addresses> {
        match self {
            Self::Connecting { addresses, .. } => Some(addresses),
            Self::Ready(link) | Self::Draining(link) | Self::Leaving(link) => Some(&link.addresses),
            _ => None,
        }
    }
}

/// One logical worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub id: WorkerId,
    /// The latest launch; 0 before the first.
    pub launch: LaunchId,
    pub state: State,
    pub launched_at: Duration,
    /// True if it should be up.
    pub wanted: bool,
    /// The time since which it has had no task and has held nothing.
    pub idle_since: Option<Duration>,
    /// The end of the window after which a worker that was given up is tried again; `None` if that would not help.
    pub retry_at: Option<Duration>,
    /// The time of the first refusal to start it, since it was ready last.
    pub refused_since: Option<Duration>,
    /// True if calls of cancelled tasks hold all of its slots, as the worker reported.
    pub has_no_slot: bool,
    /// The calls that hold slots, for people.
    pub stuck_calls: Arc<str>,
    /// Set while no slot of it works.
    pub stuck: Option<Stuck>,
    /// The time at which data of its present process came last, or the process became ready.
    pub last_heard: Duration,
    /// Set while a call to it has gone unanswered: when it counts as lost, and the problem of the latest call.
    pub unanswered: Option<(Duration, String)>,
    /// The reason for the loss of its latest lost process.
    pub reason: Option<Arc<str>>,
    /// Its restarts within the window and since it last ran a task to its end.
    restarts: VecDeque<Restart>,
}

/// The state of a worker whose slots are held by cancelled tasks.
#[derive(Debug)]
pub(crate) struct Stuck {
    pub since: Duration,
    /// The time of its timer; `None` once all is due.
    pub due: Option<Duration>,
}

/// One replacement of a process that ended.
#[derive(Debug)]
struct Restart {
    at: Duration,
    /// The process that was replaced.
    launch: LaunchId,
    /// True if it counts against the worker's budget.
    counts: bool,
}

impl Worker {
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            launch: LaunchId(0),
            state: State::Absent,
            launched_at: Duration::ZERO,
            wanted: false,
            idle_since: None,
            retry_at: None,
            refused_since: None,
            has_no_slot: false,
            stuck_calls: "".into(),
            stuck: None,
            last_heard: Duration::ZERO,
            unanswered: None,
            reason: None,
            restarts: VecDeque::new(),
        }
    }

    /// True if tasks may be sent to it: it is ready, and has a slot that works.
    pub const fn takes_tasks(&self) -> bool {
        matches!(self.state, State::Ready(_)) && self.stuck.is_none()
    }

    /// The present process, if it shook hands.
    pub const fn link(&self) -> Option<&Link> {
        self.state.link()
    }

    /// Notes one more restart. Returns the number of earlier ones in the window, or `None` if the budget is spent.
    ///
    /// One that does not count is always granted; its back-off grows like that of the others.
    pub fn take_restart(&mut self, now: Duration, window: Duration, max: u32, counts: bool) -> Option<u32> {
        while self.restarts.front().is_some_and(|restart| now.saturating_sub(restart.at) >= window) {
            self.restarts.pop_front();
        }
        if counts && self.recent_restarts() >= max as usize {
            return None;
        }
        let earlier = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.restarts.push_back(Restart { at: now, launch: self.launch, counts });
        Some(earlier)
    }

    /// Counts the death of that process against the worker, because the task that ran in it has ended elsewhere.
    pub fn blame(&mut self, launch: LaunchId) {
        if let Some(restart) = self.restarts.iter_mut().find(|restart| restart.launch == launch) {
            restart.counts = true;
        }
    }

    /// Clears the budget: the worker ran a task to its end, so its image, its memory and its node fit.
    pub fn proved_fit(&mut self) {
        self.restarts.clear();
    }

    /// Clears the budget of a worker that was given up and is tried again.
    pub fn forget_restarts(&mut self) {
        self.retry_at = None;
        self.refused_since = None;
        self.restarts.clear();
    }

    /// The number of restarts that count against the budget, as of the latest one.
    pub fn recent_restarts(&self) -> usize {
        self.restarts.iter().filter(|restart| restart.counts).count()
    }
}
