//! Checksums that tell damaged messages of a partition from sound ones.
//!
//! Each message of a partition carries a *seal*: the CRC-32 of the seal before it, its header, its metadata and the
//! CRC-32 of its body. The first seal continues the CRC-32 of the ticket. So a seal vouches for the message, for all
//! messages before it, and for the partition being the one that was asked for.
//!
//! CRC-32, because our processors fold it at the speed of memory, in safe code of a maintained crate. It finds every
//! damage of up to 32 bits in a row, for any length.

use crc32fast::Hasher;

use crate::{CodecError, Ticket};

/// The seals of one partition, in the order of its messages.
#[derive(Clone, Debug)]
pub(crate) struct Seals {
    last: u32,
}

impl Seals {
    /// Bytes of a seal in a message: little-endian, at the end of its metadata.
    pub(crate) const BYTES: usize = 4;

    /// For messages before any partition, of which there are none.
    pub(crate) const fn none() -> Self {
        Self { last: 0 }
    }

    pub(crate) fn of(ticket: &Ticket) -> Self {
        Self { last: crc32fast::hash(ticket.to_string().as_bytes()) }
    }

    /// The seal of the next message; `metadata` comes without the seal.
    pub(crate) fn next(&mut self, header: &[u8], metadata: &[u8], body_checksum: u32) -> [u8; Self::BYTES] {
        let mut hasher = Hasher::new();
        hasher.update(&self.last.to_le_bytes());
        hasher.update(header);
        hasher.update(metadata);
        hasher.update(&body_checksum.to_le_bytes());
        self.last = hasher.finalize();
        self.last.to_le_bytes()
    }

    /// Compares the seal of the next message with what the message says.
    pub(crate) fn check(
        &mut self,
        header: &[u8],
        metadata: &[u8],
        body_checksum: u32,
        seal: &[u8],
    ) -> Result<(), CodecError> {
        if self.next(header, metadata, body_checksum) == seal { Ok(()) } else { Err(CodecError::Damaged) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_depends_on_ticket_order_header_metadata_and_body() {
        type Message = (&'static [u8], &'static [u8], u32);
        let ticket = Ticket::new("q/1.1", 0);
        let seal = |ticket: &Ticket, messages: &[Message]| {
            let mut seals = Seals::of(ticket);
            messages.iter().map(|(header, metadata, body)| seals.next(header, metadata, *body)).last().unwrap()
        };
        let (first, second): (Message, Message) = ((b"a", b"m", 1), (b"b", b"", 2));
        let expected = seal(&ticket, &[first, second]);
        assert_eq!(seal(&ticket, &[first, second]), expected);
        let others: [&[Message]; 5] =
            [&[second, first], &[first], &[second], &[(b"a", b"", 1), second], &[first, (b"b", b"", 3)]];
        for other in others {
            assert_ne!(seal(&ticket, other), expected);
        }
        assert_ne!(seal(&Ticket::new("q/1.1", 1), &[first, second]), expected);
    }
}
