//! The header that our server sends with a partition's schema, so that a short answer is noticed.

use crate::{CodecError, PartitionData};

/// Travels in the `app_metadata` of a partition's schema message, before its seal: little-endian, without names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketHeader {
    /// The index of the ticket in the request.
    pub(super) index: u32,
    pub(super) num_rows: u64,
    pub(super) size_bytes: u64,
}

impl TicketHeader {
    pub(crate) const BYTES: usize = 20;

    /// The header of a partition that answers the ticket number `index`.
    pub fn of(index: u32, data: &PartitionData) -> Self {
        Self { index, num_rows: data.num_rows as u64, size_bytes: data.size_bytes }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.index.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.num_rows.to_le_bytes());
        bytes[12..].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let malformed = || CodecError::Malformed("the schema message does not say which ticket it answers".into());
        let (index, rest) = bytes.split_first_chunk().ok_or_else(malformed)?;
        let (num_rows, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
        let size_bytes = rest.try_into().map_err(|_| malformed())?;
        Ok(Self {
            index: u32::from_le_bytes(*index),
            num_rows: u64::from_le_bytes(*num_rows),
            size_bytes: u64::from_le_bytes(size_bytes),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips_and_nothing_else_is_one() {
        let header = TicketHeader { index: 7, num_rows: 1 << 40, size_bytes: u64::MAX };
        let bytes = header.to_bytes();
        assert_eq!(TicketHeader::from_bytes(&bytes).unwrap(), header);
        assert!(TicketHeader::from_bytes(&bytes[..19]).is_err());
        assert!(TicketHeader::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert!(TicketHeader::from_bytes(&[]).is_err());
    }
}
