//! Pools of actors: requests from Python, and the answers to them.

use bytes::Bytes;
use daft_k8s_core::{ActorFailure as Failure, ActorNews, ActorPoolId, ActorRequest, Resources};
use daft_k8s_session::driver::{CallRouted, PoolStarted};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use super::seconds;
use crate::{mailbox::Mailbox, parsed};

/// A request for a pool (`daft_k8s.driver.actor_request.PoolRequest`). A field is an attribute of the same name.
#[derive(FromPyObject)]
pub(super) struct PoolRequest {
    name: String,
    count: u32,
    demand: Demand,
    start_timeout_seconds: f64,
    stateless: bool,
    shares_cpus: bool,
}

/// The need of each actor (`daft_k8s.driver.actor_request.Demand`).
#[derive(FromPyObject)]
struct Demand {
    cpus: f64,
    gpus: f64,
    memory_bytes: f64,
}

impl PoolRequest {
    pub(super) fn into_request(self) -> PyResult<ActorRequest> {
        let Demand { cpus, gpus, memory_bytes } = self.demand;
        let need = Resources::of_actor(cpus, gpus, memory_bytes)
            .map_err(|problem| PyValueError::new_err(format!("{}: {problem}", self.name)))?;
        Ok(ActorRequest {
            name: self.name.into(),
            count: self.count,
            need,
            start_timeout: seconds(self.start_timeout_seconds)?,
            is_stateless: self.stateless,
            shares_cpus: self.shares_cpus,
        })
    }
}

/// The reason why a pool of actors did not start.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct ActorFailure {
    #[pyo3(get)]
    kind: &'static str,
    #[pyo3(get)]
    actor: String,
    #[pyo3(get)]
    reason: String,
    error: Bytes,
}

#[pymethods]
impl ActorFailure {
    #[getter]
    fn error<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.error)
    }
}

impl From<Failure> for ActorFailure {
    fn from(failure: Failure) -> Self {
        let of = |kind, reason| Self { kind, actor: String::new(), reason, error: Bytes::new() };
        match failure {
            Failure::Constructor { actor, worker, reason, error } => {
                let actor = worker.map_or_else(|| actor.clone(), |worker| format!("{actor} on {worker}"));
                let error = Bytes::copy_from_slice(&error);
                Self { kind: "constructor", actor, reason: reason.to_string(), error }
            }
            Failure::NotStarted(reason) => of("not_started", reason),
            Failure::Ended(reason) => of("ended", reason),
            Failure::Closed => of("closed", "the session was shut down".to_owned()),
        }
    }
}

/// Calls `callback(actor_ids, failure)`, one of which is None.
pub(super) fn on_start(mailbox: Mailbox, callback: Py<PyAny>) -> PoolStarted {
    Box::new(move |started| {
        mailbox.post(move |py| {
            match started {
                Ok(actors) => {
                    let actors: Vec<String> = actors.iter().map(ToString::to_string).collect();
                    callback.call1(py, (actors, py.None()))
                }
                Err(failure) => callback.call1(py, (py.None(), ActorFailure::from(failure))),
            }
            .map(drop)
        });
    })
}

/// Calls `callback(place, problem)`, one of which is None; a place is an actor, a generation, a worker and an address.
pub(super) fn on_route(mailbox: Mailbox, callback: Py<PyAny>) -> CallRouted {
    Box::new(move |routed| {
        mailbox.post(move |py| {
            match routed {
                Ok(to) => {
                    let place = (to.actor.to_string(), to.generation, to.worker.to_string(), to.address.to_string());
                    callback.call1(py, (place, py.None()))
                }
                Err(problem) => callback.call1(py, (py.None(), problem)),
            }
            .map(drop)
        });
    })
}

/// The news that a worker tells of an actor.
pub(super) fn news(event: &str, address: &str, reason: &str, error: &[u8]) -> PyResult<ActorNews> {
    let reason = reason.into();
    Ok(match event {
        "ready" => ActorNews::Ready { address: address.into() },
        "killed" => ActorNews::Killed { reason },
        "late" => ActorNews::Late { reason },
        "failed" => ActorNews::Failed { reason, error: error.into() },
        _ => return Err(PyValueError::new_err(format!("{event:?} is no event of an actor"))),
    })
}

pub(super) fn pools_of(pool_ids: Vec<String>) -> PyResult<Vec<ActorPoolId>> {
    pool_ids.iter().map(|pool_id| parsed(pool_id)).collect()
}
