//! Partitions to and from Python by the Arrow C interfaces, without copies.

use std::{ffi::CStr, sync::Arc};

use arrow_array::{
    Array, RecordBatch, RecordBatchIterator, RecordBatchOptions, RecordBatchReader, StructArray,
    ffi::{self, FFI_ArrowArray, FFI_ArrowSchema},
    ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader},
};
use arrow_schema::{Schema, SchemaRef};
use daft_k8s_ipc::PartitionData;
use parking_lot::Mutex;
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::PyCapsule,
};

const STREAM: &CStr = c"arrow_array_stream";
const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";

/// One partition as an Arrow C stream; may be consumed once.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct ArrowStream {
    data: Mutex<Option<PartitionData>>,
    #[pyo3(get)]
    num_rows: u64,
    #[pyo3(get)]
    size_bytes: u64,
    #[pyo3(get)]
    num_batches: usize,
}

impl From<PartitionData> for ArrowStream {
    fn from(data: PartitionData) -> Self {
        let (num_rows, size_bytes, num_batches) = (data.num_rows as u64, data.size_bytes, data.batches.len());
        Self { data: Mutex::new(Some(data)), num_rows, size_bytes, num_batches }
    }
}

impl ArrowStream {
    fn take(&self) -> PyResult<PartitionData> {
        let data = self.data.lock().take();
        data.ok_or_else(|| PyValueError::new_err("this Arrow stream was consumed already"))
    }
}

#[pymethods]
impl ArrowStream {
    /// A stream of these record batches, all of one schema.
    #[staticmethod]
    fn of_batches(schema: &Bound<'_, PyAny>, batches: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let schema = import_schema(schema)?;
        let batches = batches.iter().map(|batch| import_batch(batch, &schema)).collect::<PyResult<_>>()?;
        Ok(partition_of(schema, batches)?.into())
    }

    /// Consumes the stream for its record batches.
    fn take_batches(&self) -> PyResult<Vec<ArrowBatch>> {
        Ok(self.take()?.batches.iter().cloned().map(ArrowBatch).collect())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface allows a producer to ignore the request.
        drop(requested_schema);
        let data = self.take()?;
        let batches: Vec<_> = data.batches.iter().cloned().map(Ok).collect();
        let reader = RecordBatchIterator::new(batches, data.schema);
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(Box::new(reader)), STREAM)
    }
}

/// A record batch as an Arrow C array of structs.
#[pyclass(module = "daft_k8s._native", frozen)]
pub(crate) struct ArrowBatch(RecordBatch);

#[pymethods]
impl ArrowBatch {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        drop(requested_schema); // as above
        let schema = FFI_ArrowSchema::try_from(self.0.schema_ref().as_ref()).map_err(invalid)?;
        let array = FFI_ArrowArray::new(&StructArray::from(self.0.clone()).to_data());
        Ok((PyCapsule::new_with_value(py, schema, SCHEMA)?, PyCapsule::new_with_value(py, array, ARRAY)?))
    }
}

/// The partition that these pieces make together; their schemas must be the same.
pub(crate) fn import(pieces: &[Bound<'_, PyAny>]) -> PyResult<PartitionData> {
    let mut schema = None;
    let mut batches = Vec::new();
    for piece in pieces {
        if let Ok(stream) = piece.cast::<ArrowStream>() {
            let data = stream.get().take()?;
            batches.extend(data.batches.iter().cloned());
            schema.get_or_insert(data.schema);
            continue;
        }
        let capsule = piece.call_method0(pyo3::intern!(piece.py(), "__arrow_c_stream__"))?;
        let pointer = pointer_of::<FFI_ArrowArrayStream>(&capsule, STREAM)?;
        // SAFETY: a capsule of that name holds a valid stream (Arrow PyCapsule interface), which is moved
        // out of it here, once, while the GIL is held; the capsule's destructor finds it released.
        let reader = unsafe { RecordBatchStreamReader::from_raw(pointer) }.map_err(invalid)?;
        schema.get_or_insert_with(|| reader.schema());
        for batch in reader {
            batches.push(batch.map_err(invalid)?);
        }
    }
    let schema = schema.ok_or_else(|| PyValueError::new_err("a partition needs at least one piece"))?;
    partition_of(schema, batches)
}

fn partition_of(schema: SchemaRef, batches: Vec<RecordBatch>) -> PyResult<PartitionData> {
    PartitionData::try_new(schema, batches).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn import_schema(source: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let capsule = source.call_method0(pyo3::intern!(source.py(), "__arrow_c_schema__"))?;
    let pointer = pointer_of::<FFI_ArrowSchema>(&capsule, SCHEMA)?;
    // SAFETY: a capsule of that name holds a valid schema (Arrow PyCapsule interface), which it keeps.
    let schema = unsafe { &*pointer };
    Ok(Arc::new(Schema::try_from(schema).map_err(invalid)?))
}

fn import_batch(source: &Bound<'_, PyAny>, schema: &SchemaRef) -> PyResult<RecordBatch> {
    let exported = source.call_method0(pyo3::intern!(source.py(), "__arrow_c_array__"))?;
    let (schema_capsule, array_capsule): (Bound<'_, PyAny>, Bound<'_, PyAny>) = exported.extract()?;
    let array_schema = pointer_of::<FFI_ArrowSchema>(&schema_capsule, SCHEMA)?;
    let array = pointer_of::<FFI_ArrowArray>(&array_capsule, ARRAY)?;
    // SAFETY: capsules of these names hold a valid schema and array (Arrow PyCapsule interface). The array is moved
    // out of its capsule here, once, while the GIL is held; the capsule's destructor finds it released.
    let data = unsafe { ffi::from_ffi(FFI_ArrowArray::from_raw(array), &*array_schema) };
    let mut data = data.map_err(invalid)?;
    data.align_buffers();
    if !matches!(data.data_type(), arrow_schema::DataType::Struct(_)) || data.null_count() > 0 {
        return Err(invalid("a record batch is an array of structs without nulls"));
    }
    let rows = RecordBatchOptions::default().with_row_count(Some(data.len()));
    let (_, columns, _) = StructArray::from(data).into_parts();
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &rows).map_err(invalid)
}

fn pointer_of<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> PyResult<*mut T> {
    let capsule = capsule
        .cast::<PyCapsule>()
        .map_err(|_| PyTypeError::new_err(format!("{name:?} is not exported as a capsule")))?;
    Ok(capsule.pointer_checked(Some(name))?.as_ptr().cast::<T>())
}

fn invalid(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("not a usable Arrow stream: {error}"))
}
