//! A partition as an Arrow IPC stream: in a file of our own, or in a message.

use std::io;

use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;

use super::{
    decode::{PartitionDecoder, schema_of},
    guarded,
};
use crate::{CodecError, PartitionData, trusted::Origin};

/// Begins each message of a stream, before the length of its header.
const MARKER: [u8; 4] = [0xff; 4];
const LENGTH_BYTES: usize = 4;

/// Encoding failed, or what it was written to.
pub enum StreamError {
    /// The partition cannot be encoded.
    Codec(CodecError),
    /// Its bytes could not be written.
    Io(io::Error),
}

/// Writes the stream. Messages and their buffers start at multiples of 64 bytes.
pub fn write_stream(data: &PartitionData, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), StreamError> {
    let mut write_all =
        |buffers: Vec<Buffer>| buffers.iter().try_for_each(|buffer| write(buffer)).map_err(StreamError::Io);
    let mut encoder = guarded(|| Ok(StreamEncoder::try_new(&data.schema)?)).map_err(StreamError::Codec)?;
    for batch in data.batches.iter() {
        write_all(guarded(|| Ok(encoder.encode(batch)?)).map_err(StreamError::Codec)?)?;
    }
    write_all(guarded(|| Ok(encoder.finish()?)).map_err(StreamError::Codec)?)
}

/// Reads a stream that [`write_stream`] wrote and whose checksum was found to fit; the arrays share its bytes. Of a
/// sealed origin they are not validated.
///
/// Arrow's own decoder of streams validates every array, also where it is told not to (arrow-rs 60).
pub fn read_checked_stream(bytes: &Buffer, size_bytes: u64, origin: Origin) -> Result<PartitionData, CodecError> {
    guarded(|| {
        let mut rest = Rest { bytes, at: 0 };
        let mut decoder: Option<PartitionDecoder> = None;
        while let Some((header, body)) = rest.next_message()? {
            match &mut decoder {
                Some(decoder) => decoder.add(&header, &body)?,
                None => {
                    let schema = schema_of(&header)?
                        .ok_or_else(|| CodecError::Malformed("a stream must begin with its schema".into()))?;
                    decoder = Some(PartitionDecoder::new(origin, schema));
                }
            }
        }
        let decoder = decoder.ok_or_else(|| CodecError::Malformed("the stream holds no schema".into()))?;
        Ok(decoder.finish_with(size_bytes))
    })
}

/// The rest of a stream.
struct Rest<'a> {
    bytes: &'a Buffer,
    at: usize,
}

impl Rest<'_> {
    /// The next message's header and body; `None` at the end of the stream.
    fn next_message(&mut self) -> Result<Option<(Buffer, Buffer)>, CodecError> {
        let marker = self.take(MARKER.len())?;
        let length = self.take(LENGTH_BYTES)?;
        let length = u32::from_le_bytes(length.as_slice().try_into().map_err(|_| cut_off())?);
        if marker.as_slice() != MARKER {
            return Err(CodecError::Malformed("a message of the stream begins without its marker".into()));
        }
        if length == 0 {
            return if self.at == self.bytes.len() { Ok(None) } else { Err(cut_off()) };
        }
        let header = self.take(usize::try_from(length).map_err(|_| cut_off())?)?;
        let message = arrow_ipc::root_as_message(&header).map_err(|error| CodecError::Malformed(error.to_string()))?;
        let body = self.take(usize::try_from(message.bodyLength()).map_err(|_| cut_off())?)?;
        Ok(Some((header, body)))
    }

    fn take(&mut self, length: usize) -> Result<Buffer, CodecError> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(cut_off)?;
        let taken = self.bytes.slice_with_length(self.at, length);
        self.at = end;
        Ok(taken)
    }
}

fn cut_off() -> CodecError {
    CodecError::Malformed("the stream does not end where it should".into())
}
