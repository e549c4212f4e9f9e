//! The requests of a session to Python: processes, and answers to workers' calls.

use std::sync::Arc;

use bytes::Bytes;
use daft_k8s_core::{LaunchId, WorkerId};
use daft_k8s_session::driver::{Call, CallAnswer, DriverHost, LaunchFailed};
use parking_lot::Mutex;
use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyBytes};

use crate::mailbox::Mailbox;

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
pub(super) struct Host {
    pub(super) mailbox: Mailbox,
    pub(super) launcher: Py<PyAny>,
    pub(super) on_worker_call: Py<PyAny>,
    pub(super) on_worker_ready: Py<PyAny>,
    pub(super) on_worker_lost: Py<PyAny>,
}

impl Host {
    /// Posts a call of a Python callable; `Py` is cloned on the other side, where the GIL is held.
    fn post(self: &Arc<Self>, letter: impl FnOnce(Python<'_>, &Self) -> PyResult<()> + Send + 'static) {
        let host = self.clone();
        self.mailbox.post(move |py| letter(py, &host));
    }
}

/// [`Host`] behind the pointer that letters need.
pub(super) struct SharedHost(pub(super) Arc<Host>);

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

    fn kill(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let reason = reason.to_owned();
        self.0.post(move |py, host| {
            host.launcher.call_method1(py, "kill", (worker.to_string(), launch.0, reason)).map(drop)
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

    fn worker_ready(&self, worker: WorkerId) {
        self.0.post(move |py, host| host.on_worker_ready.call1(py, (worker.to_string(),)).map(drop));
    }

    fn worker_lost(&self, worker: WorkerId, reason: &str) {
        let reason = reason.to_owned();
        self.0.post(move |py, host| host.on_worker_lost.call1(py, (worker.to_string(), reason)).map(drop));
    }
}
