//! The calls that each member of a session may make, where certificates name the members.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use daft_k8s_net::{Caller, tls::Role};
use futures::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::{Status, body::Body, service::Routes};
use tower::Service;

/// The one call between workers.
const CALL_ACTOR: &str = "/daft_k8s.v1.Worker/CallActor";

/// Keeps everything but the calls of actors to the driver: a worker that was taken over must not give orders to others.
#[derive(Clone)]
pub(crate) struct OrdersFromDriver {
    routes: Routes,
}

impl OrdersFromDriver {
    pub(crate) fn new(routes: Routes) -> Self {
        Self { routes }
    }
}

impl Service<Request<Incoming>> for OrdersFromDriver {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Self::Response, Infallible>>, <Routes as Service<Request<Incoming>>>::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Incoming>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let role = request.extensions().get().and_then(|caller: &Caller| caller.role);
        if role == Some(Role::Worker) && request.uri().path() != CALL_ACTOR {
            let status = Status::permission_denied("only the session's driver may call this");
            return Either::Left(ready(Ok(status.into_http())));
        }
        Either::Right(self.routes.call(request))
    }
}
