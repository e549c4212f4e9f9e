//! An accept loop for HTTP/2 services that outlives whatever connects to it.
//!
//! Peers that never speak, that speak something else, that vanish, or that come by the thousand
//! cost a file descriptor for a few seconds and nothing more. No limit of the process stops the
//! loop: it waits and goes on.

mod preface;

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use daft_k8s_core::{Level, LogSink, log};
use http::Request;
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::http2,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use self::preface::Greeted;
use crate::{
    Auth, sys,
    tls::{self, Role, ServerTls, TlsProblem},
};

/// A boxed error of another library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The time-outs and limits of connections.
#[derive(Clone)]
pub struct AcceptOptions {
    /// Takes only connections that this lets in; `None`: any, as TCP carries it.
    pub auth: Option<Auth>,
    /// The time for a new peer to announce HTTP/2, and with TLS to identify itself.
    pub preface_timeout: Duration,
    /// A peer that has been silent for so long is pinged.
    pub keepalive_interval: Duration,
    /// A peer that does not answer a ping for so long is given up.
    pub keepalive_timeout: Duration,
    /// Open connections; more wait in the listener's queue. `None`: three quarters of the files
    /// that the process may open, which leaves the rest to itself.
    pub max_connections: Option<usize>,
    /// Calls at a time on one connection; more wait at the peer.
    pub max_concurrent_streams: u32,
    /// Flow-control window of a call and of a connection, in bytes.
    pub window_bytes: u32,
    /// The time for which calls may go on after the shutdown.
    pub drain_timeout: Duration,
    /// Is told when no connection can be accepted, and when that is over.
    pub log: LogSink,
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            auth: None,
            preface_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(10),
            // A ping waits behind what was sent before, and through a tunnel to a slow line that takes long. It only
            // finds out who has vanished, which is no hurry; whether a worker is still there clients find out.
            keepalive_timeout: Duration::from_secs(60),
            max_connections: None,
            max_concurrent_streams: 256,
            window_bytes: 1 << 30,
            drain_timeout: Duration::from_secs(5),
            log: log::silent(),
        }
    }
}

/// The sender of a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The other end of its connection.
    pub address: Option<SocketAddr>,
    /// The part that its certificate gives it in the session; `None` without TLS.
    pub role: Option<Role>,
}

/// The largest frames that we send and take.
pub const MAX_FRAME_BYTES: u32 = 1 << 20;

const LEAST_BACKOFF: Duration = Duration::from_millis(10);
const MOST_BACKOFF: Duration = Duration::from_secs(1);

/// Serves every connection that the listener accepts, until `shutdown` resolves and what was
/// running then has ended or the drain time-out has passed.
///
/// Raises the process's soft limit of open files to the hard one. A tower service is passed as
/// `hyper_util::service::TowerToHyperService::new(service)`. Each request has its [`Caller`]
/// among its extensions.
pub async fn serve_connections<S, B>(
    listener: TcpListener,
    service: S,
    options: AcceptOptions,
    shutdown: impl Future<Output = ()>,
) where
    S: HttpService<Incoming, ResBody = B> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let open_files = sys::raise_open_file_limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(1024);
    let permits = options.max_connections.unwrap_or(open_files / 4 * 3).clamp(1, Semaphore::MAX_PERMITS);
    let permits = Arc::new(Semaphore::new(permits));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut backoff = LEAST_BACKOFF;
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, permit)) => {
                if backoff > LEAST_BACKOFF {
                    (options.log)(Level::Info, "connections are accepted again".into());
                }
                backoff = LEAST_BACKOFF;
                let (service, options, stopped) = (service.clone(), options.clone(), stopped.clone());
                connections.spawn(async move {
                    serve_connection(stream, service, &options, stopped).await;
                    drop(permit);
                });
            }
            Err(error) if concerns_one_peer(&error) => {}
            // Out of files or memory: existing connections will end and free some.
            Err(error) => {
                if backoff == LEAST_BACKOFF {
                    (options.log)(Level::Error, format!("cannot accept connections, trying on: {error}"));
                }
                tokio::select! {
                    () = &mut shutdown => break,
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(MOST_BACKOFF),
                }
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(options.drain_timeout, drained).await;
    connections.shutdown().await;
}

async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// A connection that merely broke is of no interest: port scans and probes of load balancers do that.
fn is_of_no_member(problem: &TlsProblem) -> bool {
    problem.is_final() || *problem == TlsProblem::NotTls
}

async fn greet(stream: TcpStream, tls: Option<&ServerTls>) -> io::Result<Greeted> {
    preface::read(tls::accept(stream, tls).await?).await
}

async fn serve_connection<S, B>(
    stream: TcpStream,
    service: S,
    options: &AcceptOptions,
    mut stopped: watch::Receiver<bool>,
) where
    S: HttpService<Incoming, ResBody = B> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let address = stream.peer_addr().ok();
    let tls = options.auth.as_ref().and_then(Auth::tls);
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(options.preface_timeout, greet(stream, tls)) => greeted,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    let stream = match greeted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if let (Some(auth), Some(problem)) = (&options.auth, TlsProblem::find(&error).filter(is_of_no_member)) {
                auth.rejected_peers().add(address, &problem);
            }
            return;
        }
        Err(_) => return,
    };
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(options.window_bytes)
        .initial_connection_window_size(options.window_bytes)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_send_buf_size(4 << 20)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    let caller = Caller { address, role: stream.peer_role() };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller);
        service.clone().call(request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut connection => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
