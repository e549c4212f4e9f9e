//! What the pool asks of the shell around it.

use std::sync::Arc;

use super::cause::ExitCause;
use super::worker::Addresses;
use crate::ids::{Attempt, Incarnation, LaunchId, TaskId, WorkerId};

/// One thing to carry out. Actions are carried out in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The allocator starts a process; it answers with `Started` or `Exited`.
    Launch {
        /// The logical worker.
        worker: WorkerId,
        /// The number of the new process.
        launch: LaunchId,
    },
    /// The allocator stops the process. Nothing that it says from now on is heard.
    Stop {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Why, for people.
        reason: Arc<str>,
    },
    /// Connect, shake hands and keep polling; answered by `Connected`, `Refused` or `Unreachable`.
    Connect {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// Where it listens.
        addresses: Addresses,
    },
    /// Close the connection and end its poll loop.
    Disconnect {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// Submit the task to the worker under this attempt number.
    Send {
        /// The task.
        task: TaskId,
        /// The number of this send; grows with each send of the task.
        attempt: Attempt,
        /// Where to.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// Tell the worker to cancel the attempt; best effort, harmless if it has already ended.
    CancelOnWorker {
        /// The task.
        task: TaskId,
        /// Which send of the task.
        attempt: Attempt,
        /// Where it runs.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// Hand the task's owner what this attempt reported (`Succeeded` or `TaskFailed`). The task is over.
    ///
    /// A report that is *not* followed by `Deliver` is stale: the shell drops its outputs.
    Deliver {
        /// The task.
        task: TaskId,
        /// The attempt that counts.
        attempt: Attempt,
        /// Who ran it.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
    },
    /// Tell the task's owner that the infrastructure failed it. The task is over.
    FailTask {
        /// The task.
        task: TaskId,
        /// What the owner can do about it.
        kind: FailKind,
        /// What happened, where, why, and what to change; for people.
        message: Arc<str>,
    },
    /// Tell the task's owner that it was cancelled. The task is over.
    Cancelled {
        /// The task.
        task: TaskId,
    },
    /// The worker takes tasks. May come again for one incarnation that was draining and is wanted back.
    WorkerReady {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// The process that shook hands.
        incarnation: Incarnation,
    },
    /// The incarnation is gone, and with it all that it held and ran. Once for each incarnation that
    /// was ready; not at `Shutdown`, where all are gone.
    WorkerLost {
        /// The logical worker.
        worker: WorkerId,
        /// Which process of it.
        launch: LaunchId,
        /// The incarnation that is gone.
        incarnation: Incarnation,
        /// Why, for people.
        reason: Arc<str>,
        /// Whether the pool itself let it go: nothing was lost by it.
        orderly: bool,
    },
    /// An elastic pool grows; the launches follow. For the log.
    Grown {
        /// How many more workers.
        by: u32,
        /// How many are up or coming up with them.
        to: u32,
        /// The tasks that are not over.
        tasks: usize,
    },
    /// The pool was told what cannot be; it went on without that. For the log, at the level of an error.
    Defect {
        /// What does not fit.
        message: Arc<str>,
    },
    /// No wanted worker is ready and none can come up any more. Once, until more workers are wanted.
    PoolBroken {
        /// Every worker's reason; for people.
        message: Arc<str>,
    },
}

/// The kind of failure that ended a task: the owner decides by it what can be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailKind {
    /// An input of the task is gone.
    InputsLost,
    /// The task was lost with its workers, as often as is allowed; the cause that used up the attempts.
    AttemptsLost(ExitCause),
    /// No worker took the task for too long.
    Refused,
    /// No worker is left that could run it.
    NoWorkers,
    /// The session ended first.
    Shutdown,
}
