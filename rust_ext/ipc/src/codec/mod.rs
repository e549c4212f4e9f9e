//! From record batches to messages and back, without copying the values.
//!
//! [`encode`] and [`decode`] know Arrow IPC, [`wire`] knows how Flight frames IPC messages in gRPC,
//! [`body`] is the memory that incoming values are read into, [`seal`] tells damaged messages from sound ones.

mod body;
pub(crate) mod decode;
pub(crate) mod encode;
mod header;
mod seal;
mod stream;
pub(crate) mod wire;

pub use header::TicketHeader;
pub(crate) use seal::Seals;
pub use stream::{StreamError, read_checked_stream, write_stream};

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::CodecError;

/// No message of ours carries more of a body: a message over 2 GiB cannot be framed, and some clients
/// lose rows silently long before they refuse. Batches are split by rows; a single row that is larger
/// travels in several messages, which only our own reader puts together again.
pub const MAX_BODY_BYTES: usize = (1 << 30) - (1 << 20);

/// The largest message that is read: a body, and a header of any sensible length.
pub const MAX_MESSAGE_BYTES: usize = (1 << 31) - (1 << 20);

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
