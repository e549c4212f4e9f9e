//! An accept loop for HTTP/2 services that outlives whatever connects to it.
//!
//! Peers that never speak, that speak something else, that vanish, or that come by the thousand
//! cost a file descriptor for a few seconds and nothing more. No limit of the process stops the
//! loop: it waits and goes on.

mod admission;
mod frames;
mod newcomers;
mod preface;

use std::{
    fmt::Display,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

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
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
};
use tracing::instrument::WithSubscriber as _;

pub use self::{admission::Admission, newcomers::Standing};
use self::{newcomers::Newcomer, preface::Greeted};
use crate::{
    Auth,
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
    /// The time, from its greeting on, for a connection on which no call has shown the token; without `auth`: any.
    pub newcomer_timeout: Duration,
    /// Open connections, on this and other ports; more wait in the listener's queue.
    pub admission: Admission,
    /// Calls at a time on one connection; more wait at the peer.
    pub max_concurrent_streams: u32,
    /// Flow-control window of a call and of a connection, in bytes.
    pub window_bytes: u32,
    /// The largest frame that is taken; it is put together in memory whatever the windows.
    pub max_frame_bytes: u32,
    /// The time for which calls may go on after the shutdown.
    pub drain_timeout: Duration,
}

impl AcceptOptions {
    /// The usual treatment of connections that share `admission`.
    pub fn new(admission: Admission) -> Self {
        Self {
            admission,
            auth: None,
            preface_timeout: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(10),
            // A ping waits behind what was sent before, and through a tunnel to a slow line that takes long. It only
            // finds out who has vanished, which is no hurry; whether a worker is still there clients find out.
            keepalive_timeout: Duration::from_secs(60),
            newcomer_timeout: Duration::from_secs(10),
            max_concurrent_streams: 256,
            window_bytes: 1 << 30,
            max_frame_bytes: MAX_FRAME_BYTES,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// The sender of a request.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The other end of its connection.
    pub address: Option<SocketAddr>,
    /// The part that its certificate gives it in the session; `None` without TLS.
    pub role: Option<Role>,
    /// The state of its connection.
    pub standing: Standing,
}

/// The largest frames that we send and take.
pub const MAX_FRAME_BYTES: u32 = 1 << 20;

const LEAST_BACKOFF: Duration = Duration::from_millis(10);
const MOST_BACKOFF: Duration = Duration::from_secs(1);

/// Serves every connection that the listener accepts, until `shutdown` resolves and what was
/// running then has ended or the drain time-out has passed.
///
/// A tower service is passed as
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
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut backoff = LEAST_BACKOFF;
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &options.admission) => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, permit)) => {
                if backoff > LEAST_BACKOFF {
                    tracing::info!("connections are accepted again");
                }
                backoff = LEAST_BACKOFF;
                // Here, in the order of arrival: a connection that follows a flood is not taken for older than it.
                let address = stream.peer_addr().ok();
                let peer = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip());
                let newcomer = options.admission.newcomers.add(peer);
                let (service, options, stopped) = (service.clone(), options.clone(), stopped.clone());
                let serving = async move {
                    serve_connection(stream, address, newcomer, service, &options, stopped).await;
                    drop(permit);
                };
                // A connection logs where its server does.
                connections.spawn(serving.with_current_subscriber());
            }
            Err(error) if concerns_one_peer(&error) => {}
            // Out of files or memory: existing connections will end and free some.
            Err(error) => {
                if backoff == LEAST_BACKOFF {
                    tracing::error!(%error, "cannot accept connections, trying on: {error}");
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

async fn accept(listener: &TcpListener, admission: &Admission) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = admission.place().await.ok_or(io::ErrorKind::BrokenPipe)?;
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

fn report(options: &AcceptOptions, address: Option<SocketAddr>, reason: &dyn Display) {
    if let Some(auth) = &options.auth {
        auth.rejected_peers().add(address, reason);
    }
}

async fn greet(stream: TcpStream, tls: Option<&ServerTls>, standing: Standing) -> io::Result<Greeted> {
    preface::read(tls::accept(stream, tls).await?, standing).await
}

async fn serve_connection<S, B>(
    stream: TcpStream,
    address: Option<SocketAddr>,
    newcomer: Newcomer,
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
    let tls = options.auth.as_ref().and_then(Auth::tls);
    let greeting = greet(stream, tls, newcomer.standing().clone());
    let greeted = tokio::select! {
        greeted = tokio::time::timeout(options.preface_timeout, greeting) => greeted,
        reason = newcomer.turned_away(options.preface_timeout) => return report(options, address, &reason),
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    let stream = match greeted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if let Some(problem) = TlsProblem::find(&error).filter(is_of_no_member) {
                report(options, address, &problem);
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
        .max_frame_size(options.max_frame_bytes)
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_send_buf_size(4 << 20)
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout);
    let caller = Caller { address, role: stream.peer_role(), standing: newcomer.standing().clone() };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        service.clone().call(request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut connection => {
            if let Some(reason) = newcomer.standing().reason() {
                report(options, address, &reason);
            }
            return;
        }
        reason = newcomer.turned_away(options.newcomer_timeout) => return report(options, address, &reason),
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
