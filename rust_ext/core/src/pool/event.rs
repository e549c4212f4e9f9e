//! What the pool is told: by the driver, by the allocator, by the connections, by the clock.

use super::cause::ExitCause;
use super::worker::Addresses;
use crate::ids::{Attempt, Incarnation, LaunchId, TaskId, WorkerId};

/// News for the pool. News of an old launch or an old attempt is ignored (fenced).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The driver wants workers `worker-0` to `worker-<n-1>`: a pool of a fixed size.
    SetDesired(u32),
    /// The driver wants `start` workers now, and from then on as many as there is work for, between the bounds.
    SetRange {
        /// Never fewer than these, as long as that many can come up.
        min: u32,
        /// How many are launched at once.
        start: u32,
        /// Never more; tasks may be submitted for any of them from the start.
        max: u32,
    },
    /// The driver: a query begins and needs a worker, though its first task is not there yet. A broken elastic pool
    /// tries again what may go better.
    Wake,
    /// The driver: so many workers are needed for what are no tasks, such as actors that wait for a worker with room.
    Need(u32),
    /// The driver: nobody may be let go for now, or that is over. For what a worker holds and no count tells of.
    KeepAll(bool),
    /// The driver: something more at this process must not be lost: partitions that are referred to, an actor.
    Hold {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// How many.
        count: u64,
    },
    /// The driver: that many are not needed any more.
    Release {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// How many.
        count: u64,
    },
    /// The process was told by others to stop (its node is drained, it is preempted): it ends what it runs, and
    /// takes no task.
    Leaving {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// The allocator: it has no room for the process yet (a quota is used up). The launch is still under way: the
    /// allocator asks again, with pauses, until there is room or it is told to stop.
    Postponed {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// What it waits for, for people.
        reason: String,
    },
    /// The allocator: there was room for a launch that was postponed. Its start begins now.
    Admitted {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// The allocator: the launched process listens.
    Started {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Where.
        addresses: Addresses,
    },
    /// The connection: the handshake went well, first or after a reconnect. A changed incarnation
    /// under the same launch means that the process was restarted in place.
    Connected {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// The UUID that the process made at its start.
        incarnation: Incarnation,
    },
    /// The connection: the handshake was refused (versions differ, wrong token). Starting the same
    /// thing again would not help, so the worker is given up.
    Refused {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Why, for people.
        reason: String,
    },
    /// The allocator: the process is gone, or never came.
    Exited {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Why, for people.
        reason: String,
        /// Whether another launch may go better (an OOM kill may, a bad image name may not).
        restartable: bool,
        /// What ended it, which decides how often its tasks may be tried again.
        cause: ExitCause,
    },
    /// The connection: the worker has not answered for longer than is tolerated.
    Unreachable {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Why, for people.
        reason: String,
    },
    /// The driver: run this task, on `prefer` if that has room. A task that is already here is not
    /// taken twice.
    Submit {
        /// The new task.
        task: TaskId,
        /// The worker that Daft's scheduler chose; only a preference.
        prefer: WorkerId,
    },
    /// A worker: the attempt finished and its outputs are published there.
    Succeeded {
        /// The task.
        task: TaskId,
        /// Who says so.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Which send of the task.
        attempt: Attempt,
        /// How many outputs are referred to from now on, stale or not: each is held until `Release`.
        outputs: u64,
    },
    /// A worker: the task's own code failed. Final, never tried again.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// Who says so.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Which send of the task.
        attempt: Attempt,
    },
    /// A worker: the attempt was cancelled. If nobody asked for that, it counts as a lost attempt.
    TaskCancelled {
        /// The task.
        task: TaskId,
        /// Who says so.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Which send of the task.
        attempt: Attempt,
    },
    /// A worker did not take the attempt (memory nearly full, draining). It never ran.
    Bounced {
        /// The task.
        task: TaskId,
        /// Who says so.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Which send of the task.
        attempt: Attempt,
        /// Why, for people.
        reason: String,
    },
    /// Data is gone that the task, or a later task of its query, needs. Final: the task fails as lost.
    InputsLost {
        /// The task that must fail.
        task: TaskId,
        /// What is gone and why, for people.
        reason: String,
    },
    /// The driver no longer wants the task's result.
    CancelTask(TaskId),
    /// Time passed; due at [`Pool::next_deadline`](super::Pool::next_deadline).
    Tick,
    /// The session ends.
    Shutdown,
}
