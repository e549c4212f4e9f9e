//! The arguments of a worker's servers, read from the dataclass `daft_k8s.worker.setup.WorkerSetup`.

use std::path::PathBuf;

use daft_k8s_net::tls::Pem;
use daft_k8s_session::worker::WorkerConfig;
use pyo3::prelude::*;

use super::Callbacks;
use crate::{certificates::to_python, driver::seconds};

/// A field is an attribute of the same name.
#[derive(FromPyObject)]
pub(super) struct WorkerSetup {
    settings: Settings,
    daft_version: String,
    python_version: String,
    r#loop: Py<PyAny>,
    on_task: Py<PyAny>,
    on_cancel: Py<PyAny>,
    on_stop: Py<PyAny>,
    on_end_query: Py<PyAny>,
    on_actor: Py<PyAny>,
}

/// The servers' part of `daft_k8s.wire.worker_settings.WorkerSettings`.
#[derive(FromPyObject)]
struct Settings {
    session_id: String,
    worker_id: String,
    token: String,
    /// "": no encryption.
    tls_dir: PathBuf,
    bind_host: String,
    control_port: u16,
    data_port: u16,
    /// Negative: none.
    health_port: i32,
    slots: usize,
    memory_bytes: u64,
    store_memory_bytes: u64,
    spill_dir: PathBuf,
    max_message_bytes: usize,
    orphan_timeout_seconds: f64,
}

impl WorkerSetup {
    /// The configuration, the event loop, and the callbacks that run on it.
    pub(super) fn into_parts(self) -> PyResult<(WorkerConfig, Py<PyAny>, Callbacks)> {
        let settings = self.settings;
        let is_encrypted = !settings.tls_dir.as_os_str().is_empty();
        let config = WorkerConfig {
            session_id: settings.session_id,
            worker_id: settings.worker_id,
            token: settings.token,
            tls: is_encrypted.then(|| Pem::read(&settings.tls_dir)).transpose().map_err(to_python)?,
            host: settings.bind_host,
            control_port: settings.control_port,
            data_port: settings.data_port,
            health_port: u16::try_from(settings.health_port).ok(),
            daft_version: self.daft_version,
            python_version: self.python_version,
            slots: settings.slots,
            memory_bytes: settings.memory_bytes,
            store_memory_bytes: settings.store_memory_bytes,
            spill_dir: settings.spill_dir,
            max_message_bytes: settings.max_message_bytes,
            orphan_timeout: seconds(settings.orphan_timeout_seconds)?,
        };
        let callbacks = Callbacks {
            on_task: self.on_task,
            on_cancel: self.on_cancel,
            on_stop: self.on_stop,
            on_end_query: self.on_end_query,
            on_actor: self.on_actor,
        };
        Ok((config, self.r#loop, callbacks))
    }
}
