//! Lines for the log: their severity, and the callback that takes them. No crate prints.

use std::sync::Arc;

/// Severity of a line for the log, with the numbers of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug = 10,
    /// News for the user.
    Info = 20,
    /// Something went wrong and was handled.
    Warning = 30,
    /// Something went wrong and work was lost.
    Error = 40,
}

/// Takes the lines. Called from any thread, never while a lock is held.
pub type LogSink = Arc<dyn Fn(Level, String) + Send + Sync>;

/// A sink that drops every line.
pub fn silent() -> LogSink {
    Arc::new(|_, _| {})
}
