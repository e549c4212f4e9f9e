//! The server that a call is meant for.

/// A server of the session: where it listens, and the worker that is expected there.
#[derive(Clone, Copy, Debug)]
pub struct Destination<'a> {
    /// `host:port`.
    pub address: &'a str,
    /// Another worker at this address refuses the call; `None`: whichever worker answers.
    pub worker_id: Option<&'a str>,
}

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for Destination<'a> {
    fn from(address: &'a T) -> Self {
        Self { address: address.as_ref(), worker_id: None }
    }
}
