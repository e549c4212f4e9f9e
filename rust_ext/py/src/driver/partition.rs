//! References to partitions.

use daft_k8s_session::driver::Partition;
use pyo3::prelude::*;

/// A partition in a worker's store or in the driver; the last copy to go frees it.
#[pyclass(module = "daft_k8s._native", frozen, from_py_object)]
#[derive(Clone)]
pub(crate) struct PartitionRef {
    pub(super) partition: Partition,
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
    fn is_lost(&self, py: Python<'_>) -> bool {
        // Released: the session's lock is shared with threads that may be waiting for the GIL.
        py.detach(|| self.partition.is_lost())
    }

    #[getter]
    fn is_at_hand(&self) -> bool {
        self.partition.is_at_hand()
    }

    #[getter]
    fn slot_id(&self) -> String {
        self.partition.slot().to_string()
    }

    #[getter]
    fn worker_id(&self, py: Python<'_>) -> Option<String> {
        py.detach(|| self.partition.worker()).map(|worker| worker.to_string())
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.partition.slot().hash(&mut hasher);
        hasher.finish()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.extract::<Self>().is_ok_and(|other| other.partition.slot() == self.partition.slot())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let holder = if self.is_at_hand() { Some("the driver".to_owned()) } else { self.worker_id(py) };
        let holder = holder.as_deref().unwrap_or("an unknown worker");
        format!("PartitionRef({} at {holder}, {} rows)", self.partition.slot(), self.partition.num_rows())
    }
}
