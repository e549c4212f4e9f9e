//! The events that the session is told by the driver, the allocator, the connections and the clock.

use crate::fleet::{Addresses, ExitCause};
use crate::ids::{Attempt, Incarnation, LaunchId, TaskId, WorkerId};

/// News for the session. News of an old launch or an old attempt is ignored (fenced).
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
    /// The driver: a query begins and needs a worker, though its first task is not there yet. An unavailable elastic pool
    /// tries again what may go better.
    Wake,
    /// The driver: so many workers are needed for what are no tasks, such as actors that wait for a worker with room.
    Need(u32),
    /// The driver pauses or resumes the release of idle workers, while they hold data that is not counted.
    KeepAll(bool),
    /// The driver: something more at this process must not be lost: partitions that are referred to, an actor.
    Hold {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of them.
        count: u64,
    },
    /// The driver: that many are not needed any more.
    Release {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of them.
        count: u64,
    },
    /// The process was told by others to stop (its node is drained, it is preempted): it ends what it runs, and
    /// takes no task.
    Leaving {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// The allocator: it has no room for the process yet (a quota is used up). The launch is still under way: the
    /// allocator asks again, with pauses, until there is room or it is told to stop.
    Postponed {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The thing that it waits for, for people.
        reason: String,
    },
    /// The allocator: there was room for a launch that was postponed. Its start begins now.
    Admitted {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// The allocator: the launched process listens.
    Started {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// Its addresses.
        addresses: Addresses,
    },
    /// The connection: the handshake went well, first or after a reconnect. A changed incarnation
    /// under the same launch means that the process was restarted in place.
    Connected {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The UUID that the process made at its start.
        incarnation: Incarnation,
    },
    /// The connection: the handshake was refused (versions differ, wrong token). Starting the same
    /// thing again would not help, so the worker is given up.
    Refused {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The reason, for people.
        reason: String,
    },
    /// The allocator: the process is gone, or never came.
    Exited {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The reason, for people.
        reason: String,
        /// True if another launch may go better, as after an OOM kill and not with a bad image name.
        restartable: bool,
        /// The cause of the end, which decides how often its tasks may be tried again.
        cause: ExitCause,
    },
    /// The connection: the worker has not answered for longer than is tolerated.
    Unreachable {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The reason, for people.
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
        /// The worker that reports it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
        /// How many outputs are referred to from now on, stale or not: each is held until `Release`.
        outputs: u64,
    },
    /// A worker: the task's own code failed. Final, never tried again.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// The worker that reports it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
    },
    /// A worker: the attempt was cancelled. If the driver did not ask for that, it counts as a lost attempt.
    TaskCancelled {
        /// The task.
        task: TaskId,
        /// The worker that reports it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
    },
    /// A worker did not take the attempt (memory nearly full, draining). It never ran.
    Bounced {
        /// The task.
        task: TaskId,
        /// The worker that refused it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The reason, for people.
        reason: String,
    },
    /// A worker could not read an input of the attempt, because the input's holder, which lives, did not serve it. The
    /// attempt never ran, and the reading worker is not to blame.
    InputsUnavailable {
        /// The task.
        task: TaskId,
        /// The worker that could not read.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The reason, for people.
        reason: String,
    },
    /// A worker: calls of cancelled tasks have not returned, and hold so many of its slots.
    Stuck {
        /// The worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of slots; 0: none any more.
        slots: u32,
        /// The tasks and calls, for people.
        calls: String,
    },
    /// Data is gone that the task, or a later task of its query, needs. Final: the task fails as lost.
    InputsLost {
        /// The task that must fail.
        task: TaskId,
        /// The data and the reason, for people.
        reason: String,
    },
    /// The driver no longer wants the task's result.
    CancelTask(TaskId),
    /// Time passed; due at [`Session::next_deadline`](super::Session::next_deadline).
    Tick,
    /// The session ends.
    Shutdown,
}
