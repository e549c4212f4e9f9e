//! Partitions, their names, and their encodings.
//!
//! [`PartitionData`] is record batches of one schema, [`Ticket`] its name. Both travel in messages whose Arrow buffers go
//! onto a socket or disk as they lie in memory, and come off it into memory that arrays can use as it is. Messages of
//! our own encoders carry checksums; arrays of others are validated. Knows no socket and no file.

#![deny(unsafe_code)]

mod codec;
mod error;
mod fingerprint;
mod partition;
mod ticket;
mod trusted;

pub use codec::{
    MAX_BODY_BYTES, MAX_MESSAGE_BYTES, StreamError, TicketHeader,
    decode::{AnswerDecoder, PutDecoder},
    encode::{Encoder, IpcMessage},
    read_checked_stream,
    wire::{FlightMessage, FlightReader, FlightWriter, PREFIX_BYTES, framed},
    write_stream,
};
pub use error::CodecError;
pub use partition::PartitionData;
pub use ticket::{Ticket, TicketError};
pub use trusted::Origin;
