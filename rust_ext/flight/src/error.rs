//! The errors of a transfer, split by what the caller can do about them.

use std::time::Duration;

use daft_k8s_ipc::{CodecError, Ticket};
use daft_k8s_net::BoxError;

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
    /// The peer's answer makes no sense, or ended early.
    #[error("protocol error with {address}: {message}")]
    Protocol {
        /// The peer, `host:port`.
        address: String,
        /// The fault.
        message: String,
    },
    /// The connection lives, but no byte came for this long.
    #[error("{address} sent nothing for {} s", after.as_secs_f64())]
    TimedOut {
        /// The peer, `host:port`.
        address: String,
        /// The time that was waited.
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
