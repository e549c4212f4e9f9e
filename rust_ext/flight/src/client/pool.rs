//! Connections to peers: opened when needed, kept, shared, and opened again when broken.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use daft_k8s_net::{BoxError, MAX_FRAME_BYTES, tls};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{sync::watch, task::AbortHandle};

use super::{ClientConfig, call::ClientBody};
use crate::{FetchError, error::chain};

const WINDOW_BYTES: u32 = 1 << 30;
/// The time until the end of a connection is known.
const LAST_WORDS: Duration = Duration::from_millis(100);

pub(super) struct Pool {
    config: ClientConfig,
    peers: Mutex<HashMap<Arc<str>, Arc<Peer>>>,
}

#[derive(Default)]
struct Peer {
    connections: tokio::sync::Mutex<Connections>,
    /// Ends the tasks that drive the connections, also while one is being opened.
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Default)]
struct Connections {
    open: Vec<Connection>,
    /// When the last attempt failed, and why: those who waited for it need not try again.
    last_failure: Option<(Instant, String)>,
}

struct Connection {
    sender: SendRequest<ClientBody>,
    end: End,
    calls: Arc<AtomicUsize>,
}

/// Why a connection has ended, once it has. A call on it may learn no more than that it did.
#[derive(Clone)]
pub(super) struct End(watch::Receiver<Option<String>>);

impl End {
    /// The reason, if there is one; it may come a moment after the calls were told.
    pub(super) async fn reason(mut self) -> Option<String> {
        let told = tokio::time::timeout(LAST_WORDS, self.0.wait_for(Option::is_some)).await;
        told.ok()?.ok()?.clone()
    }
}

/// A connection lent to one call.
pub(super) struct Lease {
    pub(super) sender: SendRequest<ClientBody>,
    /// True if the connection served other calls before: it may have broken since.
    pub(super) is_used: bool,
    pub(super) end: End,
    calls: Arc<AtomicUsize>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    fn lease(&self, is_used: bool) -> Lease {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Lease { sender: self.sender.clone(), is_used, end: self.end.clone(), calls: self.calls.clone() }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Pool {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, peers: Mutex::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.peers.lock().len()
    }

    pub(super) fn forget(&self, address: &str) {
        let peer = self.peers.lock().remove(address);
        if let Some(peer) = peer {
            peer.close();
        }
    }

    pub(super) fn retain(&self, addresses: &HashSet<String>) {
        let mut gone = Vec::new();
        self.peers.lock().retain(|address, peer| {
            let stays = addresses.contains(&**address);
            if !stays {
                gone.push(peer.clone());
            }
            stays
        });
        gone.iter().for_each(|peer| peer.close());
    }

    /// A connection that is not known to be broken: an idle one, a new one, or the least busy one.
    pub(super) async fn lease(&self, address: &str) -> Result<Lease, FetchError> {
        let asked = Instant::now();
        let peer = self.peer(address);
        let mut connections = peer.connections.lock().await;
        connections.open.retain(|connection| !connection.sender.is_closed());
        let least_busy = connections.open.iter().min_by_key(|connection| connection.calls());
        let may_open = connections.open.len() < self.config.connections_per_address.max(1);
        if let Some(connection) = least_busy
            && (connection.calls() == 0 || !may_open)
        {
            return Ok(connection.lease(true));
        }
        if let Some((failed, reason)) = &connections.last_failure
            && *failed >= asked
        {
            return match least_busy {
                Some(connection) => Ok(connection.lease(true)),
                None => Err(FetchError::Unreachable { address: address.into(), source: reason.clone().into() }),
            };
        }
        match self.open(address, &peer).await {
            Ok(connection) => {
                let lease = connection.lease(false);
                connections.open.push(connection);
                Ok(lease)
            }
            Err(source) => {
                connections.last_failure = Some((Instant::now(), source.to_string()));
                match connections.open.first() {
                    Some(connection) => Ok(connection.lease(true)),
                    None => Err(FetchError::Unreachable { address: address.into(), source }),
                }
            }
        }
    }

    fn peer(&self, address: &str) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get(address) {
            return peer.clone();
        }
        // Workers come and go, each at an address of its own: those that nothing leads to any more are forgotten.
        peers.retain(|_, peer| Arc::strong_count(peer) > 1 || peer.is_connected());
        peers.entry(address.into()).or_default().clone()
    }

    async fn open(&self, address: &str, peer: &Peer) -> Result<Connection, BoxError> {
        let config = &self.config;
        let connecting = tls::connect(address, config.tls.as_ref());
        let stream = within(config.connect_timeout, connecting).await??;
        let handshake = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(MAX_FRAME_BYTES)
            .max_send_buf_size(4 << 20)
            .keep_alive_interval(config.keepalive_interval)
            .keep_alive_timeout(config.keepalive_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream));
        let (sender, connection) = within(config.connect_timeout, handshake).await??;
        let (ended, end) = watch::channel(None);
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                ended.send_replace(Some(chain(&error)));
            }
        });
        let mut tasks = peer.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task.abort_handle());
        Ok(Connection { sender, end: End(end), calls: Arc::default() })
    }
}

impl Peer {
    fn is_connected(&self) -> bool {
        self.tasks.lock().iter().any(|task| !task.is_finished())
    }

    fn close(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.close();
    }
}

async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> Result<T, BoxError> {
    let message = || format!("no connection within {} s", timeout.as_secs_f64()).into();
    tokio::time::timeout(timeout, work).await.map_err(|_| message())
}
