//! The driver's half of a session: the core with its decisions, and every connection to workers.
//!
//! ```text
//! submit ─▶ Session (pure) ─ actions ─▶ Link of a worker: handshake, submit, long poll, calls, drops
//!                ▲                           │
//!                └──────── events ◀──────────┘◀── launcher: started, exited
//! ```
//!
//! One lock guards the core and what belongs to it. Nothing that is done under it blocks: links are told
//! by channel, the host by callbacks that only enqueue.

mod actions;
mod actors;
mod clock;
mod drops;
mod host;
mod journal;
mod link;
mod news;
mod partition;
mod plans;
mod process;
mod records;
mod results;
mod size;
mod status;
mod task;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use daft_k8s_core::{
    Determinism, Event, FailKind, FetchId, Kept, PoolConfig, QueryId, Session, SlotId, TaskId, TaskKey, WorkerId,
};
use daft_k8s_flight::{ClientConfig, DataClient};
use daft_k8s_ipc::{Origin, PartitionData};
use daft_k8s_net::tls::ClientTls;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

use self::{
    actors::Actors,
    clock::Clock,
    drops::Drops,
    link::Link,
    plans::Plans,
    process::Process,
    records::Records,
    results::Verdict,
    task::{Report, Running},
};
pub use self::{
    actors::{CallRouted, PoolStarted},
    host::{Call, CallAnswer, DriverHost, LaunchFailed},
    journal::JournalSnapshot,
    partition::Partition,
    results::FetchFailure,
    status::{PoolSnapshot, WorkerSnapshot},
    task::{Ended, Outcome, TaskSpec},
};

/// The configuration of a driver session.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Names the session; workers of another one are refused.
    pub session_id: String,
    /// The session's token; every call carries it.
    pub token: String,
    /// Encrypts all connections, and lets in only the session's workers; `None`: no encryption.
    pub tls: Option<ClientTls>,
    /// The workers' data is not validated as Arrow again.
    pub trust_workers: bool,
    /// Version of Daft, compared in the handshake.
    pub daft_version: String,
    /// Python's major and minor version, compared in the handshake.
    pub python_version: String,
    /// The rules of the session's core.
    pub pool: PoolConfig,
}

/// Connections are not given up sooner than this, however soon a worker counts as lost.
const LEAST_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl DriverConfig {
    /// The longest time for a connection to a worker to come up. It allows two tries before the worker counts as lost.
    fn connect_timeout(&self) -> Duration {
        (self.pool.unreachable_timeout / 2).clamp(LEAST_CONNECT_TIMEOUT, daft_k8s_control::CONNECT_TIMEOUT)
    }
}

/// The state of the pool, for callers that wait for workers.
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
    clock: Clock,
    data: DataClient,
    state: Mutex<State>,
    readiness: watch::Sender<Readiness>,
    drops: Drops,
    next_task: AtomicU64,
    next_fetch: AtomicU64,
}

/// The state that the one lock guards.
struct State {
    core: Session,
    tasks: HashMap<TaskId, Running>,
    /// Tasks that have ended and may be run again for lost outputs.
    records: Records,
    /// Unfinished tasks by (query, number), as workers name them.
    by_key: HashMap<(String, u64), TaskId>,
    plans: Plans,
    links: HashMap<WorkerId, Link>,
    /// The processes that take tasks or end those that they have: all that may hold partitions.
    ready: HashMap<WorkerId, Arc<Process>>,
    /// Queries during which no worker may be let go.
    keeping: HashSet<String>,
    actors: Actors,
    /// Fetches that wait for the verdict on a partition that could not be read.
    fetches: HashMap<FetchId, oneshot::Sender<Verdict>>,
    closed: bool,
}

impl Driver {
    /// Starts a session without workers.
    pub fn start(config: DriverConfig, host: Arc<dyn DriverHost>, runtime: &Handle) -> Self {
        let (dropped, to_drop) = mpsc::unbounded_channel();
        let state = State {
            core: Session::new(config.pool.clone()),
            tasks: HashMap::new(),
            records: Records::new(config.pool.lineage_limit_bytes > 0),
            by_key: HashMap::new(),
            plans: Plans::default(),
            links: HashMap::new(),
            ready: HashMap::new(),
            keeping: HashSet::new(),
            actors: Actors::default(),
            fetches: HashMap::new(),
            closed: false,
        };
        let inner = Inner {
            data: DataClient::with_config(
                &config.token,
                ClientConfig {
                    tls: config.tls.clone(),
                    connect_timeout: config.connect_timeout(),
                    origin: if config.trust_workers { Origin::Sealed } else { Origin::Anybody },
                    ..ClientConfig::default()
                },
            ),
            config,
            host,
            runtime: runtime.clone(),
            clock: Clock::start(),
            state: Mutex::new(state),
            readiness: watch::Sender::new(Readiness::default()),
            drops: Drops::new(dropped),
            next_task: AtomicU64::new(0),
            next_fetch: AtomicU64::new(0),
        };
        let driver = Self { inner: Arc::new(inner) };
        runtime.spawn(drops::run(Arc::downgrade(&driver.inner), to_drop));
        runtime.spawn(clock::tick(Arc::downgrade(&driver.inner)));
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
        let inputs = spec.partitions().filter(|partition| partition.is_remote()).map(Partition::slot).collect();
        let query = QueryId::from(&*spec.query_id);
        if !state.records.are_kept {
            // Nothing is recomputed, so nothing needs its fingerprint.
            spec.determinism = Determinism::Unrepeatable;
        }
        let determinism = spec.determinism;
        let plan_bytes = if state.plans.knows(&spec.plan_hash) { 0 } else { spec.plan.len() as u64 };
        let kept = Kept { own_bytes: spec.kept_bytes() + plan_bytes, inline_inputs: spec.inline_inputs() };
        spec.plan = state.plans.share(&spec.plan_hash, &spec.plan);
        state.by_key.insert(key, task);
        state.tasks.insert(task, Running { spec: Arc::new(spec), on_end, took_part: BTreeSet::new() });
        self.inner.act(&mut state, Event::Submit { task, prefer, query, inputs, determinism, kept }, &mut None);
        task
    }

    /// The task is no longer wanted.
    pub fn cancel(&self, task: TaskId) {
        self.inner.feed(Event::CancelTask(task));
    }

    /// Cancels what still runs of a query, stops its actors and lets workers forget its plans.
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
        self.inner.act(&mut state, Event::QueryEnded(QueryId::from(query_id)), &mut None);
    }

    /// Keeps a partition in the driver; a worker is given it when a task there needs it.
    pub fn put(&self, data: PartitionData) -> Partition {
        let task = TaskId(self.inner.next_task.fetch_add(1, Ordering::Relaxed));
        Partition::put(&self.inner, task, data)
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

    fn is_anything_due(&self, now: Duration) -> bool {
        self.core.next_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// News of the processes that were heard since the last call of this.
    fn take_heard(&self) -> Option<Event> {
        let links = self.links.values().filter(|link| link.take_heard());
        let heard: Vec<_> = links.map(|link| (link.process.worker, link.process.launch)).collect();
        (!heard.is_empty()).then_some(Event::Heard(heard))
    }

    /// Drops the outputs of a report that does not count.
    fn discard(&self, process: &Arc<Process>, key: &str, report: &Report) {
        let outputs = report.outputs();
        let stored = outputs.iter().filter(|output| output.is_stored);
        let tickets: Vec<String> = stored.map(|output| format!("{key}:{}", output.slot)).collect();
        if let Some(link) = self.link_to(process).filter(|_| !tickets.is_empty()) {
            link.drop_partitions(tickets);
        }
    }

    /// A task that has ended is forgotten.
    fn take_task(&mut self, task: TaskId) -> Option<Running> {
        let running = self.tasks.remove(&task)?;
        self.by_key.remove(&(running.spec.query_id.clone(), running.spec.task_id));
        self.plans.release(&running.spec.plan_hash);
        Some(running)
    }

    /// Records a task that has ended well, for as long as the core may have it run again.
    fn record(&mut self, task: TaskId, spec: &TaskSpec, report: &Report) {
        if spec.determinism != Determinism::Unrepeatable && report.is_any_stored() {
            self.plans.share(&spec.plan_hash, &spec.plan);
            self.records.enter(task, spec);
        }
    }

    /// Tasks are not run again.
    fn forget_records(&mut self, tasks: &[TaskId]) {
        for task in tasks {
            if let Some(plan_hash) = self.records.remove(*task) {
                self.plans.release(&plan_hash);
            }
        }
    }
}

impl Inner {
    /// Tells the core and carries out what it decides, in order.
    fn feed(self: &Arc<Self>, event: Event) {
        self.act(&mut self.state.lock(), event, &mut None);
    }

    /// As [`Self::feed`], for callers that hold the lock; takes the report that the event tells of if it counts.
    fn act(self: &Arc<Self>, state: &mut State, event: Event, report: &mut Option<Report>) {
        let mut panicked = None;
        let unneeded = self.drops.take_unneeded();
        let read = (!unneeded.is_empty()).then_some(Event::Read(unneeded));
        let now = self.clock.now();
        // A worker whose time-out is due may have been heard since the last tick.
        let heard = if state.is_anything_due(now) { state.take_heard() } else { None };
        for action in state.core.handle_all(heard.into_iter().chain(read).chain([event]), now) {
            // All actions are carried out, or the pool would count on what was never done.
            let performed = catch_unwind(AssertUnwindSafe(|| self.perform(state, action, report)));
            panicked = panicked.or(performed.err());
        }
        if let Some(panic) = panicked {
            resume_unwind(panic);
        }
    }

    /// As [`Self::feed`], with news of a process: what a lost one still says does not count.
    fn feed_from(self: &Arc<Self>, process: &Arc<Process>, event: Event) {
        let mut state = self.state.lock();
        if state.link_to(process).is_some() {
            self.act(&mut state, event, &mut None);
        }
    }

    /// As [`Self::feed_from`], with a report of an attempt. The outputs of a stale one are dropped at the worker.
    fn feed_report(self: &Arc<Self>, process: &Arc<Process>, key: &str, event: Event, report: Report) {
        let mut state = self.state.lock();
        if state.link_to(process).is_none() {
            return;
        }
        let mut report = Some(report);
        self.act(&mut state, event, &mut report);
        if let Some(stale) = report {
            state.discard(process, key, &stale);
        }
    }

    fn task_of(&self, key: &TaskKey) -> Option<TaskId> {
        self.state.lock().by_key.get(&(key.query.clone(), key.task)).copied()
    }

    /// The slots of a task's inputs that a worker names by these tickets, and true if it names one that is there: some
    /// may have been recomputed since the worker was told of them.
    fn slots_of(&self, task: TaskId, tickets: &[String]) -> (Vec<SlotId>, bool) {
        let tickets: HashSet<&str> = tickets.iter().map(String::as_str).collect();
        let state = self.state.lock();
        let Some(running) = state.tasks.get(&task) else { return (Vec::new(), false) };
        let is_named = |partition: &&Partition| {
            let generation = match partition.is_remote() {
                true => state.core.generation(partition.slot()),
                false => Some(partition.own_generation()),
            };
            generation.is_some_and(|generation| tickets.contains(&*partition.ticket(generation)))
        };
        let named: Vec<&Partition> = running.spec.partitions().filter(is_named).collect();
        let slots = named.iter().filter(|partition| partition.is_remote()).map(|partition| partition.slot()).collect();
        (slots, !named.is_empty())
    }
}
