//! The driver's half of a session: the pool of workers and every connection to them.
//!
//! ```text
//! submit ─▶ Session (pure) ─ actions ─▶ Link of a worker: handshake, submit, long poll, calls, drops
//!                ▲                           │
//!                └──────── events ◀──────────┘◀── launcher: started, exited
//! ```
//!
//! One lock guards the pool and what belongs to it. Nothing that is done under it blocks: links are told
//! by channel, the host by callbacks that only enqueue.

mod actions;
mod actors;
mod drops;
mod host;
mod link;
mod losses;
mod news;
mod partition;
mod plans;
mod process;
mod results;
mod size;
mod status;
mod task;

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use daft_k8s_core::{Attempt, Event, FailKind, LaunchId, PoolConfig, Session, TaskId, TaskKey, TaskPhase, WorkerId};
use daft_k8s_flight::{ClientConfig, DataClient};
use daft_k8s_ipc::PartitionData;
use daft_k8s_net::tls::ClientTls;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use self::{
    drops::Drops,
    link::Link,
    partition::Place,
    plans::Plans,
    process::Process,
    task::{Report, Running},
};
pub use self::{
    host::{Call, CallAnswer, DriverHost, LaunchFailed},
    partition::Partition,
    results::FetchFailure,
    task::{Ended, Outcome, TaskSpec},
};
use crate::{Level, caught};

/// How often the pool is asked whether something is due.
const TICK: Duration = Duration::from_millis(50);

/// What a driver session is told at its start.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Names the session; workers of another one are refused.
    pub session_id: String,
    /// The session's token; every call carries it.
    pub token: String,
    /// Encrypts all connections, and lets in only the session's workers; `None`: no encryption.
    pub tls: Option<ClientTls>,
    /// Version of Daft, compared in the handshake.
    pub daft_version: String,
    /// Python's major and minor version, compared in the handshake.
    pub python_version: String,
    /// A worker that has not answered for this long is lost.
    pub unreachable_timeout: Duration,
    /// The rules of the pool.
    pub pool: PoolConfig,
}

/// Connections are not given up sooner than this, however soon a worker counts as lost.
const LEAST_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl DriverConfig {
    /// How long a connection to a worker may take to come up: so long that there are two tries before the worker
    /// counts as lost.
    fn connect_timeout(&self) -> Duration {
        (self.unreachable_timeout / 2).clamp(LEAST_CONNECT_TIMEOUT, daft_k8s_control::CONNECT_TIMEOUT)
    }
}

/// How far the pool has come up.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// Workers that take tasks now.
    pub ready: usize,
    /// Set when no worker is ready and none can come up: why, for people.
    pub broken: Option<String>,
    /// The session was shut down.
    pub closed: bool,
}

/// A driver session. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    inner: Arc<Inner>,
}

struct Inner {
    config: DriverConfig,
    host: Arc<dyn DriverHost>,
    runtime: Handle,
    started: Instant,
    data: DataClient,
    state: Mutex<State>,
    readiness: watch::Sender<Readiness>,
    drops: Drops,
    next_task: AtomicU64,
    next_partition: AtomicU64,
}

/// What the one lock guards.
struct State {
    core: Session,
    tasks: HashMap<TaskId, Running>,
    /// Unfinished tasks by (query, number), as workers name them.
    by_key: HashMap<(String, u64), TaskId>,
    plans: Plans,
    links: HashMap<WorkerId, Link>,
    /// The processes that take tasks or end those that they have: all that may hold partitions.
    ready: HashMap<WorkerId, Arc<Process>>,
    /// Queries during which no worker may be let go.
    keeping: HashSet<String>,
    /// Actors that were started, with the process that hosts each.
    actors: HashMap<(WorkerId, String), LaunchId>,
    closed: bool,
}

impl Driver {
    /// Starts a session without workers.
    pub fn start(config: DriverConfig, host: Arc<dyn DriverHost>, runtime: &Handle) -> Self {
        let (dropped, to_drop) = mpsc::unbounded_channel();
        let state = State {
            core: Session::new(config.pool.clone()),
            tasks: HashMap::new(),
            by_key: HashMap::new(),
            plans: Plans::default(),
            links: HashMap::new(),
            ready: HashMap::new(),
            keeping: HashSet::new(),
            actors: HashMap::new(),
            closed: false,
        };
        let inner = Inner {
            data: DataClient::with_config(
                &config.token,
                ClientConfig {
                    tls: config.tls.clone(),
                    connect_timeout: config.connect_timeout(),
                    ..ClientConfig::default()
                },
            ),
            config,
            host,
            runtime: runtime.clone(),
            started: Instant::now(),
            state: Mutex::new(state),
            readiness: watch::Sender::new(Readiness::default()),
            drops: Drops::new(dropped),
            next_task: AtomicU64::new(0),
            next_partition: AtomicU64::new(0),
        };
        let driver = Self { inner: Arc::new(inner) };
        runtime.spawn(drops::run(Arc::downgrade(&driver.inner), to_drop));
        runtime.spawn(tick(Arc::downgrade(&driver.inner)));
        driver
    }

    /// Follows how far the pool has come up.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.inner.readiness.subscribe()
    }

    /// Queues a task; `on_end` is called once, and must neither block nor call back into the driver.
    pub fn submit(&self, prefer: WorkerId, mut spec: TaskSpec, on_end: Ended) -> TaskId {
        let task = TaskId(self.inner.next_task.fetch_add(1, Ordering::Relaxed));
        let mut state = self.inner.state.lock();
        let key = (spec.query_id.clone(), spec.task_id);
        if state.by_key.contains_key(&key) {
            // Workers would take both for one, and one of them would never end.
            drop(state);
            let message = format!("task {} of query {} was submitted twice", key.1, key.0);
            on_end(Outcome::Lost { kind: FailKind::Refused, message });
            return task;
        }
        if let Some(holder) = losses::lost_holder(&spec).filter(|_| !state.closed) {
            let message = losses::of_input(&state, holder);
            drop(state);
            on_end(Outcome::Lost { kind: FailKind::InputsLost, message: spec.describe(&message) });
            return task;
        }
        spec.inputs.iter().flat_map(|(_, partitions)| partitions).for_each(Partition::mark_read);
        spec.plan = state.plans.share(&spec.plan_hash, &spec.plan);
        state.by_key.insert(key, task);
        state.tasks.insert(task, Running { spec: Arc::new(spec), on_end });
        self.inner.act(&mut state, Event::Submit { task, prefer }, &mut None);
        task
    }

    /// The task is no longer wanted.
    pub fn cancel(&self, task: TaskId) {
        self.inner.feed(Event::CancelTask(task));
    }

    /// Cancels what still runs of a query and lets workers forget its plans.
    pub fn end_query(&self, query_id: &str) {
        let mut state = self.inner.state.lock();
        let of_query = state.tasks.iter().filter(|(_, running)| running.spec.query_id == query_id);
        let unfinished: Vec<TaskId> = of_query.map(|(task, _)| *task).collect();
        for task in unfinished {
            self.inner.act(&mut state, Event::CancelTask(task), &mut None);
        }
        for link in state.links.values() {
            link.end_query(query_id);
        }
        self.inner.no_longer_keep_all(&mut state, query_id);
    }

    /// Keeps a partition in the driver; a worker is given it when a task there needs it.
    pub fn put(&self, data: PartitionData) -> Partition {
        let number = self.inner.next_partition.fetch_add(1, Ordering::Relaxed);
        let (rows, bytes) = (data.num_rows as u64, data.size_bytes);
        let ticket = format!("driver/{number}.1:0");
        Partition::new(ticket, rows, bytes, Place::Driver(data), self.inner.drops.clone())
    }

    /// Stops every worker, fails what is in flight, closes all connections. Idempotent.
    pub fn shutdown(&self) {
        let mut state = self.inner.state.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        self.inner.act(&mut state, Event::Shutdown, &mut None);
        state.links.clear();
        state.ready.clear();
        self.inner.readiness.send_modify(|readiness| {
            readiness.ready = 0;
            readiness.closed = true;
        });
    }
}

impl State {
    /// The link to this process, while it is open.
    fn link_to(&self, process: &Arc<Process>) -> Option<&Link> {
        self.links.get(&process.worker).filter(|link| Arc::ptr_eq(&link.process, process))
    }

    fn is_ready(&self, process: &Arc<Process>) -> bool {
        self.ready.get(&process.worker).is_some_and(|ready| Arc::ptr_eq(ready, process))
    }

    /// A task that has ended is forgotten.
    fn take_task(&mut self, task: TaskId) -> Option<Running> {
        let running = self.tasks.remove(&task)?;
        self.by_key.remove(&(running.spec.query_id.clone(), running.spec.task_id));
        self.plans.release(&running.spec.plan_hash);
        Some(running)
    }
}

/// Lets the pool act on what is due.
async fn tick(inner: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        let now = inner.started.elapsed();
        let due = inner.state.lock().core.next_deadline().is_some_and(|deadline| deadline <= now);
        if due && let Err(panic) = caught(|| inner.feed(Event::Tick)) {
            inner.host.log(Level::Error, format!("the driver panicked while the pool did what was due: {panic}"));
        }
    }
}

impl Inner {
    /// Tells the pool and carries out what it decides, in order.
    fn feed(self: &Arc<Self>, event: Event) {
        self.feed_with(event, None);
    }

    /// As [`Self::feed`], with what a worker reported; a report that the pool finds stale is dropped.
    fn feed_with(self: &Arc<Self>, event: Event, mut report: Option<Report>) {
        self.act(&mut self.state.lock(), event, &mut report);
        // Partitions of a stale report are freed here, outside the lock.
        drop(report);
    }

    /// As [`Self::feed_with`], for who holds the lock.
    fn act(self: &Arc<Self>, state: &mut State, event: Event, report: &mut Option<Report>) {
        let mut panicked = None;
        for action in state.core.handle(event, self.started.elapsed()) {
            // All actions are carried out, or the pool would count on what was never done.
            let performed = catch_unwind(AssertUnwindSafe(|| self.perform(state, action, report)));
            panicked = panicked.or(performed.err());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// As [`Self::feed_with`], with news of a process: what a lost one still says does not count.
    fn feed_from(self: &Arc<Self>, process: &Process, event: Event, mut report: Option<Report>) {
        {
            let mut state = self.state.lock();
            if !process.is_lost() {
                self.act(&mut state, event, &mut report);
            }
        }
        drop(report);
    }

    /// Inputs are lost, says this attempt. The pool knows of no attempt there, so it is compared here.
    fn feed_inputs_lost(self: &Arc<Self>, process: &Process, (task, attempt): (TaskId, Attempt), reason: String) {
        let mut state = self.state.lock();
        let phase = state.core.task(task).map(|view| view.phase);
        if let Some(TaskPhase::Sent { worker, launch, attempt: present, .. }) = phase
            && (worker, launch, present) == (process.worker, process.launch, attempt)
        {
            self.act(&mut state, Event::InputsLost { task, reason }, &mut None);
        }
    }

    fn task_of(&self, key: &TaskKey) -> Option<TaskId> {
        self.state.lock().by_key.get(&(key.query.clone(), key.task)).copied()
    }

    /// The processes that hold (or held) these inputs of a task.
    fn holders_of(&self, task: TaskId, tickets: &[String]) -> Vec<Arc<Process>> {
        let tickets: HashSet<&str> = tickets.iter().map(String::as_str).collect();
        let state = self.state.lock();
        let Some(running) = state.tasks.get(&task) else { return Vec::new() };
        let inputs = running.spec.inputs.iter().flat_map(|(_, partitions)| partitions);
        let mut holders: Vec<_> = inputs
            .filter(|partition| tickets.contains(partition.ticket()))
            .filter_map(|partition| match partition.place() {
                Place::Worker(process) => Some(process.clone()),
                Place::Driver(_) | Place::Inline(_) => None,
            })
            .collect();
        holders.sort_by_key(Arc::as_ptr);
        holders.dedup_by(|left, right| Arc::ptr_eq(left, right));
        holders
    }
}
