//! The workers of a session: their life cycle, their number, and when none can come up any more.
//!
//! The fleet knows no tasks and no partitions. What it needs to know of them is passed in: the number of tasks that are
//! not over (`demand`), and that a worker has no task and no hold (`is_free`). A rule that ends a process returns an
//! [`End`], which [`Session`](crate::Session) carries out, as tasks and partitions are lost with it.

mod cause;
mod detector;
mod lifecycle;
mod postponed;
mod scaling;
mod stuck;
mod viability;
mod worker;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::Action;
use crate::ids::{LaunchId, WorkerId};
use crate::session::turn::Turn;
use scaling::Growth;
use worker::{State, Worker};

pub use cause::{ExitCause, UnknownCause};
pub(crate) use lifecycle::{Connected, End};
pub(crate) use scaling::not_wanted;
pub use worker::{Addresses, WorkerPhase};
pub(crate) use worker::{Link, State as WorkerState, Worker as WorkerRecord};

/// All logical workers of a session.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// The bounds of the number of workers; equal if it is fixed.
    min: u32,
    max: u32,
    /// By worker index; grows with what is wanted, never shrinks, so that launch numbers go on.
    workers: Vec<Worker>,
    /// The number of workers that are up or coming up.
    alive: usize,
    /// The number of workers for which the allocator has no room.
    postponed: usize,
    /// The number of workers whose slots are held by cancelled tasks.
    stuck: usize,
    /// Workers that are idle, longest first.
    idle: BTreeSet<(Duration, WorkerId)>,
    idleness_due: Option<Duration>,
    growth: Growth,
    /// The number of workers that are needed, whatever the tasks.
    needed: u32,
    keeps_all: bool,
    /// True once any worker was ready: what is refused later may be admitted again.
    was_ever_ready: bool,
    /// Counts the changes of workers' states.
    changes: u64,
    /// The reasons why no worker can come up any more; `None` if one can.
    unavailable: Option<Arc<str>>,
}

impl Fleet {
    pub const fn min(&self) -> u32 {
        self.min
    }

    pub const fn max(&self) -> u32 {
        self.max
    }

    pub const fn alive(&self) -> usize {
        self.alive
    }

    /// Counts the changes of workers' states: as it grows, there may be room for actors.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The workers that are ready, each with true if it is stuck.
    pub fn ready_workers(&self) -> impl Iterator<Item = (WorkerId, bool)> + '_ {
        let ready = self.workers.iter().filter(|worker| matches!(worker.state, State::Ready(_)));
        ready.map(|worker| (worker.id, worker.stuck.is_some()))
    }

    pub const fn unavailable(&self) -> Option<&Arc<str>> {
        self.unavailable.as_ref()
    }

    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(id.index())
    }

    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The number of the worker's present process.
    pub fn launch_of(&self, id: WorkerId) -> LaunchId {
        self.workers[id.index()].launch
    }

    /// True if the worker is ready, stuck or not.
    pub fn is_ready(&self, id: WorkerId) -> bool {
        matches!(self.workers[id.index()].state, State::Ready(_))
    }

    /// True if tasks may be sent to the worker.
    pub fn takes_tasks(&self, id: WorkerId) -> bool {
        self.workers[id.index()].takes_tasks()
    }

    /// Ends the session: stops every process.
    pub fn shut_down(&mut self, turn: &mut Turn) {
        self.idle.clear();
        (self.alive, self.postponed) = (0, 0);
        let reason: Arc<str> = "the session was shut down".into();
        for worker in &mut self.workers {
            let state = std::mem::replace(&mut worker.state, State::Absent);
            worker.idle_since = None;
            let (worker, launch) = (worker.id, worker.launch);
            if state.has_process() {
                turn.push(Action::Stop { worker, launch, force: false, reason: reason.clone() });
            }
            if state.has_connection() {
                turn.push(Action::Disconnect { worker, launch });
            }
        }
    }

    /// Counts and due times that are kept beside the workers' states, for the tests that check them.
    #[cfg(test)]
    pub const fn audit(&self) -> Audit {
        let (growth_due, idleness_due) = (self.growth.due, self.idleness_due);
        Audit { stuck: self.stuck, postponed: self.postponed, growth_due, idleness_due }
    }

    fn worker(&mut self, id: WorkerId) -> &mut Worker {
        &mut self.workers[id.index()]
    }
}

/// The answer of [`Fleet::audit`].
#[cfg(test)]
pub(crate) struct Audit {
    pub stuck: usize,
    pub postponed: usize,
    pub growth_due: Option<Duration>,
    pub idleness_due: Option<Duration>,
}
