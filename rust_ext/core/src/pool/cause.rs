//! Why a worker's process ended: each cause has its own cap on how often a task may meet it.

use std::fmt;
use std::str::FromStr;

/// Why a process ended, as far as its allocator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExitCause {
    /// It was killed because it, or all on its machine, took too much memory. What ran in it is likely to blame.
    OutOfMemory,
    /// What it stood on is gone: evicted, preempted, deleted, its node lost, not reachable.
    Infrastructure,
    /// It ended by itself: an exit code, a signal.
    Crash,
    /// It never came so far that it could take a task.
    NeverStarted,
    /// The pool asked for it.
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
    /// Whether what ran in the process has used up an attempt by it.
    #[must_use]
    pub const fn charges(self) -> bool {
        match self {
            Self::OutOfMemory | Self::Infrastructure | Self::Crash => true,
            Self::NeverStarted | Self::Stopped => false,
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
