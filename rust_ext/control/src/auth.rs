//! The session token that every call must carry, and the worker that a call may name.

use std::sync::Arc;

use daft_k8s_data::WORKER_HEADER;
use subtle::ConstantTimeEq;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue},
    service::Interceptor,
};

const HEADER: &str = "authorization";

/// Server side: answers UNAUTHENTICATED unless the call carries the session's token, and FAILED_PRECONDITION if the
/// call is meant for another worker: an address may be another process's by the time it is called.
#[derive(Clone)]
pub struct Check {
    expected: Option<Arc<str>>,
    worker_id: Arc<str>,
}

impl Check {
    /// Accepts exactly `token`, for calls to this worker; an empty token accepts nobody.
    pub fn new(token: &str, worker_id: &str) -> Self {
        Self { expected: (!token.is_empty()).then(|| format!("Bearer {token}").into()), worker_id: worker_id.into() }
    }

    fn is_meant(&self, request: &Request<()>) -> Result<(), Status> {
        match request.metadata().get(WORKER_HEADER) {
            Some(named) if named.as_bytes() != self.worker_id.as_bytes() => {
                let named = String::from_utf8_lossy(named.as_bytes());
                let mut status = Status::failed_precondition(format!("this is {}, not {named}", self.worker_id));
                if let Ok(own) = self.worker_id.parse() {
                    status.metadata_mut().insert(WORKER_HEADER, own);
                }
                Err(status)
            }
            _ => Ok(()),
        }
    }

    fn accepts(&self, given: &[u8]) -> bool {
        self.expected.as_ref().is_some_and(|expected| given.ct_eq(expected.as_bytes()).into())
    }
}

impl Interceptor for Check {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.metadata().get(HEADER) {
            Some(given) if self.accepts(given.as_bytes()) => self.is_meant(&request).map(|()| request),
            Some(_) => Err(Status::unauthenticated("the session token is wrong; is this another session's worker?")),
            None => Err(Status::unauthenticated("the call carries no session token")),
        }
    }
}

/// Client side: adds the token to every call, and the worker for which the calls are meant.
#[derive(Clone)]
pub struct Attach {
    token: MetadataValue<Ascii>,
    worker_id: Option<MetadataValue<Ascii>>,
}

impl Attach {
    /// Fails if the token is not made of visible ASCII characters.
    pub fn new(token: &str, worker_id: Option<&str>) -> Result<Self, InvalidMetadataValue> {
        let mut token: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
        token.set_sensitive(true);
        Ok(Self { token, worker_id: worker_id.map(str::parse).transpose()? })
    }
}

/// True if this is the answer of a worker to a call that was meant for another one.
pub fn is_of_another_worker(status: &Status) -> bool {
    status.metadata().contains_key(WORKER_HEADER)
}

impl Interceptor for Attach {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(HEADER, self.token.clone());
        if let Some(worker_id) = &self.worker_id {
            request.metadata_mut().insert(WORKER_HEADER, worker_id.clone());
        }
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
        let status = Check::new("secret", "worker-0").call(Request::new(())).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn a_call_with_another_token_is_unauthenticated() {
        for wrong in ["Bearer other", "Bearer secretive", "Bearer secre", "secret", ""] {
            let status = Check::new("secret", "worker-0").call(with_header(wrong)).unwrap_err();
            assert_eq!(status.code(), tonic::Code::Unauthenticated, "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_token_accepts_nobody() {
        for header in ["Bearer ", "Bearer", ""] {
            assert!(Check::new("", "worker-0").call(with_header(header)).is_err(), "{header:?}");
        }
    }

    #[test]
    fn a_call_with_the_token_passes() {
        let request = Attach::new("secret", None).unwrap().call(Request::new(())).unwrap();
        assert!(Check::new("secret", "worker-0").call(request).is_ok());
    }

    #[test]
    fn a_call_that_is_meant_for_another_worker_is_refused_with_both_names() {
        let call = |named: Option<&str>| {
            let request = Attach::new("secret", named).unwrap().call(Request::new(())).unwrap();
            Check::new("secret", "worker-0").call(request)
        };
        assert!(call(None).is_ok() && call(Some("worker-0")).is_ok());
        let status = call(Some("worker-7")).unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        assert_eq!(status.message(), "this is worker-0, not worker-7");
        assert!(is_of_another_worker(&status));
        assert!(!is_of_another_worker(&Status::failed_precondition("no actor of this name is here")));
    }
}
