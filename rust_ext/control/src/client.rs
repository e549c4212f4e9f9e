//! A driver's connection to the control server of one worker.

use std::{io, time::Duration};

use daft_k8s_net::{
    Credentials, Destination,
    tls::{ClientTls, TlsProblem, Transport},
};
use http::{Uri, header::InvalidHeaderValue};
use hyper_util::rt::TokioIo;

use thiserror::Error;
use tonic::{
    Status,
    codegen::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::{
    auth::{Attach, is_of_another_worker},
    progress::{Observed, OnProgress},
    proto::{HandshakeReply, HandshakeRequest, worker_client::WorkerClient},
};

/// An authenticated client; clones share one connection.
pub type Client = WorkerClient<InterceptedService<Observed<Channel>, Attach>>;

/// Messages to and from a worker may be as large as this; partitions do not travel here.
const MAX_MESSAGE_BYTES: usize = 1 << 30;
/// The default time for a connection to come up, with TLS its handshake included. On a busy machine two ends that
/// compute take seconds; an attempt that is cut off starts anew, no nearer to its end.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why no connection to a worker came about.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address is malformed.
    #[error("{address:?} is not a valid address: {source}")]
    Address {
        /// The text that was given.
        address: String,
        /// The defect.
        source: tonic::transport::Error,
    },
    /// The token cannot be sent as a header.
    #[error("the session token is not made of visible ASCII characters")]
    Token(#[from] InvalidHeaderValue),
    /// The worker runs other versions, or belongs to another session as its answer or its certificate says.
    #[error("{0}")]
    Refused(String),
    /// Another worker of the session answers at this address.
    #[error("another worker answers at its address: {0}")]
    AnotherWorker(String),
    /// The call failed; trying again may help.
    #[error("{0}")]
    Call(String),
}

/// A client for a worker that connects at its first call, encrypted if there is `tls`. Each call names the worker,
/// if that is given, and another one at its address refuses the call.
pub fn connect_lazily<'a>(
    worker: impl Into<Destination<'a>>,
    token: &str,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
) -> Result<Client, ClientError> {
    connect_observed(worker.into(), token, tls, connect_timeout, None)
}

/// As [`connect_lazily`]; `on_progress` is called whenever data of an answer arrives on the connection.
pub fn connect_observed(
    Destination { address, worker_id }: Destination<'_>,
    token: &str,
    tls: Option<ClientTls>,
    connect_timeout: Duration,
    on_progress: Option<OnProgress>,
) -> Result<Client, ClientError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| ClientError::Address { address: address.to_owned(), source })?
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(64 << 20);
    let connector = tower::service_fn(move |uri: Uri| open(uri, tls.clone(), connect_timeout));
    let channel = Observed::new(endpoint.connect_with_connector_lazy(connector), on_progress);
    let channel = InterceptedService::new(channel, Attach::new(Credentials::new(token)?.for_worker(worker_id)?));
    Ok(WorkerClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

async fn open(uri: Uri, tls: Option<ClientTls>, timeout: Duration) -> io::Result<TokioIo<Transport>> {
    let address = uri.authority().map_or("", |authority| authority.as_str());
    let connecting = daft_k8s_net::tls::connect(address, tls.as_ref());
    match tokio::time::timeout(timeout, connecting).await {
        Ok(connected) => connected.map(TokioIo::new),
        Err(_) => {
            let message = format!("no connection within {} s", timeout.as_secs_f64());
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }
}

/// Compares versions with the worker; a refusal is told apart from a failed call.
pub async fn handshake(client: &mut Client, request: HandshakeRequest) -> Result<HandshakeReply, ClientError> {
    let mut call = tonic::Request::new(request);
    // Counts from when the connection is up; coming up has a limit of its own.
    call.set_timeout(Duration::from_secs(5));
    client.handshake(call).await.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        _ if is_of_another_worker(&status) => ClientError::AnotherWorker(status.message().to_owned()),
        tonic::Code::FailedPrecondition | tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => {
            ClientError::Refused(status.message().to_owned())
        }
        _ => match TlsProblem::find(&status).filter(TlsProblem::is_final) {
            Some(problem) => ClientError::Refused(problem.to_string()),
            None => ClientError::Call(describe(&status)),
        },
    })
}

/// A status as one line for people, with the causes that tonic keeps in `source`.
pub fn describe(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.contains(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}
