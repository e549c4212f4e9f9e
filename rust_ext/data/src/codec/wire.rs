//! How Flight puts IPC messages into gRPC: one protobuf `FlightData` in each length-prefixed message.

use std::collections::VecDeque;

use arrow_buffer::Buffer;
use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{body::BodyBuffer, encode::IpcMessage};
use crate::CodecError;

/// Flag and length before each gRPC message.
pub(crate) const PREFIX_BYTES: usize = 5;

const DESCRIPTOR: u32 = 1;
const DATA_HEADER: u32 = 2;
const APP_METADATA: u32 = 3;
const DATA_BODY: u32 = 1000;
const LENGTH_DELIMITED: u32 = 2;

/// Pieces from this size on go out as they are; smaller ones are copied together.
const SHARE_BYTES: usize = 16 << 10;
/// How much is copied together before it goes out.
const GATHER_BYTES: usize = 64 << 10;
/// Larger pieces go out in parts, so that sent memory is let go early.
const PART_BYTES: usize = 8 << 20;

/// Turns messages into the chunks of an HTTP body.
#[derive(Default)]
pub(crate) struct FlightWriter {
    gathered: BytesMut,
    ready: VecDeque<Bytes>,
}

impl FlightWriter {
    /// Appends a message without a body: a schema, with what belongs to it.
    pub(crate) fn schema(&mut self, header: &[u8], app_metadata: &[u8], descriptor: &[u8]) {
        self.fields(descriptor, header, app_metadata, 0);
        self.flush_if_full();
    }

    /// Appends a message with a body.
    pub(crate) fn data(&mut self, message: IpcMessage) {
        self.fields(&[], &message.header, &[], message.body_bytes);
        for piece in message.body {
            if piece.len() < SHARE_BYTES {
                self.gathered.extend_from_slice(&piece);
                self.flush_if_full();
            } else {
                self.flush();
                let mut bytes = Bytes::from(piece);
                while bytes.len() > PART_BYTES {
                    self.ready.push_back(bytes.split_to(PART_BYTES));
                }
                self.ready.push_back(bytes);
            }
        }
        self.flush_if_full();
    }

    fn fields(&mut self, descriptor: &[u8], header: &[u8], app_metadata: &[u8], body_bytes: usize) {
        let fields = [(DESCRIPTOR, descriptor), (DATA_HEADER, header), (APP_METADATA, app_metadata)];
        let mut length: usize = fields.iter().map(|(number, value)| field_bytes(*number, value.len())).sum();
        length += field_bytes(DATA_BODY, body_bytes);
        let out = &mut self.gathered;
        out.put_u8(0);
        // Cannot be cut off: the encoder lets no body through that is over 2 GiB.
        out.put_u32(length as u32);
        for (number, value) in fields {
            if !value.is_empty() {
                put_tag(out, number, value.len());
                out.put_slice(value);
            }
        }
        if body_bytes > 0 {
            put_tag(out, DATA_BODY, body_bytes);
        }
    }

    fn flush_if_full(&mut self) {
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
        }
    }

    /// Makes everything ready.
    pub(crate) fn flush(&mut self) {
        if !self.gathered.is_empty() {
            self.ready.push_back(self.gathered.split().freeze());
        }
    }

    /// The next chunk that is ready.
    pub(crate) fn next_chunk(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }
}

fn field_bytes(number: u32, length: usize) -> usize {
    if length == 0 { 0 } else { varint_bytes(u64::from(number << 3)) + varint_bytes(length as u64) + length }
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_tag(out: &mut BytesMut, number: u32, length: usize) {
    put_varint(out, u64::from(number << 3 | LENGTH_DELIMITED));
    put_varint(out, length as u64);
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Puts a gRPC message around an encoded protobuf message.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// One `FlightData` message.
#[derive(Debug, Default)]
pub(crate) struct FlightMessage {
    pub(crate) descriptor: Bytes,
    pub(crate) header: Bytes,
    pub(crate) app_metadata: Bytes,
    pub(crate) body: Buffer,
}

/// Puts messages together from chunks that end anywhere; bodies are copied once, to where they stay.
pub(crate) struct FlightReader {
    max_message_bytes: usize,
    input: Bytes,
    message: FlightMessage,
    /// Bytes of the message that have not been looked at, without those of the current field.
    remaining: usize,
    state: State,
}

enum State {
    Prefix,
    Tag,
    /// A value other than the body, that ends in a later chunk.
    Value {
        number: u32,
        missing: usize,
        value: BytesMut,
    },
    Body(BodyBuffer),
}

/// The most that a field's tag and length can take.
const LONGEST_TAG_BYTES: usize = 20;

impl FlightReader {
    pub(crate) fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            input: Bytes::new(),
            message: FlightMessage::default(),
            remaining: 0,
            state: State::Prefix,
        }
    }

    /// Appends a chunk. All messages are to be taken before the next one.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.input.is_empty() {
            self.input = chunk;
        } else {
            // What is left is less than a field's tag.
            let mut joined = BytesMut::with_capacity(self.input.len() + chunk.len());
            joined.put_slice(&self.input);
            joined.put_slice(&chunk);
            self.input = joined.freeze();
        }
    }

    /// The next message, if it is complete.
    pub(crate) fn next_message(&mut self) -> Result<Option<FlightMessage>, CodecError> {
        loop {
            match &mut self.state {
                State::Prefix => {
                    if self.input.len() < PREFIX_BYTES {
                        return Ok(None);
                    }
                    let compressed = self.input.get_u8() != 0;
                    self.remaining = self.input.get_u32() as usize;
                    if compressed {
                        return Err(CodecError::Malformed("compressed gRPC messages are not supported".into()));
                    }
                    if self.remaining > self.max_message_bytes {
                        return Err(CodecError::TooLarge {
                            bytes: self.remaining as u64,
                            limit_bytes: self.max_message_bytes as u64,
                        });
                    }
                    self.state = State::Tag;
                }
                State::Tag => {
                    if self.remaining == 0 {
                        self.state = State::Prefix;
                        return Ok(Some(std::mem::take(&mut self.message)));
                    }
                    if self.input.len() < self.remaining.min(LONGEST_TAG_BYTES) {
                        return Ok(None);
                    }
                    self.start_field()?;
                }
                State::Value { number, missing, value } => {
                    let taken = self.input.split_to((*missing).min(self.input.len()));
                    value.put_slice(&taken);
                    *missing -= taken.len();
                    if *missing > 0 {
                        return Ok(None);
                    }
                    let (number, value) = (*number, std::mem::take(value).freeze());
                    self.state = State::Tag;
                    self.set(number, value);
                }
                State::Body(body) => {
                    body.fill(&mut self.input);
                    if body.missing() > 0 {
                        return Ok(None);
                    }
                    if let State::Body(body) = std::mem::replace(&mut self.state, State::Tag) {
                        self.message.body = body.finish();
                    }
                }
            }
        }
    }

    fn start_field(&mut self) -> Result<(), CodecError> {
        let before = self.input.len().min(self.remaining);
        let mut head = self.input.slice(..before.min(LONGEST_TAG_BYTES));
        let head_bytes = head.len();
        let tag = u32::try_from(varint(&mut head)?).map_err(|_| malformed())?;
        let (number, kind) = (tag >> 3, tag & 7);
        let length = match kind {
            0 => varint(&mut head).map(|_| 0)?,
            1 => 8,
            LENGTH_DELIMITED => usize::try_from(varint(&mut head)?).map_err(|_| malformed())?,
            5 => 4,
            _ => return Err(malformed()),
        };
        let consumed = head_bytes - head.len();
        self.input.advance(consumed);
        self.remaining = (self.remaining - consumed).checked_sub(length).ok_or_else(malformed)?;
        // Fields that we do not know are read and dropped.
        let number = if kind == LENGTH_DELIMITED { number } else { 0 };
        if number == DATA_BODY {
            self.state = State::Body(BodyBuffer::new(length)?);
        } else if self.input.len() >= length {
            let value = self.input.split_to(length);
            self.set(number, value);
        } else {
            self.state = State::Value { number, missing: length, value: BytesMut::new() };
        }
        Ok(())
    }

    fn set(&mut self, number: u32, value: Bytes) {
        match number {
            DESCRIPTOR => self.message.descriptor = value,
            DATA_HEADER => self.message.header = value,
            APP_METADATA => self.message.app_metadata = value,
            _ => {}
        }
    }

    /// Fails if the last chunk ended within a message.
    pub(crate) fn finish(&self) -> Result<(), CodecError> {
        if matches!(self.state, State::Prefix) && self.input.is_empty() {
            return Ok(());
        }
        Err(CodecError::Malformed("the stream ended within a message".into()))
    }
}

fn varint(bytes: &mut Bytes) -> Result<u64, CodecError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().map_err(|_| malformed())?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(malformed())
}

fn malformed() -> CodecError {
    CodecError::Malformed("a message is not a FlightData".into())
}

#[cfg(test)]
mod tests;
