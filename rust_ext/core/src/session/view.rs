//! Read-only views of the session, for status and for tests.

use super::Session;
use crate::fleet::{WorkerPhase, WorkerRecord as Worker, WorkerState as State};
use crate::ids::{Generation, Incarnation, LaunchId, SlotId, TaskId, WorkerId};
use crate::slots::Location;
use crate::tasks::TaskPhase;

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

impl Session {
    /// The configuration that the session was made with.
    #[must_use]
    pub const fn config(&self) -> &super::PoolConfig {
        &self.turn.config
    }

    /// The upper bound of workers; tasks may prefer any of them.
    #[must_use]
    pub const fn max_workers(&self) -> u32 {
        self.fleet.max()
    }

    /// The lower bound of workers.
    #[must_use]
    pub const fn min_workers(&self) -> u32 {
        self.fleet.min()
    }

    /// The number of workers that are up or coming up.
    #[must_use]
    pub const fn alive_count(&self) -> usize {
        self.fleet.alive()
    }

    /// One worker, wanted or not; `None` if it was never wanted.
    #[must_use]
    pub fn worker(&self, worker: WorkerId) -> Option<WorkerView<'_>> {
        self.fleet.get(worker).map(|worker| self.view(worker))
    }

    /// All workers that are wanted or still drain, by number.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView<'_>> {
        let is_there = |worker: &&Worker| !matches!(worker.state, State::Absent);
        self.fleet.workers().iter().filter(is_there).map(|worker| self.view(worker))
    }

    /// The number of workers that are ready.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.fleet.workers().iter().filter(|worker| matches!(worker.state, State::Ready(_))).count()
    }

    /// The tasks that are at a worker, by number.
    pub fn tasks_at(&self, worker: WorkerId) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.at(worker)
    }

    /// One task; `None` once it is over.
    #[must_use]
    pub fn task(&self, task: TaskId) -> Option<TaskView> {
        let record = self.tasks.get(task)?;
        Some(TaskView { task, prefer: record.origin.prefer, phase: record.phase, attempts: record.attempts() })
    }

    /// The tasks that wait for room, in the order in which they will be served.
    pub fn waiting(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.waiting()
    }

    /// The tasks that wait for a worker of their own, in the order in which they will be served.
    pub fn waiting_exclusive(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.waiting_exclusive()
    }

    /// The number of tasks that are not at a worker: they wait for room, back off or wait for a verdict.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.tasks.len() - self.tasks.sent()
    }

    /// The number of tasks at workers.
    #[must_use]
    pub fn sent_count(&self) -> usize {
        self.tasks.sent()
    }

    /// The place of a slot; `None` if it is the driver's own, or dropped.
    #[must_use]
    pub fn location(&self, slot: SlotId) -> Option<&Location> {
        self.slots.location(slot)
    }

    /// The attempt that published a slot; `None` if it is the driver's own, or dropped.
    #[must_use]
    pub fn generation(&self, slot: SlotId) -> Option<Generation> {
        self.slots.generation(slot)
    }

    /// The number of slots that are referred to that are not the driver's own.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// True if the slot is kept for a task that recomputes something, whatever the driver does.
    #[must_use]
    pub fn is_pinned(&self, slot: SlotId) -> bool {
        self.slots.is_pinned(slot)
    }

    /// True if the slot is lost, and cannot be recomputed.
    #[must_use]
    pub fn is_gone(&self, slot: SlotId) -> bool {
        let is_lost = matches!(self.slots.location(slot), Some(Location::Lost(_)));
        is_lost && self.lineage.plan(&self.slots, &[slot], &self.turn.config).is_err()
    }

    /// The number of tasks of which there is a record to run them again by.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.lineage.len()
    }

    /// The bytes that these records take in the driver, as far as they count for the limit.
    #[must_use]
    pub const fn lineage_bytes(&self) -> u64 {
        self.lineage.bytes()
    }

    /// The number of tasks and fetches that wait for lost partitions.
    #[must_use]
    pub fn parked_count(&self) -> usize {
        self.waiters.len()
    }

    /// The number of tasks and fetches that wait for a verdict.
    #[must_use]
    pub fn verdict_count(&self) -> usize {
        self.verdicts.len()
    }

    /// The reasons why no worker can come up any more; `None` if one can.
    #[must_use]
    pub fn unavailable(&self) -> Option<&str> {
        self.fleet.unavailable().map(|message| &**message)
    }

    /// True once the session has ended.
    #[must_use]
    pub const fn is_shut_down(&self) -> bool {
        self.closed
    }

    fn view<'a>(&'a self, worker: &'a Worker) -> WorkerView<'a> {
        let addresses = worker.state.addresses();
        let load = self.tasks.load(worker.id);
        WorkerView {
            worker: worker.id,
            launch: worker.launch,
            phase: worker.state.phase(),
            incarnation: worker.link().map(|link| &link.incarnation),
            control: addresses.map(|addresses| &*addresses.control),
            data: addresses.map(|addresses| &*addresses.data),
            peer: addresses.map(|addresses| &*addresses.peer),
            wanted: worker.wanted,
            holds: self.held_at(worker.id),
            tasks: load.map_or(0, |load| load.tasks.len()),
            cooling: load.is_some_and(|load| load.cooling.is_some()),
            restarts: worker.recent_restarts(),
            reason: worker.reason.as_deref(),
            waits_for: match &worker.state {
                State::Postponed { reason, .. } => Some(reason),
                _ => None,
            },
        }
    }
}
