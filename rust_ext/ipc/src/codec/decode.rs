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

use super::{Seals, TicketHeader, guarded, wire::FlightMessage};
use crate::{
    CodecError, PartitionData, Ticket,
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

    /// Takes a message that is not a schema, and that was found sound if its origin is sealed.
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

    /// The partition, whose size is known.
    pub(crate) fn finish_with(self, size_bytes: u64) -> PartitionData {
        PartitionData::from_parts(self.schema, self.batches, size_bytes)
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

/// Decodes the sealed messages of one partition, whose seals must fit.
struct SealedDecoder {
    seals: Seals,
    decoder: PartitionDecoder,
}

impl SealedDecoder {
    /// True for the metadata of a message that begins a sealed partition.
    fn begins_with(app_metadata: &[u8]) -> bool {
        app_metadata.len() == TicketHeader::BYTES + Seals::BYTES
    }

    /// Checks the message that begins the partition of this ticket.
    fn check_schema(ticket: &Ticket, message: &FlightMessage) -> Result<Seals, CodecError> {
        let (metadata, seal) = split_seal(&message.app_metadata)?;
        let mut seals = Seals::of(ticket);
        seals.check(&message.header, metadata, message.body_checksum, seal)?;
        Ok(seals)
    }

    fn new(origin: Origin, seals: Seals, schema: SchemaRef) -> Self {
        Self { seals, decoder: PartitionDecoder::new(origin, schema) }
    }

    /// Takes a message that is not a schema.
    fn add(&mut self, message: &FlightMessage) -> Result<(), CodecError> {
        let (metadata, seal) = split_seal(&message.app_metadata)?;
        self.seals.check(&message.header, metadata, message.body_checksum, seal)?;
        self.decoder.add(&message.header, &message.body)
    }

    fn finish(self) -> Result<PartitionData, CodecError> {
        self.decoder.finish()
    }
}

/// The metadata of a sealed message, and its seal.
fn split_seal(app_metadata: &[u8]) -> Result<(&[u8], &[u8]), CodecError> {
    let at = app_metadata.len().checked_sub(Seals::BYTES).ok_or(CodecError::Damaged)?;
    Ok(app_metadata.split_at(at))
}

/// Decodes a DoPut: of our own client, whose messages are sealed, or of another one, whose arrays are validated.
pub struct PutDecoder(Put);

enum Put {
    Sealed(SealedDecoder),
    Anybody(PartitionDecoder),
}

impl PutDecoder {
    /// Takes the first message, which must be the schema.
    pub fn begin(ticket: &Ticket, message: &FlightMessage) -> Result<Self, CodecError> {
        let is_sealed = SealedDecoder::begins_with(&message.app_metadata);
        let seals = if is_sealed { Some(SealedDecoder::check_schema(ticket, message)?) } else { None };
        let schema = schema_of(&message.header)?
            .ok_or_else(|| CodecError::Malformed("a DoPut must begin with its schema".into()))?;
        Ok(Self(match seals {
            Some(seals) => Put::Sealed(SealedDecoder::new(Origin::Sealed, seals, schema)),
            None => Put::Anybody(PartitionDecoder::new(Origin::Anybody, schema)),
        }))
    }

    /// Takes a message that is not a schema.
    pub fn add(&mut self, message: &FlightMessage) -> Result<(), CodecError> {
        match &mut self.0 {
            Put::Sealed(decoder) => decoder.add(message),
            Put::Anybody(decoder) => decoder.add(&message.header, &message.body),
        }
    }

    /// The partition.
    pub fn finish(self) -> Result<PartitionData, CodecError> {
        match self.0 {
            Put::Sealed(decoder) => decoder.finish(),
            Put::Anybody(decoder) => decoder.finish(),
        }
    }
}

/// Decodes an answer of our own server: for each ticket a schema message, then its batches, all of them sealed.
pub struct AnswerDecoder<'a> {
    origin: Origin,
    tickets: &'a [Ticket],
    partitions: Vec<Option<PartitionData>>,
    current: Option<(TicketHeader, SealedDecoder)>,
    /// Partitions that have begun; they come in the order of their tickets.
    begun: usize,
    /// The last schema message: neighbours mostly have the same.
    last_schema: Option<(Bytes, SchemaRef)>,
}

impl<'a> AnswerDecoder<'a> {
    /// A decoder of the answer to a request for these tickets. Arrays of [`Origin::Anybody`] are validated: a worker
    /// that was taken over makes seals that fit.
    pub fn new(tickets: &'a [Ticket], origin: Origin) -> Self {
        let partitions = vec![None; tickets.len()];
        Self { origin, tickets, partitions, current: None, begun: 0, last_schema: None }
    }

    /// The ticket whose partition is being decoded: the last one that began, or the first.
    pub fn current_ticket(&self) -> Option<&Ticket> {
        self.tickets.get(self.begun.saturating_sub(1))
    }

    /// Takes the next message of the answer.
    pub fn add(&mut self, message: FlightMessage) -> Result<(), CodecError> {
        // Only the metadata of schema messages are that long; were they damaged, no seal would fit.
        if SealedDecoder::begins_with(&message.app_metadata) {
            return self.begin(message);
        }
        let (_, current) =
            self.current.as_mut().ok_or_else(|| CodecError::Malformed("a batch came before any schema".into()))?;
        current.add(&message)
    }

    fn begin(&mut self, message: FlightMessage) -> Result<(), CodecError> {
        self.end_current()?;
        self.begun += 1;
        let (metadata, _) = split_seal(&message.app_metadata)?;
        let header = TicketHeader::from_bytes(metadata)?;
        let ticket = usize::try_from(header.index).ok().and_then(|index| self.tickets.get(index));
        let ticket = ticket.ok_or_else(|| {
            CodecError::Malformed(format!("ticket {} of {} was answered", header.index, self.tickets.len()))
        })?;
        let seals = SealedDecoder::check_schema(ticket, &message)?;
        let schema = match &self.last_schema {
            Some((last, schema)) if *last == message.header => schema.clone(),
            _ => {
                let schema = schema_of(&message.header)?
                    .ok_or_else(|| CodecError::Malformed("a partition must begin with its schema".into()))?;
                self.last_schema = Some((message.header, schema.clone()));
                schema
            }
        };
        self.current = Some((header, SealedDecoder::new(self.origin, seals, schema)));
        Ok(())
    }

    fn end_current(&mut self) -> Result<(), CodecError> {
        let Some((header, SealedDecoder { decoder, .. })) = self.current.take() else {
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
            _ => Err(CodecError::Malformed(format!("ticket {index} was answered twice"))),
        }
    }

    /// All partitions, in the order of their tickets.
    pub fn finish(mut self) -> Result<Vec<PartitionData>, CodecError> {
        self.end_current()?;
        let total = self.partitions.len();
        let answered: Vec<_> = self.partitions.into_iter().flatten().collect();
        if answered.len() == total {
            return Ok(answered);
        }
        Err(CodecError::Malformed(format!("only {} of {total} tickets were answered", answered.len())))
    }
}
