//! What can go wrong, split by what the caller can do about it.

use std::{io, path::PathBuf, time::Duration};

use arrow_schema::ArrowError;
use daft_k8s_net::BoxError;

use crate::Ticket;

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such partition: it was never published here, or it was dropped.
    #[error("partition {0} is not in this store")]
    NotFound(Ticket),
    /// A file operation on a spilled partition failed.
    #[error("cannot {operation} spill file {}: {source}", path.display())]
    SpillFile {
        /// "write", "map" ...
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A spilled partition was changed on its disk, or its file is gone: it is lost.
    #[error("partition {ticket} is lost: its spill file {} {what}", path.display())]
    Lost {
        /// The partition.
        ticket: Ticket,
        /// The file.
        path: PathBuf,
        /// The difference from what was written.
        what: String,
    },
    /// A partition could not be encoded or decoded.
    #[error("spill file {}: {source}", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: CodecError,
    },
}

impl StoreError {
    /// True if trying again cannot help: the partition is not here, or not any more.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Lost { .. } | Self::Codec { .. } => true,
            Self::SpillFile { .. } => false,
        }
    }
}

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

/// A partition could not be fetched from, or put to, another process.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The peer answers, but does not hold this partition: it was dropped, or its maker died.
    #[error("partition {0} is not in the store of the worker that should hold it")]
    NotFound(Ticket),
    /// The peer holds the partition no longer: what it had spilled cannot be read back.
    #[error("{message} (at {address})")]
    Lost {
        /// The partition.
        ticket: Ticket,
        /// The peer, `host:port`.
        address: String,
        /// The peer's words, with the file.
        message: String,
    },
    /// The peer does not accept our token: it belongs to another session.
    #[error("{address} refused our token; is it a worker of another session?")]
    Unauthenticated {
        /// The peer, `host:port`.
        address: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach {address}: {}", chain(&**source))]
    Unreachable {
        /// The peer, `host:port`.
        address: String,
        /// Why.
        source: BoxError,
    },
    /// The peer answered with another error.
    #[error("{address} answered with gRPC status {code}: {message}")]
    Refused {
        /// The peer, `host:port`.
        address: String,
        /// The gRPC status code.
        code: u32,
        /// The peer's words.
        message: String,
    },
    /// Bytes from the peer were changed on their way. Asking again may help.
    #[error("partition {ticket} was damaged on its way from {address}: {source}")]
    Damaged {
        /// The partition.
        ticket: Ticket,
        /// The peer, `host:port`.
        address: String,
        /// The defect.
        source: CodecError,
    },
    /// What the peer sent makes no sense, or ended early.
    #[error("protocol error with {address}: {message}")]
    Protocol {
        /// The peer, `host:port`.
        address: String,
        /// What was wrong.
        message: String,
    },
    /// The connection lives, but no byte came for this long.
    #[error("{address} sent nothing for {} s", after.as_secs_f64())]
    TimedOut {
        /// The peer, `host:port`.
        address: String,
        /// How long was waited.
        after: Duration,
    },
}

/// An error with its causes, as one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
