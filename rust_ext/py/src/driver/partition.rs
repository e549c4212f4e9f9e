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
    fn is_lost(&self) -> bool {
        self.partition.is_lost()
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
