//! The defects of messages.

use arrow_schema::ArrowError;

/// Arrow data, or the messages that carry it, are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The Arrow library refused it.
    #[error("Arrow: {0}")]
    Arrow(#[from] ArrowError),
    /// The bytes do not form the messages that they should.
    #[error("{0}")]
    Malformed(String),
    /// A checksum does not fit: the bytes were changed on their way or on a disk.
    #[error("the bytes were changed after they were written: their checksum does not fit")]
    Damaged,
    /// A message is larger than the receiver allows or the format can carry.
    #[error("a message of {bytes} bytes is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
}
