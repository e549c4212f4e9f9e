//! One partition: record batches of one schema.

use std::{io, sync::Arc};

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;
use arrow_schema::{DataType, SchemaRef, UnionMode};

use crate::{CodecError, codec, trusted::Origin};

/// One partition as Arrow record batches; a clone shares them.
#[derive(Clone, Debug)]
pub struct PartitionData {
    /// The schema, which an empty partition has too.
    pub schema: SchemaRef,
    /// The batches, in order; possibly none, possibly without columns.
    pub batches: Arc<[RecordBatch]>,
    /// Rows of all batches.
    pub num_rows: usize,
    /// Bytes of the values that the batches show: of a slice, its own share of the parent.
    pub size_bytes: u64,
}

impl PartitionData {
    /// A partition of these batches. Fails if the columns of a batch are not those of the schema.
    pub fn try_new(schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, CodecError> {
        for batch in &batches {
            check_columns(&schema, batch)?;
        }
        let size_bytes = batches.iter().map(batch_bytes).sum();
        Ok(Self::from_parts(schema, batches, size_bytes))
    }

    /// As [`PartitionData::try_new`], for batches that were just decoded and whose size is known.
    pub(crate) fn from_parts(schema: SchemaRef, batches: Vec<RecordBatch>, size_bytes: u64) -> Self {
        let num_rows = batches.iter().map(RecordBatch::num_rows).sum();
        Self { schema, batches: batches.into(), num_rows, size_bytes }
    }
}

/// Behind the end of a stream that travels in a message: its CRC-32, little-endian.
const CHECKSUM_BYTES: usize = 4;

impl PartitionData {
    /// The partition as an Arrow IPC stream with its CRC-32 behind its end, for one that is small enough to travel in
    /// a message.
    ///
    /// `None` if that would be longer than `limit_bytes`, or cannot be written.
    pub fn to_stream(&self, limit_bytes: usize) -> Option<Vec<u8>> {
        if self.size_bytes > limit_bytes as u64 {
            return None;
        }
        let mut stream = Vec::new();
        let written = codec::write_stream(self, |bytes| {
            stream.extend_from_slice(bytes);
            let is_too_long = stream.len() + CHECKSUM_BYTES > limit_bytes;
            if is_too_long { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
        });
        written.ok()?;
        stream.extend_from_slice(&crc32fast::hash(&stream).to_le_bytes());
        Some(stream)
    }

    /// The inverse of [`PartitionData::to_stream`]. As it is small, it is validated for every sender.
    pub fn from_stream(stream: &[u8], size_bytes: u64) -> Result<Self, CodecError> {
        let (stream, checksum) = stream.split_last_chunk::<CHECKSUM_BYTES>().ok_or(CodecError::Damaged)?;
        if crc32fast::hash(stream) != u32::from_le_bytes(*checksum) {
            return Err(CodecError::Damaged);
        }
        codec::read_checked_stream(&Buffer::from(stream), size_bytes, Origin::Anybody)
    }
}

fn check_columns(schema: &SchemaRef, batch: &RecordBatch) -> Result<(), CodecError> {
    let found = batch.schema_ref();
    if Arc::ptr_eq(schema, found) {
        return Ok(());
    }
    let same_types = schema.fields().len() == found.fields().len()
        && schema
            .fields()
            .iter()
            .zip(found.fields())
            .all(|(left, right)| left.data_type().equals_datatype(right.data_type()));
    if same_types {
        return Ok(());
    }
    Err(CodecError::Malformed(format!(
        "a batch has the columns {:?}, its partition {:?}",
        found.fields(),
        schema.fields()
    )))
}

/// The bytes of the values that a batch shows.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| array_bytes(&column.to_data())).sum::<usize>() as u64
}

fn array_bytes(data: &ArrayData) -> usize {
    let rows = data.len();
    let nulls = if data.nulls().is_some() { rows.div_ceil(8) } else { 0 };
    let own = match data.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 | DataType::Binary => (rows + 1) * 4 + span::<4>(data).1,
        DataType::LargeUtf8 | DataType::LargeBinary => (rows + 1) * 8 + span::<8>(data).1,
        // Which views point where is not looked up: all the bytes are kept alive by them.
        DataType::Utf8View | DataType::BinaryView => {
            rows * 16 + data.buffers().iter().skip(1).map(|buffer| buffer.len()).sum::<usize>()
        }
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        DataType::List(_) | DataType::Map(_, _) => (rows + 1) * 4 + child_bytes(data, span::<4>(data)),
        DataType::LargeList(_) => (rows + 1) * 8 + child_bytes(data, span::<8>(data)),
        DataType::ListView(_) => rows * 8 + whole_children(data),
        DataType::LargeListView(_) => rows * 16 + whole_children(data),
        DataType::FixedSizeList(_, width) => {
            let width = usize::try_from(*width).unwrap_or(0);
            child_bytes(data, (data.offset() * width, rows * width))
        }
        DataType::Struct(_) | DataType::Union(_, UnionMode::Sparse) => {
            let kinds = if matches!(data.data_type(), DataType::Union(_, _)) { rows } else { 0 };
            kinds + data.child_data().iter().map(|child| slice_bytes(child, data.offset(), rows)).sum::<usize>()
        }
        DataType::Union(_, UnionMode::Dense) => rows * 5 + whole_children(data),
        DataType::Dictionary(key, _) => rows * key.primitive_width().unwrap_or(0) + whole_children(data),
        DataType::RunEndEncoded(_, _) => whole_children(data),
        other => rows * other.primitive_width().unwrap_or(0),
    };
    own + nulls
}

fn whole_children(data: &ArrayData) -> usize {
    data.child_data().iter().map(array_bytes).sum()
}

fn child_bytes(data: &ArrayData, (start, length): (usize, usize)) -> usize {
    data.child_data().first().map_or(0, |child| slice_bytes(child, start, length))
}

fn slice_bytes(data: &ArrayData, start: usize, length: usize) -> usize {
    if start == 0 && length >= data.len() {
        return array_bytes(data);
    }
    let start = start.min(data.len());
    array_bytes(&data.slice(start, length.min(data.len() - start)))
}

/// The start of the values of an array with offsets of `WIDTH` bytes, and their number.
fn span<const WIDTH: usize>(data: &ArrayData) -> (usize, usize) {
    let offset_at = |index: usize| -> usize {
        let bytes = data.buffers().first().and_then(|buffer| buffer.as_slice().get(index * WIDTH..(index + 1) * WIDTH));
        let mut wide = [0; 8];
        if let Some(bytes) = bytes {
            wide[..WIDTH].copy_from_slice(bytes);
        }
        usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX)
    };
    if data.is_empty() {
        return (0, 0);
    }
    let start = offset_at(data.offset());
    (start, offset_at(data.offset() + data.len()).saturating_sub(start))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{Array, ArrayRef, Int64Array, ListArray, StringArray, types::Int64Type};
    use arrow_schema::{Field, Schema};

    use super::*;

    fn batch(array: impl Array + 'static) -> RecordBatch {
        RecordBatch::try_from_iter([("column", Arc::new(array) as ArrayRef)]).unwrap()
    }

    #[test]
    fn slices_of_one_parent_count_only_their_share() {
        let parents = [
            batch(Int64Array::from_iter_values(0..1000)),
            batch(StringArray::from_iter_values((0..1000).map(|number| format!("{number:032}")))),
            batch(ListArray::from_iter_primitive::<Int64Type, _, _>(
                (0..1000).map(|_| Some(vec![Some(1), None, Some(3)])),
            )),
        ];
        for parent in parents {
            let whole = batch_bytes(&parent);
            let parts: u64 = (0..10).map(|part| batch_bytes(&parent.slice(part * 100, 100))).sum();
            assert!(whole >= 8000, "{whole}");
            assert!(parts >= whole && parts <= whole + whole / 50, "{parts} for {whole}");
        }
    }

    #[test]
    fn a_small_partition_survives_as_a_stream_and_a_large_one_is_not_made_into_one() {
        let rows = batch(StringArray::from(vec![Some("a"), None, Some("ccc")]));
        let data = PartitionData::try_new(rows.schema(), vec![rows.clone(), rows.slice(1, 2)]).unwrap();
        let stream = data.to_stream(4096).unwrap();
        let back = PartitionData::from_stream(&stream, data.size_bytes).unwrap();
        assert_eq!((back.schema, back.batches, back.num_rows), (data.schema.clone(), data.batches.clone(), 5));
        assert_eq!(data.to_stream(stream.len() - 1), None);
        assert_eq!(data.to_stream(0), None);
        for at in 0..stream.len() {
            let mut damaged = stream.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(PartitionData::from_stream(&damaged, data.size_bytes).is_err(), "byte {at}");
            assert!(PartitionData::from_stream(&stream[..at], data.size_bytes).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn batches_of_another_schema_are_refused() {
        let schema = Arc::new(Schema::new(vec![Field::new("column", DataType::Int32, true)]));
        assert!(PartitionData::try_new(schema, vec![batch(Int64Array::from(vec![1]))]).is_err());
    }
}
