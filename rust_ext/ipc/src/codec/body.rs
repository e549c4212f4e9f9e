//! Memory that a message's body is read into, aligned as Arrow likes it.

use std::io;

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use crc32fast::Hasher;
use memmap2::{Advice, MmapMut};

use crate::CodecError;

/// From this size on, memory comes directly from the kernel, in huge pages. Faults of small pages would cost more than
/// the copy, and the memory goes back as soon as it is dropped.
const MAP_BYTES: usize = 1 << 20;

/// Fresh zeroed memory of the kernel's, in huge pages where it likes; not yet resident.
fn map_memory(bytes: usize) -> io::Result<MmapMut> {
    let mapping = MmapMut::map_anon(bytes)?;
    let _ = mapping.advise(Advice::HugePage);
    Ok(mapping)
}

/// A body of known length that is being filled.
pub(crate) struct BodyBuffer {
    memory: Memory,
    filled: usize,
    length: usize,
    checksum: Hasher,
}

enum Memory {
    Heap(MutableBuffer),
    Mapped(MmapMut),
}

impl BodyBuffer {
    pub(crate) fn new(length: usize) -> Result<Self, CodecError> {
        let memory =
            if length >= MAP_BYTES {
                Memory::Mapped(map_memory(length).map_err(|error| {
                    CodecError::Malformed(format!("no memory for a body of {length} bytes: {error}"))
                })?)
            } else {
                Memory::Heap(MutableBuffer::with_capacity(length))
            };
        Ok(Self { memory, filled: 0, length, checksum: Hasher::new() })
    }

    pub(crate) fn missing(&self) -> usize {
        self.length - self.filled
    }

    /// Takes as much of `bytes` as is missing; the rest stays.
    pub(crate) fn fill(&mut self, bytes: &mut Bytes) {
        let taken = bytes.split_to(self.missing().min(bytes.len()));
        // Here, as they have just come and lie in the processor's cache.
        self.checksum.update(&taken);
        match &mut self.memory {
            Memory::Heap(buffer) => buffer.extend_from_slice(&taken),
            Memory::Mapped(mapping) => mapping[self.filled..self.filled + taken.len()].copy_from_slice(&taken),
        }
        self.filled += taken.len();
    }

    /// The body and its CRC-32.
    pub(crate) fn finish(self) -> (Buffer, u32) {
        let buffer = match self.memory {
            Memory::Heap(buffer) => buffer.into(),
            Memory::Mapped(mapping) => Buffer::from(Bytes::from_owner(mapping)),
        };
        (buffer, self.checksum.finalize())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_sizes_are_aligned_and_complete() {
        for length in [0, 1, 63, 64, 4097, MAP_BYTES - 1, MAP_BYTES, 3 * MAP_BYTES + 5] {
            let expected: Vec<u8> = (0..length + 3).map(|at| (at % 251) as u8).collect();
            let mut bytes = Bytes::from(expected.clone());
            let mut body = BodyBuffer::new(length).unwrap();
            let mut first = bytes.split_to(length / 3);
            body.fill(&mut first);
            body.fill(&mut bytes);
            assert_eq!((body.missing(), bytes.len()), (0, 3));
            let (buffer, checksum) = body.finish();
            assert_eq!(checksum, crc32fast::hash(&expected[..length]));
            assert_eq!(buffer.as_slice(), &expected[..length]);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
        }
    }
}
