//! The cause of a process's end, which decides what it costs the tasks that ran in it.

use std::fmt;
use std::str::FromStr;

use get_size2::GetSize;

/// The cause of a process's end, as far as its allocator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub enum ExitCause {
    /// The process was killed because it, or all on its machine, took too much memory. A task in it is the likely cause.
    OutOfMemory,
    /// The process was taken away: evicted, preempted, deleted, told to stop, its node lost or not reachable.
    Infrastructure,
    /// The process ended by itself: an exit code, a signal.
    Crash,
    /// The process ended before it could take a task.
    NeverStarted,
    /// The pool asked for the end.
    Stopped,
}

/// A text that names no cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no cause of an exit; expected oom, infrastructure, crash, never_started or stopped")]
pub struct UnknownCause(String);

const NAMES: [(ExitCause, &str); 5] = [
    (ExitCause::OutOfMemory, "oom"),
    (ExitCause::Infrastructure, "infrastructure"),
    (ExitCause::Crash, "crash"),
    (ExitCause::NeverStarted, "never_started"),
    (ExitCause::Stopped, "stopped"),
];

impl ExitCause {
    /// True if the end uses up an attempt of each task that ran in the process, because one of them may be to blame.
    #[must_use]
    pub const fn charges(self) -> bool {
        match self {
            Self::OutOfMemory | Self::Crash => true,
            Self::Infrastructure | Self::NeverStarted | Self::Stopped => false,
        }
    }
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(cause, _)| cause == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for ExitCause {
    type Err = UnknownCause;

    fn from_str(text: &str) -> Result<Self, UnknownCause> {
        NAMES
            .iter()
            .find(|(_, name)| *name == text)
            .map(|(cause, _)| *cause)
            .ok_or_else(|| UnknownCause(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_reads_back_as_it_was_written_and_nothing_else_is_one() {
        for (cause, name) in NAMES {
            assert_eq!((cause.to_string().as_str(), name.parse()), (name, Ok(cause)));
        }
        assert!("OOM".parse::<ExitCause>().unwrap_err().to_string().contains("\"OOM\" is no cause"));
    }
}
