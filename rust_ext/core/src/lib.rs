//! The pure decisions of daft_k8s: events in, actions out.
//!
//! What lives here: the truth of one driver session ([`session`]), composed of its workers ([`fleet`]), its tasks
//! ([`tasks`]), its actors ([`actors`]), its partitions ([`slots`]) and how these were made ([`lineage`]); the worker's log
//! of finished tasks ([`task_log`]), the ids that both sides use ([`ids`]), a session's history ([`journal`]), the back-off
//! rule ([`backoff`]) and the form of reasons for people ([`reasons`]). What must not: I/O, clocks, threads, async. `now`
//! is always an argument, so the whole crate is tested in virtual time.

#![forbid(unsafe_code)]

pub mod actors;
pub mod backoff;
pub mod fleet;
pub mod ids;
pub mod journal;
pub mod lineage;
pub mod reasons;
pub mod session;
pub mod slots;
pub mod task_log;
pub mod tasks;

pub use actors::{ActorAction, ActorEvent, ActorFailure, ActorNews, ActorRequest, ActorRoute, Resources};
pub use backoff::Backoff;
pub use fleet::{Addresses, ExitCause, UnknownCause, WorkerPhase};
pub use ids::{
    ActorId, ActorPoolId, Attempt, FetchId, Generation, IdError, Incarnation, LaunchId, QueryId, RouteId, Run, SlotId,
    TaskId, TaskKey, WorkerId,
};
pub use journal::{Fact, FactKind, Journal, JournalBounds, Sequence};
pub use lineage::{Determinism, Kept, UnknownDeterminism};
pub use session::{Action, Event, FailKind, PoolConfig, Session, TaskView, WorkerView};
pub use slots::{Location, Loss, Output, SlotRead};
pub use task_log::TaskLog;
pub use tasks::TaskPhase;

/// The number of examples of a long property test: the usual one, unless `PROPTEST_CASES` says another.
#[cfg(test)]
fn test_cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}
