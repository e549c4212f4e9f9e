//! Notes of the parts of a session that are neither events nor actions.

use std::sync::Arc;

use get_size2::GetSize;

use crate::ExitCause;
use crate::ids::{Attempt, LaunchId, TaskId, WorkerId};

/// A change inside the session that no event and no action shows.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum Note {
    /// A worker refused an attempt; the task is tried again later.
    AttemptRefused {
        /// The task.
        task: TaskId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The worker that refused it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The reason, for people.
        reason: Arc<str>,
    },
    /// An attempt could not read its inputs; the task waits for the verdict on them.
    InputsMissing {
        /// The task.
        task: TaskId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The worker that could not read.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// An attempt ended without a report that counts.
    AttemptLost {
        /// The task.
        task: TaskId,
        /// The number of the attempt.
        attempt: Attempt,
        /// The worker that had it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The cause of the end of the process.
        cause: ExitCause,
        /// True if the attempt is used up.
        charged: bool,
    },
    /// The process of a worker ended or is ended, whether it was ready or not.
    ProcessEnded {
        /// The worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The cause.
        cause: ExitCause,
        /// The reason, for people.
        reason: Arc<str>,
    },
    /// Partitions were lost with the process of a worker.
    SlotsLost {
        /// The worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The number of partitions.
        slots: u64,
    },
    /// An elastic pool lets an idle worker go.
    Released {
        /// The worker.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The reason, for people.
        reason: Arc<str>,
    },
}
