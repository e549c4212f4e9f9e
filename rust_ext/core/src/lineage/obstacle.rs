//! The obstacles to recomputing a lost partition, in words for people.

use std::fmt;
use std::sync::Arc;

/// The reason why a lost partition cannot be recomputed. Displays as the end of "it cannot be recomputed: ...".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The session records nothing.
    SwitchedOff,
    /// There is no record of the task that made it.
    NoRecord,
    /// The task that made it may give other rows in another run, and without fingerprints nobody would see it.
    OrderDependent,
    /// Another run was made, and was not good for it.
    Failed(Arc<str>),
    /// Its task has been run again as often as is allowed.
    TooOften(u32),
    /// Too many tasks in a row would have to run again.
    TooDeep(u32),
    /// Too many tasks of the query have been run again.
    TooMany(u32),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SwitchedOff => f.write_str("the option recovery_memory is 0, so nothing is recomputed"),
            Self::NoRecord => f.write_str(
                "a task that made it has effects, needs what ended with its query, or is not recorded any more",
            ),
            Self::OrderDependent => {
                f.write_str("a task that made it may give other rows when it runs again, and others have read some")
            }
            Self::Failed(reason) => f.write_str(reason),
            Self::TooOften(times) => write!(f, "a task that made it has been run again {times} times"),
            Self::TooDeep(depth) => write!(f, "more than {depth} tasks, one after the other, would have to run again"),
            Self::TooMany(count) => write!(f, "more than {count} tasks of its query would have been run again"),
        }
    }
}
