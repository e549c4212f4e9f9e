//! The proofs of a caller, the same on all ports: a certificate of the session, its token, and, if the call names a
//! worker, the right one.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, InvalidHeaderValue},
};
use subtle::ConstantTimeEq;

use crate::{Caller, RejectedPeers, tls::ServerTls};

/// The header in which a call names the worker for which it is meant, e.g. `worker-3`.
pub const WORKER_HEADER: &str = "daft-k8s-worker";

/// The check of a server: connections and calls of members of the session pass. A clone shares the rejected peers.
#[derive(Clone)]
pub struct Auth {
    token: Arc<[u8]>,
    worker_id: Option<Arc<str>>,
    tls: Option<ServerTls>,
    rejected: RejectedPeers,
}

/// The reason why a call is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The call carries no token.
    #[error("the call carries no session token")]
    NoToken,
    /// The call carries another token.
    #[error("the session token is wrong; the caller and this worker belong to different sessions")]
    WrongToken,
    /// Its caller belongs to the session and means another worker: an address may be another process's by the time it
    /// is called.
    #[error("this is {own}, not {named}")]
    OtherWorker {
        /// The worker that serves.
        own: Arc<str>,
        /// The worker that the call names.
        named: String,
    },
}

impl Rejection {
    /// The status of the answer: UNAUTHENTICATED, or FAILED_PRECONDITION for a member that means another worker.
    pub const fn grpc_code(&self) -> u8 {
        match self {
            Self::NoToken | Self::WrongToken => 16,
            Self::OtherWorker { .. } => 9,
        }
    }
}

impl Auth {
    /// Accepts exactly `token`, over any connection; an empty token accepts no caller.
    pub fn new(token: &str, rejected: RejectedPeers) -> Self {
        Self { token: token.as_bytes().into(), worker_id: None, tls: None, rejected }
    }

    /// Takes only calls that are meant for this worker, or that name none.
    #[must_use]
    pub fn of_worker(self, worker_id: &str) -> Self {
        Self { worker_id: Some(worker_id.into()), ..self }
    }

    /// Takes only connections that this lets in as well; `None`: any.
    #[must_use]
    pub fn with_tls(self, tls: Option<ServerTls>) -> Self {
        Self { tls, ..self }
    }

    pub(crate) fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_ref()
    }

    /// The peers that showed no certificate of the session, or not its token.
    pub fn rejected_peers(&self) -> &RejectedPeers {
        &self.rejected
    }

    /// Checks the headers of a call. Takes the same time for every wrong token of the right length. `caller` is the
    /// extension that [`serve_connections`](crate::serve_connections) adds to each request.
    pub fn check(&self, headers: &HeaderMap, caller: Option<&Caller>) -> Result<(), Rejection> {
        if let Err(rejection) = self.check_token(headers) {
            self.rejected.add(caller.and_then(|caller| caller.address), &rejection);
            return Err(rejection);
        }
        if let Some(caller) = caller {
            caller.standing.is_a_member();
        }
        let (Some(own), Some(named)) = (&self.worker_id, headers.get(WORKER_HEADER)) else { return Ok(()) };
        if named.as_bytes() == own.as_bytes() {
            return Ok(());
        }
        let named = String::from_utf8_lossy(named.as_bytes()).into_owned();
        Err(Rejection::OtherWorker { own: own.clone(), named })
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let given = headers.get(AUTHORIZATION).ok_or(Rejection::NoToken)?;
        let is_right = bearer(given.as_bytes()).is_some_and(|token| token.ct_eq(&self.token).into());
        if is_right && !self.token.is_empty() { Ok(()) } else { Err(Rejection::WrongToken) }
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The proofs that a client shows with each call.
#[derive(Clone)]
pub struct Credentials {
    token: HeaderValue,
    worker_id: Option<HeaderValue>,
}

impl Credentials {
    /// Fails if the token cannot stand in a header.
    pub fn new(token: &str) -> Result<Self, InvalidHeaderValue> {
        let mut token = HeaderValue::try_from(format!("Bearer {token}"))?;
        token.set_sensitive(true);
        Ok(Self { token, worker_id: None })
    }

    /// The same, for calls that are meant for this worker; `None`: for whichever answers.
    pub fn for_worker(&self, worker_id: Option<&str>) -> Result<Self, InvalidHeaderValue> {
        Ok(Self { token: self.token.clone(), worker_id: worker_id.map(HeaderValue::from_str).transpose()? })
    }

    /// Adds them to the headers of a call.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.token.clone());
        if let Some(worker_id) = &self.worker_id {
            headers.insert(WORKER_HEADER, worker_id.clone());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn headers(token: &str, worker_id: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Credentials::new(token).unwrap().for_worker(worker_id).unwrap().write_to(&mut headers);
        headers
    }

    #[test]
    fn an_empty_token_accepts_no_caller() {
        let auth = Auth::new("", RejectedPeers::default());
        assert_eq!(auth.check(&headers("", None), None), Err(Rejection::WrongToken));
        assert_eq!(auth.check(&HeaderMap::new(), None), Err(Rejection::NoToken));
        assert_eq!(auth.rejected_peers().count(), 2);
    }

    #[test]
    fn a_call_that_is_meant_for_another_worker_is_refused_with_both_names_and_its_caller_is_no_rejected_peer() {
        let auth = Auth::new("secret", RejectedPeers::default()).of_worker("worker-0");
        for named in [None, Some("worker-0")] {
            assert_eq!(auth.check(&headers("secret", named), None), Ok(()));
        }
        let rejection = auth.check(&headers("secret", Some("worker-7")), None).unwrap_err();
        assert_eq!(rejection.to_string(), "this is worker-0, not worker-7");
        assert_eq!(auth.rejected_peers().count(), 0);
        assert_eq!(auth.check(&headers("other", Some("worker-7")), None), Err(Rejection::WrongToken));
    }

    #[test]
    fn rejected_peers_are_counted_and_logged_once_a_minute_without_a_token() {
        let lines = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let sink = lines.clone();
        let hook =
            daft_k8s_testlog::Hook(move |_: &tracing::Metadata<'_>, line: &str| sink.lock().push(line.to_owned()));
        let _logged = tracing::subscriber::set_default(hook);
        let auth = Auth::new("secret", RejectedPeers::default());
        let caller = Caller { address: Some("10.0.0.7:4711".parse().unwrap()), ..Caller::default() };
        for _ in 0..1000 {
            assert_eq!(auth.clone().check(&headers("a guess", None), Some(&caller)), Err(Rejection::WrongToken));
        }
        assert_eq!(auth.rejected_peers().count(), 1000);
        let [line] = &lines.lock()[..] else { unreachable!("{lines:?}") };
        assert!(line.starts_with("rejected peer 10.0.0.7:4711: the session token is wrong"), "{line}");
        assert!(line.ends_with("(rejected peers so far: 1)"), "{line}");
        assert!(!line.contains("secret") && !line.contains("a guess"), "{line}");
    }
}
