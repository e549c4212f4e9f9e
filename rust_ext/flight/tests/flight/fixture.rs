//! A store behind a server on the loopback, and a client.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use daft_k8s_flight::{DataClient, Limits, ServerOptions, serve};
use daft_k8s_net::{
    Admission, Auth, RejectedPeers,
    tls::{ClientTls, Identity, Issued, Pem, Role, ServerTls},
};
use daft_k8s_store::{LocalStore, StoreConfig};
use daft_k8s_testlog::Hook;
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tracing::{Dispatch, Metadata, dispatcher::with_default, instrument::WithSubscriber as _};

pub const TOKEN: &str = "correct horse";

pub struct Server {
    pub address: String,
    pub store: Arc<LocalStore>,
    pub client: DataClient,
    /// The logged lines.
    pub said: Arc<Mutex<Vec<String>>>,
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

    /// A server that takes only members of this session; its client is the driver.
    pub async fn start_tls(session: &Issued) -> Self {
        let tls = Identity::from_pem(&session.worker).unwrap().server(&[Role::Driver, Role::Worker]).unwrap();
        let address = "127.0.0.1:0".parse().unwrap();
        let client = DataClient::with_tls(TOKEN, Some(client_tls(&session.driver)));
        Self::start_as(address, 0, Limits::default(), Some(tls), client).await
    }

    pub async fn start_at(address: SocketAddr, store_memory_bytes: u64, limits: Limits) -> Self {
        Self::start_as(address, store_memory_bytes, limits, None, DataClient::new(TOKEN)).await
    }

    async fn start_as(
        address: SocketAddr,
        store_memory_bytes: u64,
        limits: Limits,
        tls: Option<ServerTls>,
        client: DataClient,
    ) -> Self {
        let spill_dir = tempfile::tempdir().unwrap();
        let config =
            StoreConfig { store_memory_bytes, worker_memory_bytes: 0, spill_dir: spill_dir.path().join("spill") };
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = said.clone();
        let log = Dispatch::new(Hook(move |_: &Metadata<'_>, line: &str| lines.lock().push(line.to_owned())));
        let store = with_default(&log, || LocalStore::new(config)).unwrap();
        let store = Arc::new(store);
        let auth = Auth::new(TOKEN, RejectedPeers::default()).with_tls(tls);
        let options = ServerOptions { auth, admission: Admission::of_open_files(), limits };
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, store.clone(), options, shutdown).with_subscriber(log));
        Self { address, store, client, said, spill_dir, stop: Some(stop), task }
    }

    /// Asks the server to stop and waits until it has.
    pub async fn stop(mut self) -> SocketAddr {
        let _ = self.stop.take().map(|stop| stop.send(()));
        within(10, &mut self.task).await.unwrap();
        self.address.parse().unwrap()
    }
}

pub fn client_tls(pem: &Pem) -> ClientTls {
    Identity::from_pem(pem).unwrap().client().unwrap()
}

/// Fails the test if the future takes longer.
pub async fn within<T>(seconds: u64, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), work).await.expect("took too long")
}
