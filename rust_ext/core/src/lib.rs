//! The pure decisions of daft_k8s: events in, actions out.
//!
//! What lives here: the pool of workers of one driver session ([`pool`]), the worker's log of
//! finished tasks ([`task_log`]), the ids that both sides use ([`ids`]), the back-off rule ([`backoff`])
//! and the levels of log lines ([`log`]). What must not: I/O, clocks, threads, async. `now` is always an argument, so the
//! whole crate is tested in virtual time.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod ids;
pub mod log;
pub mod pool;
pub mod task_log;

pub use backoff::Backoff;
pub use ids::{Attempt, IdError, Incarnation, LaunchId, TaskId, TaskKey, WorkerId};
pub use log::{Level, LogSink};
pub use pool::{
    Action, Addresses, Event, ExitCause, FailKind, Pool, PoolConfig, TaskPhase, TaskView, WorkerPhase, WorkerView,
};
pub use task_log::TaskLog;
