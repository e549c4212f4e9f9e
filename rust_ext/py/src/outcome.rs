//! The outcome of a task, for Python.

use daft_k8s_core::{ExitCause, FailKind};
use daft_k8s_session::driver::Outcome;
use pyo3::{prelude::*, types::PyBytes};

use crate::driver::PartitionRef;

/// The outcome of a task; `kind` says which of the fields count.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct TaskOutcome {
    outcome: Outcome,
}

impl From<Outcome> for TaskOutcome {
    fn from(outcome: Outcome) -> Self {
        Self { outcome }
    }
}

/// The name of a loss, one of `daft_k8s.errors.Loss`.
pub(crate) const fn name_of_loss(kind: FailKind) -> &'static str {
    match kind {
        FailKind::InputsLost => "inputs",
        FailKind::AttemptsLost(ExitCause::OutOfMemory) => "memory",
        FailKind::AttemptsLost(ExitCause::Crash) => "crash",
        FailKind::AttemptsLost(_) => "infrastructure",
        FailKind::Refused => "refused",
        FailKind::NoWorkers => "no_workers",
        FailKind::Shutdown => "shutdown",
    }
}

#[pymethods]
impl TaskOutcome {
    #[getter]
    fn kind(&self) -> &'static str {
        match self.outcome {
            Outcome::Success { .. } => "success",
            Outcome::Failed { .. } => "failed",
            Outcome::Lost { .. } => "lost",
            Outcome::Cancelled => "cancelled",
        }
    }

    /// The kind of a loss; empty for all else.
    #[getter]
    fn loss(&self) -> &'static str {
        match self.outcome {
            Outcome::Lost { kind, .. } => name_of_loss(kind),
            _ => "",
        }
    }

    #[getter]
    fn partitions(&self) -> Vec<PartitionRef> {
        match &self.outcome {
            Outcome::Success { partitions, .. } => partitions.iter().cloned().map(PartitionRef::from).collect(),
            _ => Vec::new(),
        }
    }

    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match &self.outcome {
            Outcome::Success { stats, .. } => PyBytes::new(py, stats),
            _ => PyBytes::new(py, b""),
        }
    }

    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match &self.outcome {
            Outcome::Failed { error, .. } => PyBytes::new(py, error),
            _ => PyBytes::new(py, b""),
        }
    }

    #[getter]
    fn message(&self) -> &str {
        match &self.outcome {
            Outcome::Failed { message, .. } | Outcome::Lost { message, .. } => message,
            Outcome::Success { .. } | Outcome::Cancelled => "",
        }
    }

    #[getter]
    fn worker_id(&self) -> String {
        match &self.outcome {
            Outcome::Success { worker, .. } | Outcome::Failed { worker, .. } => worker.to_string(),
            Outcome::Lost { .. } | Outcome::Cancelled => String::new(),
        }
    }
}
