//! Read-only views of the pool, for status and for tests.

use super::worker::{State, Worker, WorkerPhase};
use super::{Pool, TaskPhase};
use crate::ids::{Incarnation, LaunchId, TaskId, WorkerId};

/// One logical worker as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView<'a> {
    /// The logical worker.
    pub worker: WorkerId,
    /// Its latest process; `LaunchId(0)` before the first.
    pub launch: LaunchId,
    /// Its phase.
    pub phase: WorkerPhase,
    /// The process that shook hands, if there is one.
    pub incarnation: Option<&'a Incarnation>,
    /// The address of its control server, once that is known.
    pub control: Option<&'a str>,
    /// The address of its data server, once that is known.
    pub data: Option<&'a str>,
    /// The address of its data server for other workers, once that is known.
    pub peer: Option<&'a str>,
    /// True if it should be up.
    pub wanted: bool,
    /// The number of partitions and actors that must not be lost with it.
    pub holds: u64,
    /// Tasks that are at it.
    pub tasks: usize,
    /// True if it is offered no task for a moment, because it refused one.
    pub cooling: bool,
    /// Restarts that count against its budget.
    pub restarts: usize,
    /// The reason for the loss of its latest lost process.
    pub reason: Option<&'a str>,
    /// The thing that its launch waits for, if it is postponed.
    pub waits_for: Option<&'a str>,
}

/// One task that is not over, as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskView {
    /// The task.
    pub task: TaskId,
    /// The worker that it prefers.
    pub prefer: WorkerId,
    /// Its phase.
    pub phase: TaskPhase,
    /// The number of times that it was sent so far, refused sends included.
    pub attempts: u32,
}

impl Pool {
    /// The configuration that it was made with.
    #[must_use]
    pub const fn config(&self) -> &super::PoolConfig {
        &self.config
    }

    /// How many workers there may be; tasks may prefer any of them.
    #[must_use]
    pub const fn max_workers(&self) -> u32 {
        self.max
    }

    /// How many workers there always should be.
    #[must_use]
    pub const fn min_workers(&self) -> u32 {
        self.min
    }

    /// How many workers are up or coming up.
    #[must_use]
    pub const fn alive_count(&self) -> usize {
        self.alive
    }

    /// One worker, wanted or not; `None` if it was never wanted.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> Option<WorkerView<'_>> {
        self.workers.get(worker.index()).map(view)
    }

    /// All workers that are wanted or still drain, by number.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        self.workers.iter().filter(|worker| !matches!(worker.state, State::Absent)).map(view)
    }

    /// How many workers take tasks.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.workers.iter().filter(|worker| matches!(worker.state, State::Ready(_))).count()
    }

    /// The tasks that are at a worker, by number.
    pub fn tasks_at(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> + '_ {
        self.workers.get(worker.index()).into_iter().flat_map(|worker| worker.tasks.iter().copied())
    }

    /// One task; `None` once it is over.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<TaskView> {
        let record = self.tasks.get(&task)?;
        Some(TaskView { task, prefer: record.prefer, phase: record.phase, attempts: record.attempts() })
    }

    /// The tasks that wait for room, in the order in which they will be served.
    pub fn waiting(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.waiting.values().copied()
    }

    /// The tasks that wait for a worker to themselves, in the order in which they will be served.
    pub fn waiting_alone(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.alone.values().copied()
    }

    /// How many tasks are not at a worker: they wait for room or back off.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.tasks.len() - self.sent_count()
    }

    /// How many tasks are at workers.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        self.workers.iter().map(|worker| worker.tasks.len()).sum()
    }

    /// Why no worker can come up any more, while that is so.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// True once the session has ended.
    #[must_use]
    pub const fn is_shut_down(&self) -> bool {
        self.closed
    }
}

fn view(worker: &Worker) -> WorkerView<'_> {
    let addresses = worker.state.addresses();
    WorkerView {
        worker: worker.id,
        launch: worker.launch,
        phase: worker.state.phase(),
        incarnation: worker.state.link().map(|link| &link.incarnation),
        control: addresses.map(|addresses| &*addresses.control),
        data: addresses.map(|addresses| &*addresses.data),
        peer: addresses.map(|addresses| &*addresses.peer),
        wanted: worker.wanted,
        holds: worker.holds,
        tasks: worker.tasks.len(),
        cooling: worker.cooling.is_some(),
        restarts: worker.recent_restarts(),
        reason: worker.reason.as_deref(),
        waits_for: match &worker.state {
            State::Postponed { reason, .. } => Some(reason),
            _ => None,
        },
    }
}
