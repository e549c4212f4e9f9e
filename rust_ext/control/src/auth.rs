//! The session token that every call must carry.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue},
    service::Interceptor,
};

const HEADER: &str = "authorization";

/// Server side: answers UNAUTHENTICATED unless the call carries the session's token.
#[derive(Clone)]
pub struct Check {
    expected: Option<Arc<str>>,
}

impl Check {
    /// Accepts exactly `token`; an empty token accepts nobody.
    pub fn new(token: &str) -> Self {
        Self { expected: (!token.is_empty()).then(|| format!("Bearer {token}").into()) }
    }

    fn accepts(&self, given: &[u8]) -> bool {
        self.expected.as_ref().is_some_and(|expected| given.ct_eq(expected.as_bytes()).into())
    }
}

impl Interceptor for Check {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.metadata().get(HEADER) {
            Some(given) if self.accepts(given.as_bytes()) => Ok(request),
            Some(_) => Err(Status::unauthenticated("the session token is wrong; is this another session's worker?")),
            None => Err(Status::unauthenticated("the call carries no session token")),
        }
    }
}

/// Client side: adds the token to every call.
#[derive(Clone)]
pub struct Attach {
    value: MetadataValue<Ascii>,
}

impl Attach {
    /// Fails if the token is not made of visible ASCII characters.
    pub fn new(token: &str) -> Result<Self, InvalidMetadataValue> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        value.set_sensitive(true);
        Ok(Self { value })
    }
}

impl Interceptor for Attach {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(HEADER, self.value.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_header(value: &str) -> Request<()> {
        let mut request = Request::new(());
        request.metadata_mut().insert(HEADER, value.parse().unwrap());
        request
    }

    #[test]
    fn a_call_without_the_token_is_unauthenticated() {
        let status = Check::new("secret").call(Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn a_call_with_another_token_is_unauthenticated() {
        for wrong in ["Bearer other", "Bearer secretive", "Bearer secre", "secret", ""] {
            let status = Check::new("secret").call(with_header(wrong)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::Unauthenticated, "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_token_accepts_nobody() {
        for header in ["Bearer ", "Bearer", ""] {
            assert!(Check::new("").call(with_header(header)).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_call_with_the_token_passes() {
        let request = Attach::new("secret").unwrap().call(Request::new(())).unwrap();
        assert!(Check::new("secret").call(request).is_ok());
    }
}
