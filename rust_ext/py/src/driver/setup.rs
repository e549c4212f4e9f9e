//! The arguments of the driver's end, read from the dataclass `daft_k8s.driver.setup.DriverSetup`.

use daft_k8s_core::{PoolConfig, Resources};
use daft_k8s_session::driver::DriverConfig;
use pyo3::{exceptions::PyValueError, prelude::*};

use super::{host::Host, seconds};
use crate::{certificates::SessionCertificates, mailbox::Mailbox};

/// A field is an attribute of the same name.
#[derive(FromPyObject)]
pub(super) struct DriverSetup {
    session_id: String,
    token: String,
    daft_version: String,
    python_version: String,
    configuration: PoolOptions,
    unreachable_timeout_seconds: f64,
    certificates: Option<Py<SessionCertificates>>,
    r#loop: Py<PyAny>,
    launcher: Py<PyAny>,
    on_worker_call: Py<PyAny>,
    on_worker_ready: Py<PyAny>,
    on_worker_lost: Py<PyAny>,
}

/// The numbers of the pool among the user's options (`daft_k8s.config.Configuration`).
#[derive(FromPyObject)]
struct PoolOptions {
    worker_cpu: f64,
    worker_gpu: f64,
    worker_memory_bytes: u64,
    slots_per_worker: u32,
    queue_ahead: u32,
    start_timeout_seconds: f64,
    idle_timeout_seconds: f64,
    max_task_attempts: u32,
    max_oom_attempts: u32,
    max_worker_restarts: u32,
    recovery_memory_bytes: u64,
    trust_workers: bool,
}

impl DriverSetup {
    pub(super) fn into_parts(self) -> PyResult<(DriverConfig, Host)> {
        let config = DriverConfig {
            session_id: self.session_id,
            token: self.token,
            tls: self.certificates.map(|certificates| certificates.get().client()).transpose()?,
            trust_workers: self.configuration.trust_workers,
            daft_version: self.daft_version,
            python_version: self.python_version,
            pool: PoolConfig {
                unreachable_timeout: seconds(self.unreachable_timeout_seconds)?,
                ..self.configuration.config()?
            },
        };
        let host = Host {
            mailbox: Mailbox::new(self.r#loop)?,
            launcher: self.launcher,
            on_worker_call: self.on_worker_call,
            on_worker_ready: self.on_worker_ready,
            on_worker_lost: self.on_worker_lost,
        };
        Ok((config, host))
    }
}

impl PoolOptions {
    fn config(&self) -> PyResult<PoolConfig> {
        // A worker with less than one CPU still takes an actor that asks for one, as it takes a task.
        let capacity = Resources::of_worker(self.worker_cpu.max(1.0), self.worker_gpu, self.worker_memory_bytes);
        Ok(PoolConfig {
            worker_resources: capacity.map_err(|problem| PyValueError::new_err(problem.to_string()))?,
            slots_per_worker: self.slots_per_worker,
            queue_ahead: self.queue_ahead,
            start_timeout: seconds(self.start_timeout_seconds)?,
            idle_timeout: seconds(self.idle_timeout_seconds)?,
            max_task_attempts: self.max_task_attempts,
            max_oom_attempts: self.max_oom_attempts,
            max_worker_restarts: self.max_worker_restarts,
            lineage_limit_bytes: self.recovery_memory_bytes,
            ..PoolConfig::default()
        })
    }
}
