//! Proofs that a caller must show: a certificate of the session, its token, and, if it names one, the right worker.

use std::sync::Arc;

use daft_k8s_tls::ServerTls;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

/// The header in which a call names the worker for which it is meant, e.g. `worker-3`.
pub const WORKER_HEADER: &str = "daft-k8s-worker";

/// Checks that a caller belongs to the session.
#[derive(Clone)]
pub struct Auth {
    token: Arc<[u8]>,
    worker_id: Option<Arc<str>>,
    tls: Option<ServerTls>,
}

impl Auth {
    /// Accepts exactly `token`; an empty token accepts nobody.
    pub fn new(token: &str) -> Self {
        Self { token: token.as_bytes().into(), worker_id: None, tls: None }
    }

    /// Takes only calls that are meant for this worker, or that name none.
    #[must_use]
    pub fn of_worker(self, worker_id: &str) -> Self {
        Self { worker_id: Some(worker_id.into()), ..self }
    }

    /// Why a call is not for this server, although its caller belongs to the session.
    pub(crate) fn mistake(&self, headers: &HeaderMap) -> Option<String> {
        let (own, named) = (self.worker_id.as_deref()?, headers.get(WORKER_HEADER)?);
        let is_meant = named.as_bytes() == own.as_bytes();
        (!is_meant).then(|| format!("this is {own}, not {}", String::from_utf8_lossy(named.as_bytes())))
    }

    /// Takes only connections that this lets in as well; `None`: any.
    #[must_use]
    pub fn with_tls(self, tls: Option<ServerTls>) -> Self {
        Self { tls, ..self }
    }

    pub(crate) fn tls(&self) -> Option<ServerTls> {
        self.tls.clone()
    }

    /// Whether the headers carry `authorization: Bearer <token>`. Takes the same time for every
    /// wrong token of the right length.
    pub fn accepts(&self, headers: &HeaderMap) -> bool {
        let Some(given) = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes())) else {
            return false;
        };
        !self.token.is_empty() && bool::from(given.ct_eq(&self.token))
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The header value that presents `token`; `None` if the token cannot stand in a header.
pub(crate) fn header_value(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn accepts(token: &str, header: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        Auth::new(token).accepts(&headers)
    }

    #[test]
    fn only_the_right_token_is_accepted() {
        assert!(accepts("secret", Some("Bearer secret")));
        assert!(accepts("secret", Some("bearer secret")));
        for wrong in
            ["secret", "Bearer", "Bearer ", "Bearer Secret", "Bearer secret2", "Basic secret", "Bearer  secret"]
        {
            assert!(!accepts("secret", Some(wrong)), "{wrong:?} was accepted");
        }
        assert!(!accepts("secret", None));
    }

    #[test]
    fn an_empty_token_accepts_nobody() {
        assert!(!accepts("", Some("Bearer ")));
        assert!(!accepts("", None));
    }
}
