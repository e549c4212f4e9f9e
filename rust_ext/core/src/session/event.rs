//! The events that the session is told by the driver, the allocator, the connections and the clock.

use std::sync::Arc;

use get_size2::GetSize;

use crate::actors::ActorEvent;
use crate::fleet::{Addresses, ExitCause};
use crate::ids::{Attempt, FetchId, Incarnation, LaunchId, QueryId, SlotId, TaskId, WorkerId};
use crate::lineage::{Determinism, Kept};
use crate::slots::{Output, SlotRead};

/// News for the session. News of an old launch or an old attempt is ignored (fenced).
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum Event {
    /// The driver wants workers `worker-0` to `worker-<n-1>`: a pool of a fixed size.
    SetDesired(u32),
    /// The driver wants `start` workers now, and from then on as many as there is work for, between the bounds.
    SetRange {
        /// Never fewer than these, as long as that many can come up.
        min: u32,
        /// The number of workers that are launched at once.
        start: u32,
        /// Never more; tasks may be submitted for any of them from the start.
        max: u32,
    },
    /// The driver: a query begins and needs a worker, though its first task is not there yet. An unavailable elastic pool
    /// tries again what may go better.
    Wake,
    /// The driver: a query begins, to which pools of actors that start from now on may belong.
    QueryBegan(QueryId),
    /// The driver: a query is over, and its tasks are. Its pools of actors end with it.
    QueryEnded(QueryId),
    /// The driver pauses or resumes the release of idle workers, while they hold data that is not counted.
    KeepAll(bool),
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
    /// The connections: data came from these processes since the last such event.
    Heard(Vec<(WorkerId, LaunchId)>),
    /// The connection: a call to the worker went unanswered. If the worker is not heard in time, it is lost.
    Unanswered {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The problem of the call, for people.
        problem: String,
    },
    /// The connection: the worker cannot be reached any more.
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
        /// The query that the task belongs to.
        query: QueryId,
        /// The slots that it reads. The driver's own may be left out.
        inputs: Arc<[SlotId]>,
        /// The determinism of its outputs, which decides how they are recomputed should they be lost.
        determinism: Determinism,
        /// The things that the driver keeps of it to run it again.
        kept: Kept,
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
        /// All of its outputs, by slot. If the report counts, each one in the worker's store is referred to until `Drop`.
        outputs: Vec<Output>,
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
    /// A worker could not read inputs of the attempt, which never ran; the reading worker is not to blame. The task
    /// fails if a holder is lost, or answered that it does not have the input; else it is tried again.
    InputsMissing {
        /// The task.
        task: TaskId,
        /// The worker that could not read.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The inputs.
        slots: Vec<SlotId>,
        /// True if a holder answered that it does not have one of them.
        gone: bool,
        /// The worker's account, for people.
        message: String,
    },
    /// The driver could not read these slots; answered by `FetchVerdict`, or by `FetchAgain` if they can be had.
    FetchFailed {
        /// The fetch.
        fetch: FetchId,
        /// The slots that it was to read.
        reads: Vec<SlotRead>,
    },
    /// The driver reads these slots.
    Read(Vec<SlotId>),
    /// Nothing refers to these slots any more.
    Drop(Vec<SlotId>),
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
    /// Data of the driver that the task needs cannot be read. Final: the task fails as lost.
    InputsLost {
        /// The task that must fail.
        task: TaskId,
        /// The data and the reason, for people.
        reason: String,
    },
    /// The driver no longer wants the task's result.
    CancelTask(TaskId),
    /// News that concerns actors.
    Actor(ActorEvent),
    /// Time passed; due at [`Session::next_deadline`](super::Session::next_deadline).
    Tick,
    /// The session ends.
    Shutdown,
}
