//! The actions that the session asks of the shell around it.

use std::sync::Arc;
use std::time::Duration;

use get_size2::GetSize;

use crate::actors::ActorAction;
use crate::fleet::{Addresses, ExitCause};
use crate::ids::{Attempt, FetchId, Generation, Incarnation, LaunchId, Run, SlotId, TaskId, WorkerId};

/// One action to carry out. Actions are carried out in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
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
        /// The process of that worker.
        launch: LaunchId,
        /// True if the process gets no time to drain, because it would not end by itself.
        force: bool,
        /// The reason, for people.
        reason: Arc<str>,
    },
    /// Connect, shake hands and keep polling; answered by `Connected`, `Refused` or `Unreachable`.
    Connect {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// Its addresses.
        addresses: Addresses,
    },
    /// Close the connection and end its poll loop.
    Disconnect {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// Submit the task to the worker under this attempt number.
    Send {
        /// The task.
        task: TaskId,
        /// The number of this send; grows with each send of the task.
        attempt: Attempt,
        /// The worker that gets it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// Tell the worker to cancel the attempt; best effort, harmless if it has already ended.
    CancelOnWorker {
        /// The task.
        task: TaskId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The worker that has it.
        worker: WorkerId,
        /// The process of that worker.
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
        /// The worker that ran it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of outputs that it published; `None` if the task's own code failed.
        published: Option<u32>,
    },
    /// Tell the task's owner that the infrastructure failed it. The task is over.
    FailTask {
        /// The task.
        task: TaskId,
        /// The kind of failure, which decides on the owner's next step.
        kind: FailKind,
        /// The event, its place, its reason, and the option to change; for people.
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
        /// The process of that worker.
        launch: LaunchId,
        /// The process that shook hands.
        incarnation: Incarnation,
    },
    /// The incarnation is gone, and with it all that it held and ran. Once for each incarnation that
    /// was ready; not at `Shutdown`, where all are gone.
    WorkerLost {
        /// The logical worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The incarnation that is gone.
        incarnation: Incarnation,
        /// The reason, for people.
        reason: Arc<str>,
        /// True if the pool itself ended the process, and it held nothing.
        orderly: bool,
        /// The number of partitions that were lost with it; `PartitionsLost` tells of the consequences.
        partitions: usize,
    },
    /// The consequences of the loss of a process with partitions. For the log, after all that it tells of.
    PartitionsLost {
        /// The logical worker.
        worker: WorkerId,
        /// The reason for the loss, for people.
        reason: Arc<str>,
        /// The number of lost partitions that the driver still refers to.
        partitions: usize,
        /// The tasks that run again for those that are needed now, each after those whose outputs it reads.
        tasks: Vec<TaskId>,
        /// The reason why one that is needed now cannot be recomputed, for people.
        obstacle: Option<Arc<str>>,
    },
    /// The pool replaces a process whose slots are held by cancelled tasks that do not end; `Stop` follows. For the log.
    Replaced {
        /// The logical worker.
        worker: WorkerId,
        /// The process that is replaced.
        launch: LaunchId,
        /// The cancelled tasks and their calls, as the worker told them; empty if it does not answer to cancels.
        calls: Arc<str>,
        /// The cancelled tasks that have not ended, as far as the pool knows.
        tasks: Vec<TaskId>,
        /// The time for which its slots have been held.
        held_for: Duration,
        /// The number of partitions and actors that are lost with the process.
        holds: u64,
    },
    /// The verdict on a fetch that failed (`FetchFailed`).
    FetchVerdict {
        /// The fetch.
        fetch: FetchId,
        /// The reason if a slot is lost, for people; `None` if the holders live.
        lost: Option<Arc<str>>,
    },
    /// A slot that the fetch needs (`FetchFailed`) was lost, and is there again: fetch anew.
    FetchAgain {
        /// The fetch.
        fetch: FetchId,
    },
    /// Tasks that have ended run again, because outputs of theirs, lost earlier, are needed now. For the log.
    Recovering {
        /// The tasks, each after those whose outputs it reads.
        tasks: Vec<TaskId>,
        /// The number of lost partitions that are needed.
        slots: usize,
        /// The worker that was lost with them, or with one of them.
        worker: WorkerId,
    },
    /// A task that has ended begins another run, under the same id: `Send` follows, `RunOver` or `RunEnded` ends it.
    RunAgain {
        /// The task.
        task: TaskId,
        /// The number of the run; workers must not take it for an earlier one.
        run: Run,
    },
    /// A run ended with a report, which has no owner: the shell forgets the run and drops these outputs of it.
    RunOver {
        /// The task.
        task: TaskId,
        /// The number of the run.
        run: Run,
        /// The attempt that reported.
        attempt: Attempt,
        /// The worker that ran it.
        worker: WorkerId,
        /// The outputs that nothing needs.
        dropped: Vec<u32>,
    },
    /// A run ended without a report: the shell forgets it.
    RunEnded {
        /// The task.
        task: TaskId,
        /// The number of the run.
        run: Run,
    },
    /// An input of a run that is over is to be dropped at its worker: only the run still needed it.
    DropInput {
        /// The task whose run it was.
        reader: TaskId,
        /// The input.
        slot: SlotId,
        /// The worker that holds it.
        worker: WorkerId,
        /// The generation of the input.
        generation: Generation,
    },
    /// These tasks are not run again: the shell forgets how.
    Forget {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// An elastic pool grows; the launches follow. For the log.
    Grown {
        /// The number of additional workers.
        by: u32,
        /// The number of workers that are up or coming up with them.
        to: u32,
        /// The tasks that are not over.
        tasks: usize,
    },
    /// An action that concerns actors.
    Actor(ActorAction),
    /// The pool was told what cannot be; it went on without that. For the log, at the level of an error.
    Defect {
        /// The mismatch.
        message: Arc<str>,
    },
    /// No wanted worker is ready and none can come up any more. Once, until more workers are wanted.
    Unavailable {
        /// Every worker's reason; for people.
        message: Arc<str>,
    },
}

/// The kind of failure that ended a task: the owner decides by it what can be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, GetSize)]
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
