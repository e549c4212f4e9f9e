//! The one place where Arrow's validation of incoming arrays is switched off.
#![allow(unsafe_code)]

use arrow_data::UnsafeFlag;
use arrow_ipc::reader::StreamDecoder;

/// Whose bytes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This build's own encoder made them, in this process or behind the session's token.
    OwnEncoder,
    /// Anybody's.
    Anybody,
}

/// Whether arrays from there may skip validation (offsets, UTF-8): it reads every byte once more.
pub(crate) fn skip_validation(origin: Origin) -> UnsafeFlag {
    let mut flag = UnsafeFlag::new();
    if origin == Origin::OwnEncoder {
        // SAFETY: our encoder writes only arrays that were valid in their own process, TCP and the
        // file system deliver its bytes unchanged, and peers are known by the session's token, so
        // what is decoded is as valid as what was encoded.
        unsafe { flag.set(true) };
    }
    flag
}

/// A decoder of streams that this process itself wrote to a spill file.
pub(crate) fn own_stream_decoder() -> StreamDecoder {
    // SAFETY: as above; the file was written by this process and is not changed by anybody.
    unsafe { StreamDecoder::new().with_skip_validation(true) }
}
