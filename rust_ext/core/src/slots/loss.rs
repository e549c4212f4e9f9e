//! The loss of partitions, as tasks and people are told of it.

use std::fmt;
use std::sync::Arc;

use crate::ids::WorkerId;
use crate::lineage::Obstacle;
use crate::reasons::split_log;

/// The loss of the partitions of one process. Displays as a sentence for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Loss {
    /// The worker whose process was lost.
    pub worker: WorkerId,
    /// The reason for the loss of the process, for people.
    pub reason: Arc<str>,
}

impl Loss {
    /// The message of a task that was to read a lost partition.
    pub(crate) fn of_input(&self, obstacle: &Obstacle) -> String {
        format!("an input of it was lost: {}", self.with_obstacle(obstacle))
    }

    /// The message of a task whose query needs a lost partition that none of its tasks has read yet.
    pub(crate) fn of_query(&self, obstacle: &Obstacle) -> String {
        format!("its query cannot end well: {}", self.with_obstacle(obstacle))
    }

    /// The loss with the reason why it is final.
    pub(crate) fn with_obstacle(&self, obstacle: &Obstacle) -> String {
        let (reason, log) = split_log(&self.reason);
        format!(
            "{} was lost and with it partitions that are still needed ({reason}), and one cannot be recomputed: {obstacle}; run \
             the query again, and collect a DataFrame anew whose result was among them{log}",
            self.worker
        )
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, log) = split_log(&self.reason);
        write!(
            f,
            "{} was lost and with it partitions that are still needed ({reason}); run the query again, and collect a \
             DataFrame anew whose result was among them{log}",
            self.worker
        )
    }
}
