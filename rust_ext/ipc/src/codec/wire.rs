//! IPC messages in gRPC, as Flight puts them: one protobuf `FlightData` in each length-prefixed message.
//!
//! Our own messages are sealed: the seal stands in `app_metadata`, after the body, whose checksum is known only then.
//!
//! A body that is too large for one (a single huge row) goes into several. The first announces the whole length in a
//! field of our own, the next ones carry only their parts.

use std::collections::VecDeque;

use arrow_buffer::Buffer;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc32fast::Hasher;

use super::{Seals, TicketHeader, body::BodyBuffer, encode::IpcMessage};
use crate::{CodecError, Ticket};

/// Flag and length before each gRPC message.
pub const PREFIX_BYTES: usize = 5;

const DESCRIPTOR: u32 = 1;
const DATA_HEADER: u32 = 2;
const APP_METADATA: u32 = 3;
const DATA_BODY: u32 = 1000;
/// Our own: the length of a body of which this message carries the first part.
const WHOLE_BODY_BYTES: u32 = 1001;
const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

/// Pieces from this size on go out as they are; smaller ones are copied together.
const SHARE_BYTES: usize = 16 << 10;
/// Bytes that are copied together before they go out.
const GATHER_BYTES: usize = 64 << 10;
/// Larger pieces go out in parts, so that sent memory is let go early. Parts of 1 MiB were slower: each wakes a task, and
/// on a busy machine that takes longer than to send the part.
const PART_BYTES: usize = 8 << 20;

/// Turns messages into the chunks of an HTTP body, and seals them on their way.
pub struct FlightWriter {
    max_body_bytes: usize,
    items: VecDeque<Item>,
    gathered: BytesMut,
    is_flushing: bool,
    seals: Seals,
    body_checksum: Hasher,
}

/// A step of writing messages.
enum Item {
    /// Bytes that no checksum covers, or one that is known.
    Plain(Bytes),
    /// A part of a body.
    Body(Bytes),
    /// A partition begins, whose first seal is known.
    Begin(Seals),
    /// The message with this header is complete but for its seal.
    Seal(Bytes),
}

impl FlightWriter {
    /// Bodies over `max_body_bytes` are sent in several messages.
    pub fn new(max_body_bytes: usize) -> Self {
        Self {
            max_body_bytes: max_body_bytes.max(1),
            items: VecDeque::new(),
            gathered: BytesMut::new(),
            is_flushing: false,
            seals: Seals::none(),
            body_checksum: Hasher::new(),
        }
    }

    /// Appends the message that begins a partition: its schema, with what belongs to it.
    pub fn schema(&mut self, ticket: &Ticket, header: &Buffer, ticket_header: TicketHeader, descriptor: &[u8]) {
        let mut seals = Seals::of(ticket);
        let mut metadata = ticket_header.to_bytes().to_vec();
        let seal = seals.next(header, &metadata, crc32fast::hash(&[]));
        metadata.extend_from_slice(&seal);
        self.items.push_back(Item::Begin(seals));
        self.fields(descriptor, header, &metadata, Body::NONE);
    }

    /// Appends a message with a body.
    pub fn data(&mut self, message: IpcMessage) {
        let mut to_come = message.body_bytes;
        let mut room = to_come.min(self.max_body_bytes);
        let whole_bytes = (room < to_come).then_some(to_come);
        self.fields(&[], &message.header, &[], Body { bytes: room, whole_bytes, is_sealed: room == to_come });
        for piece in message.body {
            let mut piece = Bytes::from(piece);
            while !piece.is_empty() {
                if room == 0 {
                    room = to_come.min(self.max_body_bytes);
                    self.fields(&[], &[], &[], Body { bytes: room, whole_bytes: None, is_sealed: room == to_come });
                }
                let part = piece.split_to(piece.len().min(room));
                room -= part.len();
                to_come -= part.len();
                self.items.push_back(Item::Body(part));
            }
        }
        self.items.push_back(Item::Seal(Bytes::from(message.header)));
    }

    fn fields(&mut self, descriptor: &[u8], header: &[u8], app_metadata: &[u8], body: Body) {
        let fields = [(DESCRIPTOR, descriptor), (DATA_HEADER, header), (APP_METADATA, app_metadata)];
        let mut length: usize = fields.iter().map(|(number, value)| field_bytes(*number, value.len())).sum();
        length += field_bytes(DATA_BODY, body.bytes);
        if let Some(bytes) = body.whole_bytes {
            length += varint_bytes(u64::from(WHOLE_BODY_BYTES << 3)) + varint_bytes(bytes as u64);
        }
        let mut out = BytesMut::with_capacity(length - body.bytes + PREFIX_BYTES);
        if body.is_sealed {
            length += field_bytes(APP_METADATA, Seals::BYTES);
        }
        out.put_u8(0);
        // Cannot be cut off: no message carries more than `max_body_bytes` of a body.
        out.put_u32(length as u32);
        for (number, value) in fields {
            if !value.is_empty() {
                put_tag(&mut out, number, value.len());
                out.put_slice(value);
            }
        }
        if let Some(bytes) = body.whole_bytes {
            put_varint(&mut out, u64::from(WHOLE_BODY_BYTES << 3 | VARINT));
            put_varint(&mut out, bytes as u64);
        }
        if body.bytes > 0 {
            put_tag(&mut out, DATA_BODY, body.bytes);
        }
        self.items.push_back(Item::Plain(out.freeze()));
    }

    /// Lets go of the last bytes, too: nothing comes after them.
    pub fn flush(&mut self) {
        self.is_flushing = true;
    }

    /// The next chunk. `None` once all but a few bytes were taken; after [`FlightWriter::flush`] these, too.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        while self.gathered.len() < GATHER_BYTES {
            match self.items.pop_front() {
                None if self.is_flushing && !self.gathered.is_empty() => break,
                None => return None,
                Some(Item::Plain(bytes)) => self.gathered.extend_from_slice(&bytes),
                Some(Item::Body(bytes)) if bytes.len() < SHARE_BYTES => {
                    self.body_checksum.update(&bytes);
                    self.gathered.extend_from_slice(&bytes);
                }
                Some(Item::Body(mut bytes)) => {
                    if !self.gathered.is_empty() {
                        self.items.push_front(Item::Body(bytes));
                        break;
                    }
                    let part = bytes.split_to(bytes.len().min(PART_BYTES));
                    if !bytes.is_empty() {
                        self.items.push_front(Item::Body(bytes));
                    }
                    self.body_checksum.update(&part);
                    return Some(part);
                }
                Some(Item::Begin(seals)) => self.seals = seals,
                Some(Item::Seal(header)) => {
                    let checksum = std::mem::take(&mut self.body_checksum).finalize();
                    let seal = self.seals.next(&header, &[], checksum);
                    put_tag(&mut self.gathered, APP_METADATA, seal.len());
                    self.gathered.put_slice(&seal);
                }
            }
        }
        Some(self.gathered.split().freeze())
    }
}

/// The part of a body in one message.
struct Body {
    bytes: usize,
    /// The length of the body, if more of it follows.
    whole_bytes: Option<usize>,
    /// A seal follows the bytes.
    is_sealed: bool,
}

impl Body {
    const NONE: Self = Self { bytes: 0, whole_bytes: None, is_sealed: false };
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
pub fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

/// One `FlightData` message.
#[derive(Debug, Default)]
pub struct FlightMessage {
    /// The encoded `FlightDescriptor`, empty but in the first message of a DoPut.
    pub descriptor: Bytes,
    pub(super) header: Bytes,
    pub(super) app_metadata: Bytes,
    pub(super) body: Buffer,
    /// The CRC-32 of the body as it came.
    pub(super) body_checksum: u32,
}

/// Puts messages together from chunks that end anywhere; bodies are copied once, to where they stay.
pub struct FlightReader {
    max_message_bytes: usize,
    input: Bytes,
    message: FlightMessage,
    /// Bytes of the message that have not been looked at, without those of the current field.
    remaining: usize,
    /// The whole length, announced by the first message of a body that goes on in the next ones.
    whole_bytes: Option<usize>,
    /// A body whose next part is in a message to come.
    unfinished: Option<BodyBuffer>,
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
    Body {
        body: BodyBuffer,
        /// Bytes of it still to come in this message.
        missing: usize,
    },
}

/// The most that a field's tag and length can take.
const LONGEST_TAG_BYTES: usize = 20;

impl FlightReader {
    /// Refuses larger messages.
    pub fn new(max_message_bytes: usize) -> Self {
        Self {
            max_message_bytes,
            input: Bytes::new(),
            message: FlightMessage::default(),
            remaining: 0,
            whole_bytes: None,
            unfinished: None,
            state: State::Prefix,
        }
    }

    /// Appends a chunk. All messages are to be taken before the next one.
    pub fn push(&mut self, chunk: Bytes) {
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
    pub fn next_message(&mut self) -> Result<Option<FlightMessage>, CodecError> {
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
                        if self.unfinished.is_some() {
                            continue;
                        }
                        self.whole_bytes = None;
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
                State::Body { body, missing } => {
                    let mut part = self.input.split_to((*missing).min(self.input.len()));
                    *missing -= part.len();
                    body.fill(&mut part);
                    if *missing > 0 {
                        return Ok(None);
                    }
                    if let State::Body { body, .. } = std::mem::replace(&mut self.state, State::Tag) {
                        if body.missing() > 0 {
                            self.unfinished = Some(body);
                        } else {
                            (self.message.body, self.message.body_checksum) = body.finish();
                        }
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
        let mut value = 0;
        let length = match kind {
            VARINT => {
                value = varint(&mut head)?;
                0
            }
            1 => 8,
            LENGTH_DELIMITED => usize::try_from(varint(&mut head)?).map_err(|_| malformed())?,
            5 => 4,
            _ => return Err(malformed()),
        };
        let consumed = head_bytes - head.len();
        self.input.advance(consumed);
        self.remaining = (self.remaining - consumed).checked_sub(length).ok_or_else(malformed)?;
        if number == WHOLE_BODY_BYTES && kind == VARINT {
            self.whole_bytes = Some(usize::try_from(value).map_err(|_| malformed())?);
        }
        // Fields that we do not know are read and dropped.
        let number = if kind == LENGTH_DELIMITED { number } else { 0 };
        if number == DATA_BODY {
            let body = match self.unfinished.take() {
                Some(body) => body,
                None => BodyBuffer::new(self.whole_bytes.take().unwrap_or(length))?,
            };
            if length > body.missing() {
                return Err(malformed());
            }
            self.state = State::Body { body, missing: length };
        } else if self.unfinished.is_some() {
            return Err(CodecError::Malformed("another message began within the parts of a body".into()));
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
    pub fn finish(&self) -> Result<(), CodecError> {
        if matches!(self.state, State::Prefix) && self.input.is_empty() && self.unfinished.is_none() {
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
