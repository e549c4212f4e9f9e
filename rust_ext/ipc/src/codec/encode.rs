//! Record batches to Arrow IPC messages whose bodies are the batches' own buffers.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::{
    MessageHeader, root_as_message,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamEncoder},
};
use arrow_schema::{DataType, Schema, SchemaRef};

use super::guarded;
use crate::CodecError;

/// One IPC message: its flatbuffer, and its body in pieces (with the padding between them).
pub struct IpcMessage {
    pub(super) header: Buffer,
    pub(super) body: Vec<Buffer>,
    pub(super) body_bytes: usize,
    kind: MessageHeader,
}

/// Encodes partitions one after the other; those of one schema share the schema's message.
pub struct Encoder {
    max_body_bytes: usize,
    current: Option<SchemaEncoder>,
}

struct SchemaEncoder {
    schema: SchemaRef,
    message: Buffer,
    stream: StreamEncoder,
    has_dictionaries: bool,
}

impl Encoder {
    /// Bodies over `max_body_bytes` are split by rows; a single row stays whole.
    pub fn new(max_body_bytes: usize) -> Self {
        Self { max_body_bytes, current: None }
    }

    /// Begins a partition. Returns the flatbuffer of its schema message.
    pub fn begin(&mut self, schema: &SchemaRef) -> Result<Buffer, CodecError> {
        let current = match self.current.take() {
            // Dictionaries that were already sent are not sent again, so each partition needs an
            // encoder that has sent none.
            Some(current)
                if !current.has_dictionaries && (Arc::ptr_eq(&current.schema, schema) || current.schema == *schema) =>
            {
                current
            }
            _ => SchemaEncoder::try_new(schema)?,
        };
        let message = current.message.clone();
        self.current = Some(current);
        Ok(message)
    }

    /// The messages of one batch: dictionaries that changed, then the rows.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<IpcMessage>, CodecError> {
        let max_body_bytes = self.max_body_bytes;
        let current =
            self.current.as_mut().ok_or_else(|| CodecError::Malformed("a batch comes after its schema".into()))?;
        let mut messages = Vec::new();
        guarded(|| current.encode(batch, max_body_bytes, &mut messages))?;
        Ok(messages)
    }
}

impl SchemaEncoder {
    fn try_new(schema: &SchemaRef) -> Result<Self, CodecError> {
        guarded(|| {
            let stream = StreamEncoder::try_new(schema)?;
            let mut dictionaries = DictionaryTracker::new(false);
            let encoded = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
                schema,
                &mut dictionaries,
                &IpcWriteOptions::default(),
            );
            Ok(Self {
                schema: schema.clone(),
                message: Buffer::from_vec(encoded.ipc_message),
                stream,
                has_dictionaries: has_dictionaries(schema),
            })
        })
    }

    fn encode(
        &mut self,
        batch: &RecordBatch,
        max_body_bytes: usize,
        out: &mut Vec<IpcMessage>,
    ) -> Result<(), CodecError> {
        let mut messages = split_messages(self.stream.encode(batch)?)?;
        let rows_are_too_large = messages.last().is_some_and(|message| message.body_bytes > max_body_bytes);
        if rows_are_too_large && batch.num_rows() > 1 {
            messages.pop();
        }
        for message in messages {
            if message.kind == MessageHeader::Schema {
                continue;
            }
            out.push(message);
        }
        if rows_are_too_large && batch.num_rows() > 1 {
            let half = batch.num_rows() / 2;
            self.encode(&batch.slice(0, half), max_body_bytes, out)?;
            self.encode(&batch.slice(half, batch.num_rows() - half), max_body_bytes, out)?;
        }
        Ok(())
    }
}

fn has_dictionaries(schema: &Schema) -> bool {
    schema.flattened_fields().iter().any(|field| matches!(field.data_type(), DataType::Dictionary(_, _)))
}

/// Takes an encapsulated stream apart: marker and length, flatbuffer, padding, body pieces, and so on.
fn split_messages(buffers: Vec<Buffer>) -> Result<Vec<IpcMessage>, CodecError> {
    let unexpected = || CodecError::Malformed("the Arrow encoder's output has an unexpected form".into());
    let mut buffers = buffers.into_iter().filter(|buffer| !buffer.is_empty());
    let mut messages = Vec::new();
    while let Some(prefix) = buffers.next() {
        let (marker, length) = prefix.split_first_chunk::<4>().ok_or_else(unexpected)?;
        let length = u32::from_le_bytes(length.try_into().map_err(|_| unexpected())?) as usize;
        if *marker != [0xff; 4] {
            return Err(unexpected());
        }
        let header = buffers.next().ok_or_else(unexpected)?;
        take(&mut buffers, length.checked_sub(header.len()).ok_or_else(unexpected)?)?;
        let message = root_as_message(&header).map_err(|error| CodecError::Malformed(error.to_string()))?;
        let kind = message.header_type();
        let body_bytes = usize::try_from(message.bodyLength()).map_err(|_| unexpected())?;
        let body = take(&mut buffers, body_bytes)?;
        messages.push(IpcMessage { header, body, body_bytes, kind });
    }
    Ok(messages)
}

/// The next pieces, which must be `bytes` together.
fn take(buffers: &mut impl Iterator<Item = Buffer>, bytes: usize) -> Result<Vec<Buffer>, CodecError> {
    let mut pieces = Vec::new();
    let mut missing = bytes;
    while missing > 0 {
        let piece = buffers
            .next()
            .filter(|piece| piece.len() <= missing)
            .ok_or_else(|| CodecError::Malformed("the Arrow encoder's output has an unexpected length".into()))?;
        missing -= piece.len();
        pieces.push(piece);
    }
    Ok(pieces)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, types::Int8Type};

    use super::*;

    #[test]
    fn bodies_over_the_limit_are_split_by_rows() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
        let mut encoder = Encoder::new(10_000);
        encoder.begin(&batch.schema()).unwrap();
        let messages = encoder.encode(&batch).unwrap();
        assert_eq!(messages.len(), 16);
        assert!(messages.iter().all(|message| message.body_bytes <= 10_000));
    }

    #[test]
    fn a_row_over_the_limit_travels_whole() {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..3));
        let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
        let mut encoder = Encoder::new(1);
        encoder.begin(&batch.schema()).unwrap();
        assert_eq!(encoder.encode(&batch).unwrap().len(), 3);
    }

    #[test]
    fn large_values_are_not_copied() {
        let values = Int64Array::from_iter_values(0..100_000);
        let pointer = values.values().as_ptr().cast::<u8>();
        let batch = RecordBatch::try_from_iter([("column", Arc::new(values) as ArrayRef)]).unwrap();
        let mut encoder = Encoder::new(usize::MAX);
        encoder.begin(&batch.schema()).unwrap();
        let messages = encoder.encode(&batch).unwrap();
        assert!(messages[0].body.iter().any(|piece| piece.as_ptr() == pointer));
    }

    #[test]
    fn each_partition_brings_its_dictionaries() {
        let column: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(["a", "b", "a"]));
        let batch = RecordBatch::try_from_iter([("column", column)]).unwrap();
        let mut encoder = Encoder::new(usize::MAX);
        for _ in 0..2 {
            encoder.begin(&batch.schema()).unwrap();
            assert_eq!(encoder.encode(&batch).unwrap().len(), 2);
            assert_eq!(encoder.encode(&batch).unwrap().len(), 1);
        }
    }
}
