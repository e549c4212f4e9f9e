//! A partition as an Arrow IPC stream in a file of our own.

use std::io;

use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;

use super::guarded;
use crate::{CodecError, PartitionData, trusted};

/// Encoding failed, or what it was written to.
pub(crate) enum StreamError {
    Codec(CodecError),
    Io(io::Error),
}

/// Writes the stream. Messages and their buffers start at multiples of 64 bytes.
pub(crate) fn write_stream(
    data: &PartitionData,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), StreamError> {
    let mut write_all =
        |buffers: Vec<Buffer>| buffers.iter().try_for_each(|buffer| write(buffer)).map_err(StreamError::Io);
    let mut encoder = guarded(|| Ok(StreamEncoder::try_new(&data.schema)?)).map_err(StreamError::Codec)?;
    for batch in data.batches.iter() {
        write_all(guarded(|| Ok(encoder.encode(batch)?)).map_err(StreamError::Codec)?)?;
    }
    write_all(guarded(|| Ok(encoder.finish()?)).map_err(StreamError::Codec)?)
}

/// Reads a stream that [`write_stream`] of this process wrote; the arrays share its bytes.
pub(crate) fn read_own_stream(mut bytes: Buffer, size_bytes: u64) -> Result<PartitionData, CodecError> {
    guarded(|| {
        let mut decoder = trusted::own_stream_decoder();
        let mut batches = Vec::new();
        while let Some(batch) = decoder.decode(&mut bytes)? {
            batches.push(batch);
        }
        let schema = decoder.schema().ok_or_else(|| CodecError::Malformed("the file holds no schema".into()))?;
        decoder.finish()?;
        Ok(PartitionData::from_parts(schema, batches, size_bytes))
    })
}
