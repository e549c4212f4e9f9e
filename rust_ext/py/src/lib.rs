//! `daft_k8s._native`: thin PyO3 classes over `daft_k8s_session`. What they offer is documented in
//! `daft_k8s/_native.pyi`; this crate only converts and never decides.
#![warn(missing_docs)]

mod arrow;
mod certificates;
mod driver;
mod journal;
mod log;
mod mailbox;
mod outcome;
mod runtime;
mod snapshots;
mod worker;

use std::{fmt::Display, str::FromStr};

use pyo3::{exceptions::PyValueError, prelude::*};

/// Reads an id or the like from its text.
pub(crate) fn parsed<T: FromStr<Err: Display>>(text: &str) -> PyResult<T> {
    text.parse().map_err(|error: T::Err| PyValueError::new_err(error.to_string()))
}

#[pymodule]
mod _native {
    use pyo3::{prelude::*, types::PyModule};

    #[pymodule_export]
    use crate::{
        arrow::{ArrowBatch, ArrowStream},
        certificates::SessionCertificates,
        driver::{ActorFailure, K8sTaskResultHandle, K8sWorker, K8sWorkerManager, PartitionRef, WorkerCall},
        journal::{Fact, FactKind, JournalSnapshot},
        log::{flush_log, log_to},
        outcome::TaskOutcome,
        snapshots::{MemorySnapshot, PoolSnapshot, WorkerSnapshot},
        worker::{ActorCommand, TaskCommand, WorkerServer},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("PROTOCOL_VERSION", daft_k8s_control::PROTOCOL_VERSION)
    }
}
