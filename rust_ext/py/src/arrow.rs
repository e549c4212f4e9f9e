//! Partitions to and from Python by the Arrow C stream interface, without copies.

use arrow_array::{
    RecordBatchIterator, RecordBatchReader,
    ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader},
};
use daft_k8s_ipc::PartitionData;
use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyCapsule,
};

const CAPSULE_NAME: &std::ffi::CStr = c"arrow_array_stream";

/// One partition as an Arrow C stream; may be exported once.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct ArrowStream {
    data: Mutex<Option<PartitionData>>,
    #[pyo3(get)]
    num_rows: u64,
    #[pyo3(get)]
    size_bytes: u64,
}

impl From<PartitionData> for ArrowStream {
    fn from(data: PartitionData) -> Self {
        let (num_rows, size_bytes) = (data.num_rows as u64, data.size_bytes);
        Self { data: Mutex::new(Some(data)), num_rows, size_bytes }
    }
}

#[pymethods]
impl ArrowStream {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows a producer to ignore the request.
        drop(requested_schema);
        let data = self.data.lock().take();
        let data = data.ok_or_else(|| PyValueError::new_err("this Arrow stream was consumed already"))?;
        let batches: Vec<_> = data.batches.iter().cloned().map(Ok).collect();
        let reader = RecordBatchIterator::new(batches, data.schema);
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), CAPSULE_NAME)
    }
}

/// The partition that these pieces make together; their schemas must be the same.
pub(crate) fn import(pieces: &[Bound<'_, PyAny>]) -> PyResult<PartitionData> {
    let mut schema = None;
    let mut batches = Vec::new();
    for piece in pieces {
        let capsule = piece.call_method0(pyo3::intern!(piece.py(), "__arrow_c_stream__"))?;
        let capsule = capsule
            .cast::<PyCapsule>()
            .map_err(|_| PyTypeError::new_err("__arrow_c_stream__ did not return a capsule"))?;
        let pointer = capsule.pointer_checked(Some(CAPSULE_NAME))?.as_ptr().cast::<FFI_ArrowArrayStream>();
        // SAFETY: a capsule of that name holds a valid stream (Arrow PyCapsule interface), which is moved
        // out of it here, once, while the GIL is held; the capsule's destructor finds it released.
        let reader = unsafe { RecordBatchStreamReader::from_raw(pointer) }.map_err(invalid)?;
        schema.get_or_insert_with(|| reader.schema());
        for batch in reader {
            batches.push(batch.map_err(invalid)?);
        }
    }
    let schema = schema.ok_or_else(|| PyValueError::new_err("a partition needs at least one piece"))?;
    PartitionData::try_new(schema, batches).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("not a usable Arrow stream: {error}"))
}
