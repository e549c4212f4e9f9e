//! Arrow IPC messages to record batches that lie in the messages' bodies.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::{
    MessageHeader,
    convert::try_fb_to_schema,
    reader::{RecordBatchDecoder, read_dictionary_impl},
    root_as_message,
};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use super::{TicketHeader, guarded, wire::FlightMessage};
use crate::{
    CodecError, PartitionData,
    trusted::{Origin, skip_validation},
};

/// Decodes the messages of one partition.
pub(crate) struct PartitionDecoder {
    origin: Origin,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    batches: Vec<RecordBatch>,
    num_rows: usize,
}

impl PartitionDecoder {
    pub(crate) fn new(origin: Origin, schema: SchemaRef) -> Self {
        Self { origin, schema, dictionaries: HashMap::new(), batches: Vec::new(), num_rows: 0 }
    }

    /// Takes a message that is not a schema.
    pub(crate) fn add(&mut self, header: &[u8], body: &Buffer) -> Result<(), CodecError> {
        guarded(|| {
            let message = root_as_message(header).map_err(|error| CodecError::Malformed(error.to_string()))?;
            let body_bytes = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
            if body_bytes > body.len() {
                return Err(CodecError::Malformed(format!(
                    "a message announces {body_bytes} bytes and brings {}",
                    body.len()
                )));
            }
            let version = message.version();
            if let Some(batch) = message.header_as_record_batch() {
                let batch =
                    RecordBatchDecoder::try_new(body, batch, self.schema.clone(), &self.dictionaries, &version)?
                        .with_skip_validation(skip_validation(self.origin))
                        .read_record_batch()?;
                self.num_rows += batch.num_rows();
                self.batches.push(batch);
                Ok(())
            } else if let Some(dictionary) = message.header_as_dictionary_batch() {
                let flag = skip_validation(self.origin);
                read_dictionary_impl(body, dictionary, &self.schema, &mut self.dictionaries, &version, false, flag)?;
                Ok(())
            } else {
                Err(CodecError::Malformed(format!("unexpected message {:?}", message.header_type())))
            }
        })
    }

    /// The partition, its size counted.
    pub(crate) fn finish(self) -> Result<PartitionData, CodecError> {
        PartitionData::try_new(self.schema, self.batches)
    }
}

/// The schema of a message, if it carries one.
pub(crate) fn schema_of(header: &[u8]) -> Result<Option<SchemaRef>, CodecError> {
    guarded(|| {
        let message = root_as_message(header).map_err(|error| CodecError::Malformed(error.to_string()))?;
        if message.header_type() != MessageHeader::Schema {
            return Ok(None);
        }
        let schema = message
            .header_as_schema()
            .ok_or_else(|| CodecError::Malformed("a schema message without a schema".into()))?;
        Ok(Some(Arc::new(try_fb_to_schema(schema)?)))
    })
}

/// Decodes an answer of our own server: for each ticket a schema message, then its batches.
pub(crate) struct AnswerDecoder {
    partitions: Vec<Option<PartitionData>>,
    current: Option<(TicketHeader, PartitionDecoder)>,
    /// The last schema message: neighbours mostly have the same.
    last_schema: Option<(Bytes, SchemaRef)>,
}

impl AnswerDecoder {
    pub(crate) fn new(tickets: usize) -> Self {
        Self { partitions: vec![None; tickets], current: None, last_schema: None }
    }

    pub(crate) fn add(&mut self, message: FlightMessage) -> Result<(), CodecError> {
        if let Some((header, schema)) = &self.last_schema
            && *header == message.header
        {
            let schema = schema.clone();
            return self.begin(&message.app_metadata, schema);
        }
        // Only schema messages carry application metadata.
        if message.app_metadata.is_empty() {
            let (_, current) =
                self.current.as_mut().ok_or_else(|| CodecError::Malformed("a batch came before any schema".into()))?;
            return current.add(&message.header, &message.body);
        }
        let schema = schema_of(&message.header)?
            .ok_or_else(|| CodecError::Malformed("a partition must begin with its schema".into()))?;
        self.last_schema = Some((message.header, schema.clone()));
        self.begin(&message.app_metadata, schema)
    }

    fn begin(&mut self, app_metadata: &[u8], schema: SchemaRef) -> Result<(), CodecError> {
        self.end_current()?;
        let header = TicketHeader::from_bytes(app_metadata)?;
        self.current = Some((header, PartitionDecoder::new(Origin::OwnEncoder, schema)));
        Ok(())
    }

    fn end_current(&mut self) -> Result<(), CodecError> {
        let Some((header, decoder)) = self.current.take() else {
            return Ok(());
        };
        let index = header.index;
        if decoder.num_rows as u64 != header.num_rows {
            let text = format!(
                "the partition of ticket {index} has {} rows, {} were announced",
                decoder.num_rows, header.num_rows
            );
            return Err(CodecError::Malformed(text));
        }
        let place = usize::try_from(index).ok().and_then(|index| self.partitions.get_mut(index));
        match place {
            Some(place) if place.is_none() => {
                *place = Some(PartitionData::from_parts(decoder.schema, decoder.batches, header.size_bytes));
                Ok(())
            }
            Some(_) => Err(CodecError::Malformed(format!("ticket {index} was answered twice"))),
            None => Err(CodecError::Malformed(format!("ticket {index} was not asked for"))),
        }
    }

    /// All partitions, in the order of their tickets.
    pub(crate) fn finish(mut self) -> Result<Vec<PartitionData>, CodecError> {
        self.end_current()?;
        let total = self.partitions.len();
        let answered: Vec<_> = self.partitions.into_iter().flatten().collect();
        if answered.len() == total {
            return Ok(answered);
        }
        Err(CodecError::Malformed(format!("only {} of {total} tickets were answered", answered.len())))
    }
}
