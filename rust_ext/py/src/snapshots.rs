//! The states of a session and of a worker's store at one moment.

use std::collections::BTreeMap;

use daft_k8s_session::driver;
use daft_k8s_store::StoreStats;
use pyo3::prelude::*;

/// The pool and what the driver keeps.
#[pyclass(module = "daft_k8s._native", frozen, get_all)]
#[derive(Clone, Debug)]
pub(crate) struct PoolSnapshot {
    session_id: String,
    min_workers: u32,
    max_workers: u32,
    alive_workers: usize,
    ready_workers: usize,
    unfinished_tasks: usize,
    kept: BTreeMap<&'static str, usize>,
    inline_bytes: usize,
    workers: Vec<WorkerSnapshot>,
}

/// One logical worker.
#[pyclass(module = "daft_k8s._native", frozen, get_all)]
#[derive(Clone, Debug)]
pub(crate) struct WorkerSnapshot {
    worker_id: String,
    phase: String,
    launch: u64,
    incarnation: Option<String>,
    control_address: Option<String>,
    data_address: Option<String>,
    peer_address: Option<String>,
    tasks: usize,
    holds: u64,
    restarts: usize,
    last_loss: Option<String>,
    waits_for: Option<String>,
}

/// The memory of a worker.
#[pyclass(module = "daft_k8s._native", frozen, get_all)]
#[derive(Clone, Debug)]
pub(crate) struct MemorySnapshot {
    memory_bytes: u64,
    resident_bytes: u64,
    store_bytes: u64,
    spilled_bytes: u64,
    partitions: usize,
    level: String,
}

impl From<driver::PoolSnapshot> for PoolSnapshot {
    fn from(pool: driver::PoolSnapshot) -> Self {
        Self {
            session_id: pool.session_id,
            min_workers: pool.min_workers,
            max_workers: pool.max_workers,
            alive_workers: pool.alive_workers,
            ready_workers: pool.ready_workers,
            unfinished_tasks: pool.unfinished_tasks,
            kept: pool.kept,
            inline_bytes: pool.inline_bytes,
            workers: pool.workers.into_iter().map(WorkerSnapshot::from).collect(),
        }
    }
}

impl From<driver::WorkerSnapshot> for WorkerSnapshot {
    fn from(worker: driver::WorkerSnapshot) -> Self {
        Self {
            worker_id: worker.worker_id,
            phase: format!("{:?}", worker.phase),
            launch: worker.launch,
            incarnation: worker.incarnation,
            control_address: worker.control_address,
            data_address: worker.data_address,
            peer_address: worker.peer_address,
            tasks: worker.tasks,
            holds: worker.holds,
            restarts: worker.restarts,
            last_loss: worker.last_loss,
            waits_for: worker.waits_for,
        }
    }
}

impl MemorySnapshot {
    pub(crate) fn new(memory_bytes: u64, stats: StoreStats) -> Self {
        Self {
            memory_bytes,
            resident_bytes: stats.resident_bytes,
            store_bytes: stats.store_bytes,
            spilled_bytes: stats.spilled_bytes,
            partitions: stats.partitions,
            level: format!("{:?}", stats.level),
        }
    }
}

#[pymethods]
impl PoolSnapshot {
    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}

#[pymethods]
impl WorkerSnapshot {
    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}

#[pymethods]
impl MemorySnapshot {
    fn __repr__(&self) -> String {
        format!("{self:?}")
    }
}
