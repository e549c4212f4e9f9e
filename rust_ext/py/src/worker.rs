//! The worker's classes.

mod setup;

use std::sync::Arc;

use bytes::Bytes;
use daft_k8s_core::TaskKey;
use daft_k8s_ipc::PartitionData;
use daft_k8s_session::worker::{ActorRequest, CallReply, Delivery, Host, Refusal, Worker};
use parking_lot::Mutex;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyList},
};

use self::setup::WorkerSetup;
use crate::{
    arrow::{self, ArrowStream},
    mailbox::Mailbox,
    parsed, runtime,
    snapshots::MemorySnapshot,
};

/// A task whose inputs are here and for which a slot is free.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct TaskCommand {
    #[pyo3(get)]
    key: String,
    parsed: TaskKey,
    #[pyo3(get)]
    name: String,
    #[pyo3(get)]
    plan_hash: String,
    plan: Bytes,
    payload: Bytes,
    #[pyo3(get)]
    inputs: Py<PyList>,
}

impl TaskCommand {
    /// The command, and the host to report to if the command cannot be made or carried out.
    fn new(py: Python<'_>, delivery: Delivery) -> (PyResult<Self>, Refusal) {
        let Delivery { key, name, plan_hash, plan, payload, inputs, refuse } = delivery;
        let command = Self::sources(py, inputs).and_then(|inputs| {
            let parsed = parsed(&key)?;
            Ok(Self { key, parsed, name, plan_hash, plan, payload, inputs })
        });
        (command, refuse)
    }

    fn sources(py: Python<'_>, inputs: Vec<(u32, Vec<PartitionData>)>) -> PyResult<Py<PyList>> {
        let mut sources = Vec::with_capacity(inputs.len());
        for (source_id, partitions) in inputs {
            let streams = partitions.into_iter().map(|data| Bound::new(py, ArrowStream::from(data)));
            sources.push((source_id, PyList::new(py, streams.collect::<PyResult<Vec<_>>>()?)?));
        }
        Ok(PyList::new(py, sources)?.unbind())
    }
}

#[pymethods]
impl TaskCommand {
    #[getter]
    fn query_id(&self) -> &str {
        &self.parsed.query
    }

    #[getter]
    fn task_id(&self) -> u64 {
        self.parsed.task
    }

    #[getter]
    fn attempt(&self) -> u32 {
        self.parsed.attempt.0
    }

    #[getter]
    fn plan<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.plan)
    }

    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.payload)
    }
}

/// A request of the driver or of another worker to the actors in this process.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct ActorCommand {
    #[pyo3(get)]
    kind: &'static str,
    #[pyo3(get)]
    actor_id: String,
    #[pyo3(get)]
    generation: u32,
    #[pyo3(get)]
    gpu_devices: Vec<u32>,
    payload: Bytes,
    answer: Mutex<Option<CallReply>>,
}

impl From<ActorRequest> for ActorCommand {
    fn from(request: ActorRequest) -> Self {
        match request {
            ActorRequest::Start { actor_id, payload, generation, gpu_devices } => {
                Self { kind: "start", actor_id, generation, gpu_devices, payload, answer: Mutex::default() }
            }
            ActorRequest::Stop { actor_id, generation } => {
                let payload = Bytes::new();
                Self { kind: "stop", actor_id, generation, gpu_devices: vec![], payload, answer: Mutex::default() }
            }
            ActorRequest::Call { actor_id, payload, answer } => {
                let answer = Mutex::new(Some(answer));
                Self { kind: "call", actor_id, generation: 0, gpu_devices: vec![], payload, answer }
            }
        }
    }
}

#[pymethods]
impl ActorCommand {
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.payload)
    }

    fn reply(&self, payload: &[u8]) {
        if let Some(answer) = self.answer.lock().take() {
            answer(Ok(Bytes::copy_from_slice(payload)));
        }
    }

    fn fail(&self, message: String) {
        if let Some(answer) = self.answer.lock().take() {
            answer(Err(message));
        }
    }
}

/// Passes what the session asks for on to Python.
struct PythonHost {
    mailbox: Mailbox,
    callbacks: Arc<Callbacks>,
}

struct Callbacks {
    on_task: Py<PyAny>,
    on_cancel: Py<PyAny>,
    on_stop: Py<PyAny>,
    on_end_query: Py<PyAny>,
    on_actor: Py<PyAny>,
}

impl Host for PythonHost {
    fn run(&self, delivery: Delivery) {
        let callbacks = self.callbacks.clone();
        self.mailbox.post(move |py| {
            let (command, refuse) = TaskCommand::new(py, delivery);
            let handed_over = command.and_then(|command| callbacks.on_task.call1(py, (command,)));
            if let Err(error) = &handed_over {
                refuse(format!("the worker could not start the task: {error}"));
            }
            handed_over.map(drop)
        });
    }

    fn cancel(&self, key: &str) {
        let (callbacks, key) = (self.callbacks.clone(), key.to_owned());
        self.mailbox.post(move |py| callbacks.on_cancel.call1(py, (key,)).map(drop));
    }

    fn stop(&self, reason: &str) {
        let (callbacks, reason) = (self.callbacks.clone(), reason.to_owned());
        self.mailbox.post(move |py| callbacks.on_stop.call1(py, (reason,)).map(drop));
    }

    fn end_query(&self, query_id: &str) {
        let (callbacks, query_id) = (self.callbacks.clone(), query_id.to_owned());
        self.mailbox.post(move |py| callbacks.on_end_query.call1(py, (query_id,)).map(drop));
    }

    fn actor(&self, request: ActorRequest) {
        let callbacks = self.callbacks.clone();
        self.mailbox.post(move |py| callbacks.on_actor.call1(py, (ActorCommand::from(request),)).map(drop));
    }
}

/// The servers and the partition store of one worker process.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct WorkerServer {
    worker: Worker,
    mailbox: Mailbox,
    memory_bytes: u64,
}

#[pymethods]
impl WorkerServer {
    #[new]
    fn new(py: Python<'_>, setup: WorkerSetup) -> PyResult<Self> {
        let (config, event_loop, callbacks) = setup.into_parts()?;
        let mailbox = Mailbox::new(event_loop)?;
        let python_host = Arc::new(PythonHost { mailbox: mailbox.clone(), callbacks: Arc::new(callbacks) });
        let memory_bytes = config.memory_bytes;
        let runtime = runtime::handle()?;
        // Released: binding runs on the I/O threads, which may want to log.
        let worker = py.detach(|| Worker::start(config, python_host, runtime))?;
        Ok(Self { worker, mailbox, memory_bytes })
    }

    #[getter]
    fn instance_id(&self) -> &str {
        self.worker.instance_id()
    }

    #[getter]
    fn control_address(&self) -> String {
        self.worker.control_address().to_string()
    }

    #[getter]
    fn data_address(&self) -> String {
        self.worker.data_address().to_string()
    }

    #[getter]
    fn health_address(&self) -> Option<String> {
        self.worker.health_address().map(|address| address.to_string())
    }

    fn set_serving(&self, py: Python<'_>) {
        // Released: as above.
        py.detach(|| self.worker.set_serving());
    }

    #[pyo3(signature = (key, pieces, num_rows, size_bytes))]
    fn put_output(&self, key: &str, pieces: Vec<Bound<'_, PyAny>>, num_rows: u64, size_bytes: u64) -> PyResult<()> {
        let output = arrow::import(&pieces)?;
        if output.num_rows as u64 != num_rows {
            return Err(PyValueError::new_err(format!(
                "an output of {key} has {} rows as Arrow and {num_rows} in Daft ({size_bytes} bytes)",
                output.num_rows
            )));
        }
        self.worker.put_output(key, output);
        Ok(())
    }

    fn finish_task(&self, py: Python<'_>, key: &str, stats: &[u8]) {
        let stats = Bytes::copy_from_slice(stats);
        // Released: publishing may take locks of the store that a spill holds.
        py.detach(|| self.worker.finish(key, stats));
    }

    fn fail_task(&self, py: Python<'_>, key: &str, error: &[u8], message: String) {
        let error = Bytes::copy_from_slice(error);
        // Released: freeing the task's outputs may take a while; so below.
        py.detach(|| self.worker.fail(key, error, message));
    }

    fn cancelled_task(&self, py: Python<'_>, key: &str) {
        py.detach(|| self.worker.cancelled(key));
    }

    fn call_driver(&self, target: String, payload: &[u8], callback: Py<PyAny>) {
        self.worker.call_driver(target, Bytes::copy_from_slice(payload), self.reply_to(callback));
    }

    fn call_peer(&self, address: String, actor_id: String, payload: &[u8], callback: Py<PyAny>) {
        self.worker.call_peer(address, actor_id, Bytes::copy_from_slice(payload), self.reply_to(callback));
    }

    fn set_stuck(&self, slots: u32, calls: String) {
        self.worker.set_stuck(slots, calls);
    }

    fn begin_drain(&self) {
        self.worker.begin_drain();
    }

    fn running_tasks(&self) -> usize {
        self.worker.unfinished_tasks()
    }

    fn memory_status(&self) -> MemorySnapshot {
        MemorySnapshot::new(self.memory_bytes, self.worker.store().stats())
    }

    fn shutdown(&self, py: Python<'_>) {
        // Released: removing files may take a while.
        py.detach(|| self.worker.shutdown());
    }
}

impl WorkerServer {
    /// Has `callback(payload, None)` or `callback(None, error)` called on the event loop.
    fn reply_to(&self, callback: Py<PyAny>) -> CallReply {
        let mailbox = self.mailbox.clone();
        Box::new(move |result| {
            mailbox.post(move |py| match result {
                Ok(payload) => callback.call1(py, (PyBytes::new(py, &payload), py.None())).map(drop),
                Err(message) => callback.call1(py, (py.None(), message)).map(drop),
            });
        })
    }
}
