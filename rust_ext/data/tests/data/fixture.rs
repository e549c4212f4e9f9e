//! A store behind a server on the loopback, and a client.

use std::{net::SocketAddr, time::Duration};

use daft_k8s_data::{Auth, DataClient, Limits, Store, StoreConfig, log, serve};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub const TOKEN: &str = "correct horse";

pub struct Server {
    pub address: String,
    pub store: Store,
    pub client: DataClient,
    pub spill_dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(0, Limits::default()).await
    }

    pub async fn start_with(store_memory_bytes: u64, limits: Limits) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), store_memory_bytes, limits).await
    }

    pub async fn start_at(address: SocketAddr, store_memory_bytes: u64, limits: Limits) -> Self {
        let spill_dir = tempfile::tempdir().unwrap();
        let config =
            StoreConfig { store_memory_bytes, worker_memory_bytes: 0, spill_dir: spill_dir.path().join("spill") };
        let store = Store::new(config, log::silent()).unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, store.clone(), Auth::new(TOKEN), limits, shutdown));
        Self { address, store, client: DataClient::new(TOKEN), spill_dir, stop: Some(stop), task }
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(mut self) -> SocketAddr {
        let _ = self.stop.take().map(|stop| stop.send(()));
        within(10, &mut self.task).await.unwrap();
        self.address.parse().unwrap()
    }
}

/// Fails the test if the future takes longer.
pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("took too long")
}
