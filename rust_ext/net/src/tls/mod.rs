//! The certificates of a session, and encrypted connections with them. Knows nothing of HTTP or gRPC.
//!
//! ```text
//! driver ─ issue ─┬─ authority: signs two certificates, then its key is forgotten
//!                 ├─ driver's identity: stays in the driver's memory
//!                 └─ workers' identity: files in the session's Secret
//! ```
//!
//! Both sides show a certificate that the session's authority has signed, so a connection is between members
//! of one session or does not come about. What a member may do follows from its [`Role`].

mod authority;
mod identity;
mod problem;
mod role;
mod transport;

pub use authority::{Issued, issue};
pub use identity::{ClientTls, Identity, Pem, ServerTls};
pub use problem::{TlsError, TlsProblem};
pub use role::Role;
pub use transport::{Transport, accept, connect};
