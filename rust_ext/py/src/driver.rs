//! The driver's classes.

mod actors;
mod host;
mod partition;
mod setup;
mod task;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use daft_k8s_core::{ActorId, Addresses, LaunchId, Sequence, WorkerId};
use daft_k8s_ipc::PartitionData;
use daft_k8s_session::driver::{Driver, FetchFailure, Partition};
use pyo3::{
    exceptions::{PyConnectionError, PyLookupError, PyRuntimeError, PyTimeoutError, PyValueError},
    prelude::*,
    pybacked::PyBackedBytes,
    types::PyList,
};

pub(crate) use self::{
    actors::ActorFailure,
    host::WorkerCall,
    partition::PartitionRef,
    task::{K8sTaskResultHandle, K8sWorker},
};
use self::{actors::PoolRequest, host::SharedHost, setup::DriverSetup};
use crate::{
    arrow::{self, ArrowStream},
    journal::JournalSnapshot,
    log,
    mailbox::Mailbox,
    parsed, runtime,
    snapshots::PoolSnapshot,
};

/// The driver's end of a session.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct K8sWorkerManager {
    driver: Driver,
    mailbox: Mailbox,
}

#[pymethods]
impl K8sWorkerManager {
    #[new]
    fn new(setup: DriverSetup) -> PyResult<Self> {
        let (config, host) = setup.into_parts()?;
        let mailbox = host.mailbox.clone();
        let driver = Driver::start(config, Arc::new(SharedHost(Arc::new(host))), runtime::handle()?);
        Ok(Self { driver, mailbox })
    }

    fn set_desired_workers(&self, py: Python<'_>, count: u32) {
        // Released: as in `submit`; so in every method below.
        py.detach(|| self.driver.set_desired_workers(count));
    }

    fn set_worker_range(&self, py: Python<'_>, min_count: u32, start_count: u32, max_count: u32) {
        py.detach(|| self.driver.set_worker_range(min_count, start_count, max_count));
    }

    fn keep_all_workers(&self, py: Python<'_>, query_id: &str) {
        py.detach(|| self.driver.keep_all_for(query_id));
    }

    fn worker_leaving(&self, py: Python<'_>, worker_id: &str, launch_id: u64) -> PyResult<()> {
        let worker = parsed(worker_id)?;
        py.detach(|| self.driver.worker_leaving(worker, LaunchId(launch_id)));
        Ok(())
    }

    fn worker_postponed(&self, py: Python<'_>, worker_id: &str, launch_id: u64, reason: String) -> PyResult<()> {
        let worker = parsed(worker_id)?;
        py.detach(|| self.driver.worker_postponed(worker, LaunchId(launch_id), reason));
        Ok(())
    }

    fn worker_admitted(&self, py: Python<'_>, worker_id: &str, launch_id: u64) -> PyResult<()> {
        let worker = parsed(worker_id)?;
        py.detach(|| self.driver.worker_admitted(worker, LaunchId(launch_id)));
        Ok(())
    }

    fn workers(&self, py: Python<'_>) -> Vec<K8sWorker> {
        let worker =
            |number| K8sWorker { id: WorkerId(number), driver: self.driver.clone(), mailbox: self.mailbox.clone() };
        (0..py.detach(|| self.driver.max_workers())).map(worker).collect()
    }

    fn wait_ready(&self, py: Python<'_>, count: usize, timeout_seconds: f64) -> PyResult<usize> {
        if count > 0 {
            py.detach(|| self.driver.wake());
        }
        let mut readiness = self.driver.readiness();
        let came = async move {
            let reached = readiness
                .wait_for(|state| state.ready >= count || state.broken.is_some() || state.closed)
                .await
                .map(|state| state.clone());
            reached.unwrap_or_default()
        };
        match runtime::wait(py, came, Some(seconds(timeout_seconds)?))? {
            Some(state) if state.closed => Err(PyRuntimeError::new_err("the session was shut down")),
            Some(state) => match state.broken {
                Some(reason) if state.ready < count => Err(PyRuntimeError::new_err(reason)),
                _ => Ok(state.ready),
            },
            None => Ok(self.ready_count()),
        }
    }

    fn ready_count(&self) -> usize {
        self.driver.readiness().borrow().ready
    }

    #[pyo3(signature = (worker_id, launch_id, control_address, data_address, peer_address = None))]
    fn worker_started(
        &self,
        py: Python<'_>,
        worker_id: &str,
        launch_id: u64,
        control_address: &str,
        data_address: &str,
        peer_address: Option<&str>,
    ) -> PyResult<()> {
        let worker = parsed(worker_id)?;
        let addresses = Addresses {
            control: control_address.into(),
            data: data_address.into(),
            peer: peer_address.unwrap_or(data_address).into(),
        };
        py.detach(|| self.driver.worker_started(worker, LaunchId(launch_id), addresses));
        Ok(())
    }

    #[pyo3(signature = (worker_id, launch_id, reason, restartable, cause = "crash"))]
    fn worker_exited(
        &self,
        py: Python<'_>,
        worker_id: &str,
        launch_id: u64,
        reason: String,
        restartable: bool,
        cause: &str,
    ) -> PyResult<()> {
        let worker = parsed(worker_id)?;
        let cause = parsed(cause)?;
        py.detach(|| self.driver.worker_exited(worker, LaunchId(launch_id), reason, restartable, cause));
        Ok(())
    }

    fn put(&self, data: &Bound<'_, PyAny>, num_rows: u64, size_bytes: u64) -> PyResult<PartitionRef> {
        // What the data itself says counts; the caller's numbers are a check.
        let data = arrow::import(std::slice::from_ref(data))?;
        if data.num_rows as u64 != num_rows {
            return Err(PyValueError::new_err(format!(
                "the partition has {} rows, not {num_rows} ({size_bytes} bytes)",
                data.num_rows
            )));
        }
        Ok(self.driver.put(data).into())
    }

    #[pyo3(signature = (refs, timeout_seconds=None))]
    fn fetch(
        &self,
        py: Python<'_>,
        refs: Vec<PartitionRef>,
        timeout_seconds: Option<f64>,
    ) -> PyResult<Vec<ArrowStream>> {
        let partitions: Vec<Partition> = refs.into_iter().map(|reference| reference.partition).collect();
        let count = partitions.len();
        let driver = self.driver.clone();
        let fetching = async move { driver.fetch(&partitions).await };
        match runtime::wait(py, fetching, timeout_seconds.map(seconds).transpose()?)? {
            Some(fetched) => Ok(fetched.map_err(fetch_error)?.into_iter().map(ArrowStream::from).collect()),
            None => Err(PyTimeoutError::new_err(format!("fetching {count} partitions took too long"))),
        }
    }

    fn fetch_async(&self, refs: Vec<PartitionRef>, callback: Py<PyAny>) -> PyResult<()> {
        let partitions: Vec<Partition> = refs.into_iter().map(|reference| reference.partition).collect();
        let (driver, mailbox) = (self.driver.clone(), self.mailbox.clone());
        runtime::handle()?.spawn(async move {
            let fetched = driver.fetch(&partitions).await;
            // The callback is called in any case: somebody waits for it.
            mailbox.post(move |py| {
                match fetched.map_err(fetch_error).and_then(|data| streams(py, data)) {
                    Ok(streams) => callback.call1(py, (streams, py.None())),
                    Err(error) => callback.call1(py, (py.None(), error)),
                }
                .map(drop)
            });
        });
        Ok(())
    }

    fn begin_query(&self, py: Python<'_>, query_id: &str) {
        log::read_level(py);
        py.detach(|| self.driver.begin_query(query_id));
    }

    fn end_query(&self, py: Python<'_>, query_id: &str) {
        py.detach(|| self.driver.end_query(query_id));
    }

    fn start_actors(
        &self,
        py: Python<'_>,
        request: PoolRequest,
        specs: Vec<PyBackedBytes>,
        callback: Py<PyAny>,
    ) -> PyResult<String> {
        let request = request.into_request()?;
        let on_start = actors::on_start(self.mailbox.clone(), callback);
        let started = py.detach(|| {
            let specs = specs.iter().map(|spec| Bytes::copy_from_slice(spec)).collect();
            self.driver.start_actors(request, specs, on_start)
        });
        started.map(|pool| pool.to_string()).map_err(|refusal| PyRuntimeError::new_err(refusal.to_string()))
    }

    #[allow(clippy::too_many_arguments)]
    fn actor_news(
        &self,
        py: Python<'_>,
        worker_id: &str,
        actor_id: &str,
        generation: u32,
        event: &str,
        address: &str,
        reason: &str,
        error: &[u8],
    ) -> PyResult<()> {
        let (worker, actor) = (parsed(worker_id)?, parsed(actor_id)?);
        let news = actors::news(event, address, reason, error)?;
        py.detach(|| self.driver.actor_news(worker, actor, generation, news));
        Ok(())
    }

    fn find_actor(
        &self,
        py: Python<'_>,
        pool_id: &str,
        actor_id: Option<&str>,
        failed: Vec<(String, u32)>,
        callback: Py<PyAny>,
    ) -> PyResult<()> {
        let pool = parsed(pool_id)?;
        let wanted = actor_id.map(parsed::<ActorId>).transpose()?.filter(|actor| actor.pool == pool);
        let failed = failed.iter().map(|(actor, generation)| Ok((parsed(actor)?, *generation)));
        let failed = failed.collect::<PyResult<Vec<_>>>()?;
        let on_route = actors::on_route(self.mailbox.clone(), callback);
        py.detach(|| self.driver.find_actor(pool, wanted.map(|actor| actor.number), failed, on_route));
        Ok(())
    }

    fn is_actor_at(&self, py: Python<'_>, actor_id: &str, generation: u32) -> PyResult<bool> {
        let actor = parsed(actor_id)?;
        Ok(py.detach(|| self.driver.is_actor_at(actor, generation)))
    }

    fn ready_actors(&self, py: Python<'_>, pool_id: &str) -> PyResult<Option<Vec<String>>> {
        let pool = parsed(pool_id)?;
        let ready = py.detach(|| self.driver.ready_actors(pool));
        Ok(ready.map(|actors| actors.iter().map(ToString::to_string).collect()))
    }

    fn bind_actors(&self, py: Python<'_>, query_id: &str, pool_ids: Vec<String>) -> PyResult<()> {
        let pools = actors::pools_of(pool_ids)?;
        py.detach(|| self.driver.bind_actors(query_id, pools));
        Ok(())
    }

    fn release_actors(&self, py: Python<'_>, pool_ids: Vec<String>) -> PyResult<()> {
        let pools = actors::pools_of(pool_ids)?;
        py.detach(|| self.driver.release_actors(pools));
        Ok(())
    }

    fn retire_actors(&self, py: Python<'_>, pool_id: &str) -> PyResult<()> {
        let pool = parsed(pool_id)?;
        py.detach(|| self.driver.retire_actors(pool));
        Ok(())
    }

    fn end_actors(&self, py: Python<'_>, pool_id: &str) -> PyResult<()> {
        let pool = parsed(pool_id)?;
        py.detach(|| self.driver.end_actors(pool));
        Ok(())
    }

    fn status(&self, py: Python<'_>) -> PoolSnapshot {
        py.detach(|| self.driver.status()).into()
    }

    fn facts_since(&self, py: Python<'_>, sequence: u64) -> JournalSnapshot {
        py.detach(|| self.driver.facts_since(Sequence(sequence)).into())
    }

    fn shutdown(&self, py: Python<'_>, timeout_seconds: f64) -> PyResult<()> {
        seconds(timeout_seconds)?;
        py.detach(|| self.driver.shutdown());
        Ok(())
    }
}

fn streams(py: Python<'_>, partitions: Vec<PartitionData>) -> PyResult<Bound<'_, PyList>> {
    let streams = partitions.into_iter().map(|data| Bound::new(py, ArrowStream::from(data)));
    PyList::new(py, streams.collect::<PyResult<Vec<_>>>()?)
}

pub(crate) fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(format!("{value} seconds: {error}")))
}

fn fetch_error(failure: FetchFailure) -> PyErr {
    match failure {
        FetchFailure::Gone(message) => PyLookupError::new_err(message),
        FetchFailure::Connection(message) => PyConnectionError::new_err(message),
        FetchFailure::TimedOut(message) => PyTimeoutError::new_err(message),
    }
}
