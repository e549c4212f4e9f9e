//! How this crate reports what people should know: through a callback, never by printing.

use std::sync::Arc;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For those who debug.
    Debug,
    /// Normal, but worth knowing.
    Info,
    /// Something is not as it should be; the work goes on.
    Warning,
    /// Something failed.
    Error,
}

impl LogLevel {
    /// The same level as a number of Python's `logging`.
    pub fn as_python(self) -> i32 {
        match self {
            Self::Debug => 10,
            Self::Info => 20,
            Self::Warning => 30,
            Self::Error => 40,
        }
    }
}

/// Where log lines go. Called from any thread, never while a lock is held.
pub type LogSink = Arc<dyn Fn(LogLevel, String) + Send + Sync>;

/// A sink that drops every line.
pub fn silent() -> LogSink {
    Arc::new(|_, _| {})
}
