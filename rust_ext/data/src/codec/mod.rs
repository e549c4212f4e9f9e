//! From record batches to messages and back, without copying the values.
//!
//! [`encode`] and [`decode`] know Arrow IPC, [`wire`] knows how Flight frames IPC messages in gRPC,
//! [`body`] is the memory that incoming values are read into.

pub(crate) mod body;
pub(crate) mod decode;
pub(crate) mod encode;
mod header;
mod stream;
pub(crate) mod wire;

pub(crate) use header::TicketHeader;
pub(crate) use stream::{StreamError, read_own_stream, write_stream};

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::CodecError;

/// No IPC body of ours is this large: a message over 2 GiB cannot be framed, and some clients lose
/// rows silently long before they refuse.
pub(crate) const MAX_BODY_BYTES: usize = (1 << 30) - (1 << 20);

/// What nobody may exceed: lengths in gRPC and HTTP/2 have 31 bits.
pub(crate) const HARD_MAX_BODY_BYTES: usize = (1 << 31) - (16 << 20);

/// Arrow's codecs panic on some input that contradicts itself: makes an error of it.
fn guarded<T>(work: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("the Arrow codec panicked");
        Err(CodecError::Malformed(format!("an Arrow message contradicts itself: {text}")))
    })
}
