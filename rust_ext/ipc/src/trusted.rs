//! The one place where Arrow's validation of incoming arrays is switched off.
//!
//! It reads offsets, texts and nulls once more, and finds no change of a value that leaves it valid. A checksum finds both.
#![allow(unsafe_code)]

use arrow_data::UnsafeFlag;

/// The origin of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This build's own encoder made them, in this process or behind the session's token, and a checksum of that
    /// encoder's output was found to fit them.
    Sealed,
    /// Anybody's.
    Anybody,
}

/// True if arrays from there may skip validation (offsets, UTF-8).
pub(crate) fn skip_validation(origin: Origin) -> UnsafeFlag {
    let mut flag = UnsafeFlag::new();
    if origin == Origin::Sealed {
        // SAFETY: our encoder writes only arrays that were valid in their own process. The checksum that it made of
        // its output fits what has arrived, so disk and network delivered it unchanged. Peers are known by the
        // session's token, and nothing but our encoder makes such checksums. So what is decoded is as valid as what
        // was encoded.
        unsafe { flag.set(true) };
    }
    flag
}
