//! What a caller must show: a certificate of the session, and its token.

use std::sync::Arc;

use daft_k8s_tls::ServerTls;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use subtle::ConstantTimeEq;

/// Checks that a caller belongs to the session.
#[derive(Clone)]
pub struct Auth {
    token: Arc<[u8]>,
    tls: Option<ServerTls>,
}

impl Auth {
    /// Accepts exactly `token`; an empty token accepts nobody.
    pub fn new(token: &str) -> Self {
        Self { token: token.as_bytes().into(), tls: None }
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
