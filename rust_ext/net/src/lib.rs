//! Connections between the members of a session. Knows HTTP/2 and the headers of a call, no protocol above them.
//!
//! [`tls`] makes the session's certificates and encrypts with them; [`serve_connections`] is the accept loop of every
//! port; [`Auth`] is the one check of a caller, and [`Credentials`] is what it asks for. Peers that fail either check
//! are counted and logged as [`RejectedPeers`].

#![deny(unsafe_code)]

mod accept;
mod auth;
mod destination;
mod rejected;
mod sys;
pub mod tls;

pub use accept::{AcceptOptions, Admission, BoxError, Caller, MAX_FRAME_BYTES, Standing, serve_connections};
pub use auth::{Auth, Credentials, Rejection, WORKER_HEADER};
pub use destination::Destination;
pub use rejected::RejectedPeers;
