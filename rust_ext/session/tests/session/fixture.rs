//! A session whose workers run in this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use bytes::Bytes;
use daft_k8s_core::{Addresses, Backoff, Determinism, LaunchId, PoolConfig, Run, TaskId, WorkerId};
use daft_k8s_ipc::PartitionData;
use daft_k8s_net::tls::{Identity, Issued};
use daft_k8s_session::{
    driver::{Call, Driver, DriverConfig, DriverHost, LaunchFailed, Outcome, Partition, TaskSpec},
    worker::{ActorRequest, Delivery, Host, Worker, WorkerConfig},
};
use daft_k8s_testlog::Hook;
use tokio::runtime::Runtime;
use tracing::{Dispatch, Level, Metadata};

pub const TOKEN: &str = "correct-horse";
/// No wait of a test is longer.
pub const LONG: Duration = Duration::from_secs(15);

/// The requests of the driver to its host.
pub struct Outside {
    pub launches: Receiver<(WorkerId, LaunchId, LaunchFailed)>,
    pub stops: Receiver<(WorkerId, LaunchId, String)>,
    pub calls: Receiver<Call>,
}

struct TestDriverHost {
    launches: Sender<(WorkerId, LaunchId, LaunchFailed)>,
    stops: Sender<(WorkerId, LaunchId, String)>,
    calls: Sender<Call>,
}

impl DriverHost for TestDriverHost {
    fn launch(&self, worker: WorkerId, launch: LaunchId, failed: LaunchFailed) {
        let _ = self.launches.send((worker, launch, failed));
    }

    fn stop(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let _ = self.stops.send((worker, launch, reason.to_owned()));
    }

    fn kill(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let _ = self.stops.send((worker, launch, format!("by force: {reason}")));
    }

    fn worker_call(&self, call: Call) {
        assert_ne!(call.target, POISONED_TARGET);
        let _ = self.calls.send(call);
    }

    fn worker_ready(&self, _: WorkerId) {}

    fn worker_lost(&self, _: WorkerId, _: &str) {}
}

/// A worker with what it was asked to do.
pub struct TestWorker {
    pub worker: Arc<Worker>,
    pub posted: Receiver<Posted>,
    /// Holds the folder `spill`.
    pub spill: tempfile::TempDir,
}

/// The request of a driver about an actor.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    Start { payload: Bytes, generation: u32, gpu_devices: Vec<u32> },
    Stop { generation: u32 },
}

/// The requests of a worker to its host, in order.
pub enum Posted {
    Run(Delivery),
    Cancel(String),
    /// An actor is to start, made of this, or to stop, up to this generation.
    Actor(String, Asked),
}

struct TestHost {
    posted: Sender<Posted>,
}

/// Called with each line that a worker logs, on the thread that logs it.
pub type LogHook = Arc<dyn Fn(&str) + Send + Sync>;

/// The driver's host panics when a worker calls this.
pub const POISONED_TARGET: &str = "poisoned";

/// A worker's host panics at the end of this query.
pub const POISONED_QUERY: &str = "poisoned";

impl Host for TestHost {
    fn run(&self, delivery: Delivery) {
        let _ = self.posted.send(Posted::Run(delivery));
    }

    fn cancel(&self, key: &str) {
        let _ = self.posted.send(Posted::Cancel(key.to_owned()));
    }

    fn stop(&self, _: &str) {}

    fn end_query(&self, query_id: &str) {
        assert_ne!(query_id, POISONED_QUERY);
    }

    /// Answers calls with what they carry.
    fn actor(&self, request: ActorRequest) {
        match request {
            ActorRequest::Start { actor_id, payload, generation, gpu_devices } => {
                let _ = self.posted.send(Posted::Actor(actor_id, Asked::Start { payload, generation, gpu_devices }));
            }
            ActorRequest::Stop { actor_id, generation } => {
                let _ = self.posted.send(Posted::Actor(actor_id, Asked::Stop { generation }));
            }
            ActorRequest::Call { payload, answer, .. } => answer(Ok(payload)),
        }
    }
}

impl TestWorker {
    pub fn control(&self) -> String {
        self.worker.control_address().to_string()
    }

    pub fn data(&self) -> String {
        self.worker.data_address().to_string()
    }

    pub fn next_run(&self) -> Delivery {
        match self.posted.recv_timeout(LONG).expect("no task came") {
            Posted::Run(delivery) => delivery,
            Posted::Cancel(key) => panic!("a cancel of {key} came instead of a task"),
            Posted::Actor(actor_id, _) => panic!("news of {actor_id} came instead of a task"),
        }
    }

    /// The next task, if it has come by now.
    pub fn posted_task(&self) -> Option<Delivery> {
        match self.posted.try_recv() {
            Ok(Posted::Run(delivery)) => Some(delivery),
            _ => None,
        }
    }

    pub fn next_cancel(&self) -> String {
        match self.posted.recv_timeout(LONG).expect("no cancel came") {
            Posted::Cancel(key) => key,
            Posted::Run(delivery) => panic!("{} came instead of a cancel", delivery.key),
            Posted::Actor(actor_id, _) => panic!("news of {actor_id} came instead of a cancel"),
        }
    }

    /// The next request about an actor, with the actor's id.
    pub fn next_actor(&self) -> (String, Asked) {
        match self.posted.recv_timeout(LONG).expect("no news of an actor came") {
            Posted::Actor(actor_id, asked) => (actor_id, asked),
            Posted::Run(delivery) => panic!("{} came instead of news of an actor", delivery.key),
            Posted::Cancel(key) => panic!("a cancel of {key} came instead of news of an actor"),
        }
    }

    pub fn is_left_alone(&self) -> bool {
        self.posted.recv_timeout(Duration::from_millis(200)).is_err()
    }

    pub fn finish(&self, key: &str, outputs: impl IntoIterator<Item = PartitionData>) {
        for output in outputs {
            self.worker.put_output(key, output);
        }
        self.worker.finish(key, Bytes::from_static(b"stats"));
    }

    pub fn partitions(&self) -> usize {
        self.worker.store().stats().partitions
    }
}

/// The settings that differ between tests.
pub struct Settings {
    pub workers: u32,
    pub slots: u32,
    pub queue_ahead: u32,
    pub max_message_bytes: usize,
    pub max_worker_restarts: u32,
    pub unreachable_timeout: Duration,
    /// Makes the pool elastic: it starts with `workers` and may come down to none.
    pub idle_timeout: Option<Duration>,
    /// The certificates of driver and workers.
    pub tls: Option<Issued>,
    /// Memory of each worker's store; 0: no limit.
    pub store_memory_bytes: u64,
    pub on_worker_log: LogHook,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 1,
            slots: 2,
            queue_ahead: 1,
            max_message_bytes: 64 << 20,
            max_worker_restarts: 5,
            unreachable_timeout: Duration::from_secs(5),
            idle_timeout: None,
            tls: None,
            store_memory_bytes: 0,
            on_worker_log: Arc::new(|_| {}),
        }
    }
}

/// Takes the errors of the driver, and the lines of its workers.
fn captured(errors: Arc<Mutex<Vec<String>>>, on_worker_log: LogHook) -> Dispatch {
    Dispatch::new(Hook(move |metadata: &Metadata<'_>, line: &str| {
        if !metadata.target().starts_with("daft_k8s_session::driver") {
            on_worker_log(line);
        } else if *metadata.level() == Level::ERROR {
            errors.lock().unwrap().push(line.to_owned());
        }
    }))
}

/// Has the present thread log there until its end.
fn log_to(log: &Dispatch) {
    std::mem::forget(tracing::dispatcher::set_default(log));
}

pub struct Session {
    pub driver: Driver,
    pub outside: Outside,
    pub settings: Settings,
    pub runtime: Runtime,
    /// Lines that the driver logged as errors.
    pub errors: Arc<Mutex<Vec<String>>>,
}

impl Session {
    /// A session that has asked for its workers; none is started.
    pub fn new(settings: Settings) -> Self {
        let errors = Arc::new(Mutex::new(Vec::new()));
        let log = captured(errors.clone(), settings.on_worker_log.clone());
        log_to(&log);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(2).enable_all().on_thread_start(move || log_to(&log));
        let runtime = runtime.build().unwrap();
        let (launches, launched) = channel();
        let (stops, stopped) = channel();
        let (calls, called) = channel();
        let config = DriverConfig {
            session_id: "s".into(),
            token: TOKEN.into(),
            tls: settings.tls.as_ref().map(|issued| Identity::from_pem(&issued.driver).unwrap().client().unwrap()),
            trust_workers: false,
            daft_version: "1".into(),
            python_version: "3".into(),

            pool: PoolConfig {
                slots_per_worker: settings.slots,
                queue_ahead: settings.queue_ahead,
                start_timeout: LONG,
                idle_timeout: settings.idle_timeout.unwrap_or(LONG),
                unreachable_timeout: settings.unreachable_timeout,
                max_worker_restarts: settings.max_worker_restarts,
                restart_backoff: Backoff::new(Duration::from_millis(10), Duration::from_millis(10)),
                ..PoolConfig::default()
            },
        };
        let host = TestDriverHost { launches, stops, calls };
        let driver = Driver::start(config, Arc::new(host), runtime.handle());
        match settings.idle_timeout {
            None => driver.set_desired_workers(settings.workers),
            Some(_) => driver.set_worker_range(0, settings.workers, settings.workers),
        }
        let outside = Outside { launches: launched, stops: stopped, calls: called };
        Self { driver, outside, settings, runtime, errors }
    }

    /// A session with all its workers ready, in order.
    pub fn with_workers(settings: Settings) -> (Self, Vec<TestWorker>) {
        let session = Self::new(settings);
        let mut workers = HashMap::new();
        for _ in 0..session.settings.workers {
            let (id, launch) = session.next_launch();
            let worker = session.worker(id);
            session.started(id, launch, worker.control(), worker.data());
            workers.insert(id.0, worker);
        }
        session.until_ready(session.settings.workers as usize);
        let mut workers: Vec<_> = workers.into_iter().collect();
        workers.sort_by_key(|(id, _)| *id);
        (session, workers.into_iter().map(|(_, worker)| worker).collect())
    }

    /// The driver hears that a process listens there.
    pub fn started(&self, worker: WorkerId, launch: LaunchId, control: String, data: String) {
        let peer = data.as_str().into();
        self.driver.worker_started(worker, launch, Addresses { control: control.into(), data: data.into(), peer });
    }

    pub fn next_launch(&self) -> (WorkerId, LaunchId) {
        let (worker, launch, _) = self.outside.launches.recv_timeout(LONG).expect("nothing was launched");
        (worker, launch)
    }

    /// A worker process; the driver has not heard of it.
    pub fn worker(&self, id: WorkerId) -> TestWorker {
        let spill = tempfile::tempdir().unwrap();
        let config = WorkerConfig {
            session_id: "s".into(),
            worker_id: id.to_string(),
            token: TOKEN.into(),
            tls: self.settings.tls.as_ref().map(|issued| issued.worker.clone()),
            health_port: Some(0),
            host: "127.0.0.1".into(),
            control_port: 0,
            data_port: 0,
            daft_version: "1".into(),
            python_version: "3".into(),
            slots: self.settings.slots as usize,
            memory_bytes: 0,
            store_memory_bytes: self.settings.store_memory_bytes,
            spill_dir: spill.path().join("spill"),
            max_message_bytes: self.settings.max_message_bytes,
            orphan_timeout: Duration::from_secs(60),
        };
        let (sender, posted) = channel();
        let host = TestHost { posted: sender };
        let worker = Worker::start(config, Arc::new(host), self.runtime.handle()).unwrap();
        worker.set_serving();
        TestWorker { worker: Arc::new(worker), posted, spill }
    }

    /// The number that the pool counts as held at a worker.
    pub fn holds(&self, worker: WorkerId) -> u64 {
        let workers = self.driver.status().workers;
        workers.iter().find(|view| view.worker_id == worker.to_string()).map_or(0, |view| view.holds)
    }

    /// Bytes that the driver holds of outputs that came inline.
    pub fn inline_bytes(&self) -> usize {
        self.driver.status().inline_bytes
    }

    pub fn until_ready(&self, count: usize) {
        let readiness = self.driver.readiness();
        until(|| readiness.borrow().ready >= count, "the workers are not ready");
    }

    pub fn submit(&self, task: u64, inputs: Vec<Partition>) -> Ending {
        self.submit_to(0, task, inputs)
    }

    pub fn submit_to(&self, worker: u32, task: u64, inputs: Vec<Partition>) -> Ending {
        self.submit_spec(worker, spec("q", task, b"plan", b"payload", inputs))
    }

    pub fn submit_spec(&self, worker: u32, spec: TaskSpec) -> Ending {
        let (sender, ended) = channel();
        let on_end = Box::new(move |outcome| {
            let _ = sender.send(outcome);
        });
        Ending { task: self.driver.submit(WorkerId(worker), spec, on_end), ended }
    }

    pub fn fetch(&self, partitions: &[Partition]) -> Result<Vec<PartitionData>, String> {
        let fetched = self.runtime.block_on(async { tokio::time::timeout(LONG, self.driver.fetch(partitions)).await });
        let fetched = fetched.expect("fetching took too long");
        fetched.map_err(|failure| format!("{failure:?}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.shutdown();
        let defects: Vec<String> =
            self.errors.lock().unwrap().drain(..).filter(|line| line.contains("defect")).collect();
        if !thread::panicking() {
            assert!(defects.is_empty(), "{defects:?}");
        }
    }
}

/// Hears of the end of a task.
pub struct Ending {
    pub task: TaskId,
    pub ended: Receiver<Outcome>,
}

impl Ending {
    pub fn outcome(&self) -> Outcome {
        self.ended.recv_timeout(LONG).expect("the task did not end")
    }

    pub fn partitions(&self) -> Vec<Partition> {
        match self.outcome() {
            Outcome::Success { partitions, .. } => partitions,
            other => panic!("{other:?}"),
        }
    }

    pub fn lost(&self) -> String {
        match self.outcome() {
            Outcome::Lost { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    pub fn failed(&self) -> String {
        match self.outcome() {
            Outcome::Failed { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(self.outcome(), Outcome::Cancelled)
    }
}

pub fn spec(query: &str, task: u64, plan: &[u8], payload: &[u8], inputs: Vec<Partition>) -> TaskSpec {
    TaskSpec {
        query_id: query.into(),
        task_id: task,
        name: "Scan".into(),
        plan_hash: TaskSpec::hash_plan(plan),
        plan: Bytes::copy_from_slice(plan),
        payload: Bytes::copy_from_slice(payload),
        inputs: if inputs.is_empty() { vec![] } else { vec![(7, inputs)] },
        determinism: Determinism::Unrepeatable,
        run: Run::FIRST,
        sent: Arc::default(),
    }
}

/// A partition of one column with these numbers.
pub fn numbers(values: impl IntoIterator<Item = i64>) -> PartitionData {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    let batch = RecordBatch::try_from_iter([("number", column)]).unwrap();
    PartitionData::try_new(batch.schema(), vec![batch]).unwrap()
}

pub fn rows(data: &[PartitionData]) -> Vec<usize> {
    data.iter().map(|partition| partition.num_rows).collect()
}

/// Waits until something holds.
pub fn until(mut holds: impl FnMut() -> bool, otherwise: &str) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{otherwise}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
