//! Submitting tasks, and their ends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use daft_k8s_core::{Run, TaskId, WorkerId};
use daft_k8s_session::driver::{Driver, Outcome, TaskSpec};
use parking_lot::Mutex;
use pyo3::prelude::*;

use super::PartitionRef;
use crate::{mailbox::Mailbox, outcome::TaskOutcome, parsed};

/// A logical worker.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct K8sWorker {
    pub(super) id: WorkerId,
    pub(super) driver: Driver,
    pub(super) mailbox: Mailbox,
}

#[pymethods]
impl K8sWorker {
    #[getter]
    fn worker_id(&self) -> String {
        self.id.to_string()
    }

    #[pyo3(signature = (*, query_id, task_id, name, plan, payload, inputs, determinism))]
    #[allow(clippy::too_many_arguments)] // by name, from Python
    fn submit(
        slf: &Bound<'_, Self>,
        query_id: String,
        task_id: u64,
        name: String,
        plan: &[u8],
        payload: &[u8],
        inputs: Vec<(u32, Vec<PartitionRef>)>,
        determinism: &str,
    ) -> PyResult<K8sTaskResultHandle> {
        let determinism = parsed(determinism)?;
        let (py, this) = (slf.py(), slf.get());
        let inputs = inputs
            .into_iter()
            .map(|(source_id, refs)| (source_id, refs.into_iter().map(|reference| reference.partition).collect()));
        let inputs = inputs.collect();
        let ending = Arc::new(Ending::default());
        let (ended, mailbox) = (ending.clone(), this.mailbox.clone());
        let on_end = Box::new(move |outcome| mailbox.post(move |py| ended.complete(py, outcome)));
        // Released: plans may be large, and the pool's lock is shared with threads that may be waiting for the GIL.
        let sent = Arc::<AtomicBool>::default();
        let task = py.detach(|| {
            let plan_hash = TaskSpec::hash_plan(plan);
            let (plan, payload) = (Bytes::copy_from_slice(plan), Bytes::copy_from_slice(payload));
            let sent = sent.clone();
            let run = Run::FIRST;
            let spec = TaskSpec { query_id, task_id, name, plan, plan_hash, payload, inputs, determinism, run, sent };
            this.driver.submit(this.id, spec, on_end)
        });
        Ok(K8sTaskResultHandle { task, driver: this.driver.clone(), mailbox: this.mailbox.clone(), ending, sent })
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
    sent: Arc<AtomicBool>,
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

    #[getter]
    fn was_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    fn cancel(&self, py: Python<'_>) {
        // Released: as in `submit`.
        py.detach(|| self.driver.cancel(self.task));
    }
}
