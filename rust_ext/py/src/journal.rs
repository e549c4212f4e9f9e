//! The facts of a session's journal.

use daft_k8s_core::journal;
use daft_k8s_session::driver;
use pyo3::prelude::*;

use crate::outcome::name_of_loss;

/// Declares the kinds of facts under Python's names, each with that of the core.
macro_rules! fact_kinds {
    ($($name:ident),* $(,)?) => {
        /// The kinds of facts.
        #[pyclass(module = "daft_k8s._native", frozen, eq, hash, rename_all = "SCREAMING_SNAKE_CASE")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub(crate) enum FactKind {
            $($name),*
        }

        impl From<journal::FactKind> for FactKind {
            fn from(kind: journal::FactKind) -> Self {
                match kind {
                    $(journal::FactKind::$name => Self::$name),*
                }
            }
        }
    };
}

fact_kinds!(
    QueryBegan,
    QueryEnded,
    TaskSubmitted,
    TaskSent,
    AttemptRefused,
    InputsMissing,
    AttemptLost,
    TaskSucceeded,
    TaskFailed,
    TaskLost,
    TaskCancelled,
    WorkerLaunched,
    WorkerPostponed,
    WorkerReady,
    WorkerReleased,
    WorkerLost,
    WorkerReplaced,
    ProcessEnded,
    SlotsLost,
    PoolGrown,
    PoolUnavailable,
    Defect,
);

/// One fact.
#[pyclass(module = "daft_k8s._native", frozen, get_all)]
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    sequence: u64,
    at_seconds: f64,
    cause: u64,
    cause_name: Option<String>,
    kind: FactKind,
    query_id: Option<String>,
    task: Option<u64>,
    attempt: Option<u32>,
    worker_id: Option<String>,
    launch: Option<u64>,
    count: Option<u64>,
    exit_cause: Option<String>,
    loss: Option<&'static str>,
    reason: Option<String>,
}

/// The facts after a certain entry of the journal.
#[pyclass(module = "daft_k8s._native", frozen, get_all)]
#[derive(Clone, Debug)]
pub(crate) struct JournalSnapshot {
    facts: Vec<Fact>,
    read_to: u64,
    missed: u64,
    is_complete: bool,
    now_seconds: f64,
}

impl From<journal::Fact> for Fact {
    fn from(fact: journal::Fact) -> Self {
        Self {
            sequence: fact.sequence.0,
            at_seconds: fact.at.as_secs_f64(),
            cause: fact.cause.0,
            cause_name: fact.cause_name,
            kind: fact.kind.into(),
            query_id: fact.query.map(|query| query.to_string()),
            task: fact.task.map(|task| task.0),
            attempt: fact.attempt.map(|attempt| attempt.0),
            worker_id: fact.worker.map(|worker| worker.to_string()),
            launch: fact.launch.map(|launch| launch.0),
            count: fact.count,
            exit_cause: fact.exit_cause.map(|cause| cause.to_string()),
            loss: fact.fail_kind.map(name_of_loss),
            reason: fact.reason.map(|reason| reason.to_string()),
        }
    }
}

impl From<driver::JournalSnapshot> for JournalSnapshot {
    fn from(snapshot: driver::JournalSnapshot) -> Self {
        Self {
            facts: snapshot.facts.into_iter().map(Fact::from).collect(),
            read_to: snapshot.read_to.0,
            missed: snapshot.missed,
            is_complete: snapshot.is_complete,
            now_seconds: snapshot.now.as_secs_f64(),
        }
    }
}

#[pymethods]
impl Fact {
    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}

#[pymethods]
impl JournalSnapshot {
    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}
