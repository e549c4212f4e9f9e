//! The driver's classes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use daft_k8s_core::{LaunchId, PoolConfig, TaskId, WorkerId};
use daft_k8s_data::PartitionData;
use daft_k8s_session::{
    Level,
    driver::{
        Call, CallAnswer, Driver, DriverConfig, DriverHost, FetchFailure, LaunchFailed, Outcome, Partition, TaskSpec,
    },
};
use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyConnectionError, PyLookupError, PyRuntimeError, PyTimeoutError, PyValueError},
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::{
    arrow::{self, ArrowStream},
    mailbox::Mailbox,
    outcome::TaskOutcome,
    runtime,
};

/// A partition in a worker's store or in the driver; the last copy to go frees it.
#[pyclass(module = "daft_k8s._native", frozen, from_py_object)]
#[derive(Clone)]
pub(crate) struct PartitionRef {
    partition: Partition,
}

impl From<Partition> for PartitionRef {
    fn from(partition: Partition) -> Self {
        Self { partition }
    }
}

#[pymethods]
impl PartitionRef {
    #[getter]
    fn num_rows(&self) -> u64 {
        self.partition.num_rows()
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.partition.size_bytes()
    }

    #[getter]
    fn ticket(&self) -> &str {
        self.partition.ticket()
    }

    #[getter]
    fn worker_id(&self) -> Option<String> {
        self.partition.worker().map(|worker| worker.to_string())
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.partition.ticket().hash(&mut hasher);
        hasher.finish()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.extract::<Self>().is_ok_and(|other| other.partition.ticket() == self.partition.ticket())
    }

    fn __repr__(&self) -> String {
        let holder = self.partition.worker().map_or_else(|| "the driver".to_owned(), |worker| worker.to_string());
        format!("PartitionRef({} at {holder}, {} rows)", self.partition.ticket(), self.partition.num_rows())
    }
}

/// A logical worker.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct K8sWorker {
    id: WorkerId,
    driver: Driver,
    mailbox: Mailbox,
}

#[pymethods]
impl K8sWorker {
    #[getter]
    fn worker_id(&self) -> String {
        self.id.to_string()
    }

    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (*, query_id, task_id, name, plan, payload, inputs))]
    fn submit(
        &self,
        py: Python<'_>,
        query_id: String,
        task_id: u64,
        name: String,
        plan: &[u8],
        payload: &[u8],
        inputs: Vec<(u32, Vec<PartitionRef>)>,
    ) -> K8sTaskResultHandle {
        let inputs = inputs
            .into_iter()
            .map(|(source_id, refs)| (source_id, refs.into_iter().map(|reference| reference.partition).collect()));
        let inputs = inputs.collect();
        let ending = Arc::new(Ending::default());
        let (ended, mailbox) = (ending.clone(), self.mailbox.clone());
        let on_end = Box::new(move |outcome| mailbox.post(move |py| ended.complete(py, outcome)));
        // Released: plans may be large, and the pool's lock is shared with threads that may be waiting for the GIL.
        let task = py.detach(|| {
            let plan_hash = TaskSpec::hash_plan(plan);
            let (plan, payload) = (Bytes::copy_from_slice(plan), Bytes::copy_from_slice(payload));
            let spec = TaskSpec { query_id, task_id, name, plan, plan_hash, payload, inputs };
            self.driver.submit(self.id, spec, on_end)
        });
        K8sTaskResultHandle { task, driver: self.driver.clone(), mailbox: self.mailbox.clone(), ending }
    }
}

/// The end of a task, and who waits for it.
#[derive(Default)]
struct Ending {
    state: Mutex<EndingState>,
}

#[derive(Default)]
struct EndingState {
    outcome: Option<Outcome>,
    callback: Option<Py<PyAny>>,
}

impl Ending {
    fn complete(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let callback = {
            let mut state = self.state.lock();
            match state.callback.take() {
                Some(callback) => callback,
                None => {
                    state.outcome = Some(outcome);
                    return Ok(());
                }
            }
        };
        callback.call1(py, (TaskOutcome::from(outcome),)).map(drop)
    }
}

/// A task that was submitted.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct K8sTaskResultHandle {
    task: TaskId,
    driver: Driver,
    mailbox: Mailbox,
    ending: Arc<Ending>,
}

#[pymethods]
impl K8sTaskResultHandle {
    fn add_done_callback(&self, callback: Py<PyAny>) {
        let outcome = {
            let mut state = self.ending.state.lock();
            match state.outcome.take() {
                Some(outcome) => outcome,
                None => {
                    state.callback = Some(callback);
                    return;
                }
            }
        };
        self.mailbox.post(move |py| callback.call1(py, (TaskOutcome::from(outcome),)).map(drop));
    }

    fn cancel(&self, py: Python<'_>) {
        // Released: as in `submit`.
        py.detach(|| self.driver.cancel(self.task));
    }
}

/// A call of a worker to its driver.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct WorkerCall {
    #[pyo3(get)]
    worker_id: String,
    #[pyo3(get)]
    target: String,
    payload: Bytes,
    answer: Mutex<Option<CallAnswer>>,
}

impl WorkerCall {
    fn answer(&self, result: Result<Bytes, String>) -> PyResult<()> {
        let answer = self.answer.lock().take();
        answer.ok_or_else(|| PyRuntimeError::new_err("this call was answered already"))?(result);
        Ok(())
    }
}

#[pymethods]
impl WorkerCall {
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.payload)
    }

    fn reply(&self, payload: &[u8]) -> PyResult<()> {
        self.answer(Ok(Bytes::copy_from_slice(payload)))
    }

    fn fail(&self, message: String) -> PyResult<()> {
        self.answer(Err(message))
    }
}

/// Passes what the session asks for on to Python.
struct Host {
    mailbox: Mailbox,
    launcher: Py<PyAny>,
    on_worker_call: Py<PyAny>,
    on_log: Py<PyAny>,
}

impl Host {
    /// Posts a call of a Python callable; `Py` is cloned on the other side, where the GIL is held.
    fn post(self: &Arc<Self>, letter: impl FnOnce(Python<'_>, &Self) -> PyResult<()> + Send + 'static) {
        let host = self.clone();
        self.mailbox.post(move |py| letter(py, &host));
    }
}

/// [`Host`] behind the pointer that letters need.
struct SharedHost(Arc<Host>);

impl DriverHost for SharedHost {
    fn launch(&self, worker: WorkerId, launch: LaunchId, failed: LaunchFailed) {
        self.0.post(move |py, host| {
            let launched = host.launcher.call_method1(py, "launch", (worker.to_string(), launch.0));
            if let Err(error) = &launched {
                let reason = format!("its launch failed: {error}");
                py.detach(|| failed(reason));
            }
            launched.map(drop)
        });
    }

    fn stop(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let reason = reason.to_owned();
        self.0.post(move |py, host| {
            host.launcher.call_method1(py, "stop", (worker.to_string(), launch.0, reason)).map(drop)
        });
    }

    fn worker_call(&self, call: Call) {
        self.0.post(move |py, host| {
            let call = WorkerCall {
                worker_id: call.worker.to_string(),
                target: call.target,
                payload: call.payload,
                answer: Mutex::new(Some(call.answer)),
            };
            host.on_worker_call.call1(py, (call,)).map(drop)
        });
    }

    fn log(&self, level: Level, message: String) {
        self.0.post(move |py, host| host.on_log.call1(py, (level as i32, message)).map(drop));
    }
}

/// The driver's end of a session.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct K8sWorkerManager {
    driver: Driver,
    mailbox: Mailbox,
}

#[pymethods]
impl K8sWorkerManager {
    #[allow(clippy::too_many_arguments)]
    #[new]
    #[pyo3(signature = (
        *, session_id, token, daft_version, python_version, r#loop, launcher, on_worker_call, on_log,
        slots_per_worker, queue_ahead, start_timeout_seconds, unreachable_timeout_seconds,
        max_task_attempts, max_worker_restarts,
    ))]
    fn new(
        session_id: String,
        token: String,
        daft_version: String,
        python_version: String,
        r#loop: Py<PyAny>,
        launcher: Py<PyAny>,
        on_worker_call: Py<PyAny>,
        on_log: Py<PyAny>,
        slots_per_worker: u32,
        queue_ahead: u32,
        start_timeout_seconds: f64,
        unreachable_timeout_seconds: f64,
        max_task_attempts: u32,
        max_worker_restarts: u32,
    ) -> PyResult<Self> {
        let mailbox = Mailbox::new(r#loop)?;
        let host = Host { mailbox: mailbox.clone(), launcher, on_worker_call, on_log };
        let config = DriverConfig {
            session_id,
            token,
            daft_version,
            python_version,
            unreachable_timeout: seconds(unreachable_timeout_seconds)?,
            pool: PoolConfig {
                slots_per_worker,
                queue_ahead,
                start_timeout: seconds(start_timeout_seconds)?,
                max_task_attempts,
                max_worker_restarts,
                ..PoolConfig::default()
            },
        };
        let driver = Driver::start(config, Arc::new(SharedHost(Arc::new(host))), runtime::handle()?);
        Ok(Self { driver, mailbox })
    }

    fn set_desired_workers(&self, py: Python<'_>, count: u32) {
        // Released: as in `submit`; so in every method below.
        py.detach(|| self.driver.set_desired_workers(count));
    }

    fn workers(&self, py: Python<'_>) -> Vec<K8sWorker> {
        let worker =
            |number| K8sWorker { id: WorkerId(number), driver: self.driver.clone(), mailbox: self.mailbox.clone() };
        (0..py.detach(|| self.driver.desired_workers())).map(worker).collect()
    }

    fn wait_ready(&self, py: Python<'_>, count: usize, timeout_seconds: f64) -> PyResult<usize> {
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

    fn worker_started(
        &self,
        py: Python<'_>,
        worker_id: &str,
        launch_id: u64,
        control_address: String,
        data_address: String,
    ) -> PyResult<()> {
        let worker = worker_of(worker_id)?;
        py.detach(|| self.driver.worker_started(worker, LaunchId(launch_id), control_address, data_address));
        Ok(())
    }

    fn worker_exited(
        &self,
        py: Python<'_>,
        worker_id: &str,
        launch_id: u64,
        reason: String,
        restartable: bool,
    ) -> PyResult<()> {
        let worker = worker_of(worker_id)?;
        py.detach(|| self.driver.worker_exited(worker, LaunchId(launch_id), reason, restartable));
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

    fn end_query(&self, py: Python<'_>, query_id: &str) {
        py.detach(|| self.driver.end_query(query_id));
    }

    fn status(&self, py: Python<'_>) -> String {
        py.detach(|| self.driver.status().to_string())
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

fn worker_of(worker_id: &str) -> PyResult<WorkerId> {
    worker_id.parse().map_err(|error: daft_k8s_core::IdError| PyValueError::new_err(error.to_string()))
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
