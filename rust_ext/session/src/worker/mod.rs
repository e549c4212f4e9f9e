//! The worker's half of a session.
//!
//! ```text
//! SubmitTask ─▶ waiting ─▶ fetching inputs ─▶ waiting for a slot ─▶ running (Host) ─▶ ended ─▶ AwaitTask
//!                  └────────────┴── cancel: ended at once ──┘          └─ cancel: asked of the Host
//! ```
//!
//! A task's outputs are collected aside and published all at once when it ends well.

mod actors;
mod calls;
mod inputs;
mod intake;
mod plans;
mod service;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_flight::DataClient;
use daft_k8s_ipc::PartitionData;
use daft_k8s_net::{
    Admission, Auth, RejectedPeers,
    tls::{ClientTls, Identity, Pem, Role, ServerTls, TlsError},
};
use daft_k8s_store::{LocalStore, Store, StoreConfig};
use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Handle, sync::watch};

use self::{actors::Peers, calls::Calls, intake::Intake};

/// The settings of a worker process, given at its start.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The session that may use this worker.
    pub session_id: String,
    /// The logical worker that this process stands behind.
    pub worker_id: String,
    /// The session's token; every call must carry it.
    pub token: String,
    /// This worker's certificate and key: connections are encrypted, and only between members of the session; `None`:
    /// plain TCP.
    pub tls: Option<Pem>,
    /// Address to listen on.
    pub host: String,
    /// Port of the control server; 0 takes any.
    pub control_port: u16,
    /// Port of the data server; 0 takes any.
    pub data_port: u16,
    /// Port for probes, which have neither certificate nor token; `None`: none.
    pub health_port: Option<u16>,
    /// Version of Daft, compared in the handshake.
    pub daft_version: String,
    /// Python's major and minor version, compared in the handshake.
    pub python_version: String,
    /// The number of tasks that run at once.
    pub slots: usize,
    /// Memory of the whole process.
    pub memory_bytes: u64,
    /// The part of it that the partition store may take.
    pub store_memory_bytes: u64,
    /// Private directory for spilled partitions.
    pub spill_dir: std::path::PathBuf,
    /// Largest control message that is accepted.
    pub max_message_bytes: usize,
    /// A worker that hears nothing of its driver for this long stops.
    pub orphan_timeout: Duration,
}

/// Takes the reason why the host cannot run a task, which thereby fails.
pub type Refusal = Box<dyn FnOnce(String) + Send>;

/// A task whose inputs are here and for which a slot is free.
pub struct Delivery {
    /// `<query id>/<task id>.<attempt>`.
    pub key: String,
    /// Operator chain, for people.
    pub name: String,
    /// Hash of `plan`, as hexadecimal text.
    pub plan_hash: String,
    /// The pickled plan.
    pub plan: Bytes,
    /// Configuration, context and small inputs, pickled by the driver.
    pub payload: Bytes,
    /// Input partitions by source id, in order.
    pub inputs: Vec<(u32, Vec<PartitionData>)>,
    /// For a host that cannot even start the task.
    pub refuse: Refusal,
}

/// The runner of the tasks. No method may block, or call back into the worker.
pub trait Host: Send + Sync + 'static {
    /// Runs a task; the host answers with `finish`, `fail` or `cancelled` of [`Worker`].
    fn run(&self, delivery: Delivery);
    /// A running task is no longer wanted.
    fn cancel(&self, key: &str);
    /// The driver drains this worker, or is gone: finish and exit.
    fn stop(&self, reason: &str);
    /// The query is over; what is cached for it may be forgotten.
    fn end_query(&self, query_id: &str);
    /// Something is asked of the actors in this process.
    fn actor(&self, request: ActorRequest);
}

/// A request of the driver or of another worker to a worker's actors.
pub enum ActorRequest {
    /// Start an actor, unless it is there already.
    Start {
        /// Names the actor in the session.
        actor_id: String,
        /// The description of the actor, pickled by the driver.
        payload: Bytes,
        /// The number of its place.
        generation: u32,
        /// Indices of the worker's GPUs that it may use, wholly or in part.
        gpu_devices: Vec<u32>,
    },
    /// Stop an actor; an unknown one is fine.
    Stop {
        /// Names the actor in the session.
        actor_id: String,
        /// The last of its generations that is meant.
        generation: u32,
    },
    /// A task of another worker calls an actor.
    Call {
        /// Names the actor in the session.
        actor_id: String,
        /// The call, as the caller encoded it.
        payload: Bytes,
        /// Takes the answer.
        answer: CallReply,
    },
}

/// Answer to a call: the reply or the reason why there is none.
pub type CallReply = Box<dyn FnOnce(Result<Bytes, String>) + Send>;

/// The servers, the partition store and the tasks of one worker process.
pub struct Worker {
    shared: Arc<Shared>,
    control_address: SocketAddr,
    data_address: SocketAddr,
    health_address: Option<SocketAddr>,
    health: daft_k8s_control::HealthSwitch,
    shutdown: watch::Sender<bool>,
    runtime: Handle,
}

/// State that the servers, the intake and the host share.
struct Shared {
    config: WorkerConfig,
    instance_id: String,
    store: Arc<dyn Store>,
    intake: Intake,
    calls: Calls,
    peers: Peers,
    host: Arc<dyn Host>,
    draining: AtomicBool,
    /// The slots that calls of cancelled tasks hold, and these calls.
    stuck: Mutex<(u32, String)>,
    last_call: Mutex<Instant>,
}

impl Worker {
    /// Binds the ports and serves; Health answers NOT_SERVING until [`Worker::set_serving`].
    pub fn start(config: WorkerConfig, host: Arc<dyn Host>, runtime: &Handle) -> io::Result<Self> {
        runtime.block_on(Self::bind(config, host, runtime.clone()))
    }

    async fn bind(config: WorkerConfig, host: Arc<dyn Host>, runtime: Handle) -> io::Result<Self> {
        let control = TcpListener::bind((config.host.as_str(), config.control_port)).await?;
        let data = TcpListener::bind((config.host.as_str(), config.data_port)).await?;
        let probes = match config.health_port {
            Some(port) => Some(TcpListener::bind((config.host.as_str(), port)).await?),
            None => None,
        };
        let health_address = probes.as_ref().map(TcpListener::local_addr).transpose()?;
        let (control_address, data_address) = (control.local_addr()?, data.local_addr()?);
        let store_config = StoreConfig {
            store_memory_bytes: config.store_memory_bytes,
            worker_memory_bytes: config.memory_bytes,
            spill_dir: config.spill_dir.clone(),
        };
        let store: Arc<dyn Store> = Arc::new(LocalStore::new(store_config)?);
        let tls = config.tls.as_ref().map(Tls::new).transpose().map_err(io::Error::other)?;
        let client = DataClient::with_tls(&config.token, tls.as_ref().map(|tls| tls.client.clone()));
        let intake = Intake::new(config.slots, store.clone(), client, host.clone(), runtime.clone());
        let shared = Arc::new(Shared {
            instance_id: uuid::Uuid::new_v4().to_string(),
            store: store.clone(),
            intake,
            calls: Calls::default(),
            peers: Peers::new(&config.token, tls.as_ref().map(|tls| tls.client.clone())),
            host,
            draining: AtomicBool::new(false),
            stuck: Mutex::default(),
            last_call: Mutex::new(Instant::now()),
            config,
        });
        let auth = Auth::new(&shared.config.token, RejectedPeers::default())
            .of_worker(&shared.config.worker_id)
            .with_tls(tls.map(|tls| tls.server));
        let admission = Admission::of_open_files();
        let (shutdown, stopping) = watch::channel(false);
        let (health, serving) = daft_k8s_control::serve(
            control,
            service::Service::new(shared.clone()),
            daft_k8s_control::ServerOptions {
                auth: auth.clone(),
                admission: admission.clone(),
                max_message_bytes: shared.config.max_message_bytes,
            },
            stopped(stopping.clone()),
        )
        .await;
        runtime.spawn(serving);
        if let Some(probes) = probes {
            runtime.spawn(daft_k8s_control::serve_health(probes, health.clone(), stopped(stopping.clone())));
        }
        runtime.spawn(daft_k8s_flight::serve(
            data,
            store,
            daft_k8s_flight::ServerOptions { auth, admission, limits: daft_k8s_flight::Limits::default() },
            stopped(stopping.clone()),
        ));
        runtime.spawn(watch_for_driver(shared.clone(), stopping));
        Ok(Self { shared, control_address, data_address, health_address, health, shutdown, runtime })
    }

    /// Identifies this process; a worker that is started again has another one.
    pub fn instance_id(&self) -> &str {
        &self.shared.instance_id
    }

    /// The address on which the control server listens.
    pub fn control_address(&self) -> SocketAddr {
        self.control_address
    }

    /// The address on which the data server listens.
    pub fn data_address(&self) -> SocketAddr {
        self.data_address
    }

    /// The address on which probes are answered, if there is a port for them.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Health answers SERVING from now on.
    pub fn set_serving(&self) {
        self.runtime.block_on(self.health.set_serving(true));
        *self.shared.last_call.lock() = Instant::now();
    }

    /// Keeps one output of a running task aside.
    pub fn put_output(&self, key: &str, output: PartitionData) {
        self.shared.intake.put_output(key, output);
    }

    /// A task ended well: its outputs are published and told to the driver.
    pub fn finish(&self, key: &str, stats: Bytes) {
        self.shared.intake.finish(key, stats);
    }

    /// A task failed; its outputs are discarded.
    pub fn fail(&self, key: &str, error: Bytes, message: String) {
        self.shared.intake.fail(key, error, message);
    }

    /// A task was cancelled; its outputs are discarded.
    pub fn cancelled(&self, key: &str) {
        self.shared.intake.cancelled(key);
    }

    /// Calls the driver over the stream that it opened.
    pub fn call_driver(&self, target: String, payload: Bytes, reply: CallReply) {
        self.shared.calls.call(target, payload, reply);
    }

    /// Calls an actor of the worker whose control server listens at `address`.
    pub fn call_peer(&self, address: String, actor_id: String, payload: Bytes, reply: CallReply) {
        let shared = self.shared.clone();
        self.runtime.spawn(async move { reply(shared.peers.call(&address, actor_id, payload).await) });
    }

    /// Refuses new tasks from now on.
    pub fn begin_drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        let health = self.health.clone();
        self.runtime.spawn(async move { health.set_serving(false).await });
    }

    /// Notes how many slots are held by calls of cancelled tasks; the driver learns of it with the next poll.
    pub fn set_stuck(&self, slots: u32, calls: String) {
        *self.shared.stuck.lock() = (slots, calls);
    }

    /// The number of tasks that have not ended yet.
    pub fn unfinished_tasks(&self) -> usize {
        self.shared.intake.unfinished()
    }

    /// Number of remembered queries that have not ended.
    pub fn seen_queries(&self) -> usize {
        self.shared.intake.seen_queries()
    }

    /// The partition store.
    pub fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    /// Closes both servers and removes what was spilled; nothing is spilled after that.
    pub fn shutdown(&self) {
        self.shutdown.send_replace(true);
        self.shared.store.close();
    }
}

/// A worker's certificate, as its connections and its servers use it.
struct Tls {
    client: ClientTls,
    server: ServerTls,
}

impl Tls {
    fn new(pem: &Pem) -> Result<Self, TlsError> {
        let identity = Identity::from_pem(pem)?;
        Ok(Self { client: identity.client()?, server: identity.server(&[Role::Driver, Role::Worker])? })
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop as well.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Stops the worker when its driver has not called for the orphan time-out.
async fn watch_for_driver(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let limit = shared.config.orphan_timeout;
    let interval = (limit / 10).clamp(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(interval) => {}
        }
        let silence = shared.last_call.lock().elapsed();
        if silence >= limit {
            let reason = format!("the driver has not called for {:.0} s", silence.as_secs_f64());
            tracing::warn!("{reason}; stopping");
            // Nobody will ask for what they make.
            shared.intake.cancel_all();
            shared.host.stop(&reason);
            return;
        }
    }
}
