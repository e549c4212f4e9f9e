//! The checks and credentials of a session (`daft_k8s_net`) on gRPC calls.

use daft_k8s_net::{Auth, Credentials, Rejection, WORKER_HEADER};
use tonic::{Code, Request, Status, service::Interceptor};

/// Server side: answers UNAUTHENTICATED unless the call carries the session's token, and FAILED_PRECONDITION if the
/// call is meant for another worker.
#[derive(Clone)]
pub struct Check {
    auth: Auth,
}

impl Check {
    /// Refuses the calls that `auth` refuses.
    pub fn new(auth: Auth) -> Self {
        Self { auth }
    }
}

impl Interceptor for Check {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Err(rejection) = self.auth.check(request.metadata().as_ref(), request.extensions().get()) else {
            return Ok(request);
        };
        let mut status = Status::new(Code::from(i32::from(rejection.grpc_code())), rejection.to_string());
        if let Rejection::OtherWorker { own, .. } = &rejection
            && let Ok(own) = own.parse()
        {
            status.metadata_mut().insert(WORKER_HEADER, own);
        }
        Err(status)
    }
}

/// True if this is the answer of a worker to a call that was meant for another one.
pub fn is_of_another_worker(status: &Status) -> bool {
    status.metadata().contains_key(WORKER_HEADER)
}

/// Client side: adds the credentials to every call.
#[derive(Clone)]
pub struct Attach {
    credentials: Credentials,
}

impl Attach {
    /// Shows these with every call.
    pub fn new(credentials: Credentials) -> Self {
        Self { credentials }
    }
}

impl Interceptor for Attach {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        self.credentials.write_to(request.metadata_mut().as_mut());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use daft_k8s_net::RejectedPeers;

    use super::*;

    /// The answer of worker-0 of the session with the token "secret".
    fn call(token: &str, named: Option<&str>) -> Result<Request<()>, Status> {
        let credentials = Credentials::new(token).unwrap().for_worker(named).unwrap();
        let request = Attach::new(credentials).call(Request::new(())).unwrap();
        Check::new(Auth::new("secret", RejectedPeers::default()).of_worker("worker-0")).call(request)
    }

    #[test]
    fn a_call_with_the_token_passes_and_one_with_another_is_unauthenticated() {
        assert!(call("secret", None).is_ok());
        assert_eq!(call("other", None).unwrap_err().code(), Code::Unauthenticated);
    }

    #[test]
    fn the_answer_of_another_worker_is_told_apart_from_other_failed_preconditions() {
        let status = call("secret", Some("worker-7")).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(is_of_another_worker(&status));
        assert!(!is_of_another_worker(&Status::failed_precondition("no actor of this name is here")));
    }
}
