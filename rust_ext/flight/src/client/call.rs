//! One gRPC call: sending the request, and taking the answer apart.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_net::{BoxError, Credentials, Destination};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{
    ClientConfig,
    pool::{Lease, Pool},
};
use crate::{
    FetchError,
    error::chain,
    grpc::{CONTENT_TYPE_GRPC, Status},
};

pub(super) type ClientBody = UnsyncBoxBody<Bytes, BoxError>;

/// A connection that had broken unnoticed says so at once: what takes longer is another trouble.
const STALE_WITHIN: Duration = Duration::from_secs(2);

/// The part of a request that the peer has taken.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Another chunk was asked for.
    pub(super) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the work as long as there is progress; `None` if there was none for `timeout`.
    async fn while_it_lasts<T>(&self, timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if let Ok(output) = tokio::time::timeout(timeout, &mut work).await {
                return Some(output);
            }
            let now = self.0.load(Ordering::Relaxed);
            if now == seen {
                return None;
            }
            seen = now;
        }
    }
}

/// The answer to a call, as it comes in.
pub(super) struct Answer {
    address: String,
    body: Incoming,
    status: Option<Status>,
    progress_timeout: Duration,
    deadline: Pin<Box<Sleep>>,
    /// Keeps the connection counted as busy.
    _lease: Lease,
}

/// Sends the request and waits for the head of the answer. Goes over to a new connection, once, if
/// a kept one turns out to be broken: all our calls may be repeated.
pub(super) async fn start(
    pool: &Pool,
    config: &ClientConfig,
    credentials: &Credentials,
    holder: Destination<'_>,
    path: &str,
    body: impl Fn(&Progress) -> ClientBody,
) -> Result<Answer, FetchError> {
    let address = holder.address;
    let mut may_retry = true;
    loop {
        let mut lease = pool.lease(address).await?;
        let progress = Progress::default();
        let request = request(credentials, holder, path, body(&progress))?;
        let started = Instant::now();
        let sent = progress.while_it_lasts(config.progress_timeout, lease.sender.send_request(request)).await;
        let error = match sent {
            None => return Err(FetchError::TimedOut { address: address.into(), after: config.progress_timeout }),
            Some(Ok(response)) => {
                let (head, body) = response.into_parts();
                let status = Status::read_from(&head.headers);
                if status.is_none() {
                    check_head(address, head.status, &head.headers)?;
                }
                let deadline = Box::pin(tokio::time::sleep(config.progress_timeout));
                let (address, progress_timeout) = (address.to_owned(), config.progress_timeout);
                return Ok(Answer { address, body, status, progress_timeout, deadline, _lease: lease });
            }
            Some(Err(error)) => error,
        };
        if may_retry && lease.is_used && !error.is_user() && started.elapsed() < STALE_WITHIN {
            may_retry = false;
            continue;
        }
        if error.is_canceled()
            && let Some(reason) = lease.end.clone().reason().await
        {
            return Err(FetchError::Unreachable { address: address.into(), source: reason.into() });
        }
        return Err(failure(address, error));
    }
}

fn request(
    credentials: &Credentials,
    Destination { address, worker_id }: Destination<'_>,
    path: &str,
    body: ClientBody,
) -> Result<Request<ClientBody>, FetchError> {
    let not_an_address = |error: http::Error| FetchError::Unreachable { address: address.into(), source: error.into() };
    let uri = Uri::builder().scheme("http").authority(address).path_and_query(path).build().map_err(not_an_address)?;
    let credentials = credentials.for_worker(worker_id).map_err(|error| not_an_address(error.into()))?;
    let builder =
        Request::builder().method(Method::POST).uri(uri).header(CONTENT_TYPE, CONTENT_TYPE_GRPC).header(TE, "trailers");
    let mut request = builder.body(body).map_err(not_an_address)?;
    credentials.write_to(request.headers_mut());
    Ok(request)
}

fn check_head(address: &str, status: StatusCode, headers: &HeaderMap) -> Result<(), FetchError> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if status == StatusCode::OK && content_type.starts_with(b"application/grpc") {
        return Ok(());
    }
    Err(FetchError::Protocol {
        address: address.into(),
        message: format!("this is no Flight server: it answered {status}"),
    })
}

/// The meaning of a failed request or body for the caller.
fn failure(address: &str, error: hyper::Error) -> FetchError {
    if error.is_user() {
        return FetchError::Protocol { address: address.into(), message: format!("cannot send: {}", chain(&error)) };
    }
    FetchError::Unreachable { address: address.into(), source: error.into() }
}

impl Answer {
    /// The next bytes of the body; `None` at its end, after which there is a status.
    pub(super) async fn next_chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.body.frame() => frame,
                () = &mut self.deadline => {
                    return Err(FetchError::TimedOut { address: self.address.clone(), after: self.progress_timeout });
                }
            };
            self.deadline.as_mut().reset(tokio::time::Instant::now() + self.progress_timeout);
            let frame = match frame {
                None => return Ok(None),
                Some(frame) => frame.map_err(|error| failure(&self.address, error))?,
            };
            match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(other) => {
                    if let Ok(trailers) = other.into_trailers() {
                        self.status = Status::read_from(&trailers);
                    }
                }
            }
        }
    }

    /// The call's status. Without one the answer was cut off.
    pub(super) fn status(self) -> Result<Status, FetchError> {
        let message = "the answer ended early, without a gRPC status".into();
        self.status.ok_or(FetchError::Protocol { address: self.address, message })
    }
}
