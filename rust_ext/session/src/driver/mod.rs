//! The driver's half of a session: the pool of workers and every connection to them.
//!
//! ```text
//! submit ─▶ Pool (pure) ─ actions ─▶ Link of a worker: handshake, submit, long poll, calls, drops
//!              ▲                          │
//!              └──────── events ◀─────────┘◀── launcher: started, exited
//! ```
//!
//! One lock guards the pool and what belongs to it. Nothing that is done under it blocks: links are told
//! by channel, the host by callbacks that only enqueue.

mod drops;
mod link;
mod partition;
mod plans;
mod results;
mod size;
mod status;
mod task;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_core::{
    Action, Addresses, Attempt, Event, ExitCause, FailKind, LaunchId, Pool, PoolConfig, TaskId, TaskKey, TaskPhase,
    WorkerId,
};
use daft_k8s_data::{DataClient, PartitionData};
use daft_k8s_tls::ClientTls;
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
    task::{Report, Running},
};
pub use self::{
    partition::Partition,
    results::FetchFailure,
    task::{Ended, Outcome, TaskSpec},
};
use crate::Level;

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

/// Answers one call of a worker.
pub type CallAnswer = Box<dyn FnOnce(Result<Bytes, String>) + Send>;

/// A call of a worker to its driver.
pub struct Call {
    /// Who calls.
    pub worker: WorkerId,
    /// What is called, e.g. `limit/3`.
    pub target: String,
    /// The arguments.
    pub payload: Bytes,
    /// Takes the answer.
    pub answer: CallAnswer,
}

/// Takes the reason why a process could not even be launched.
pub type LaunchFailed = Box<dyn FnOnce(String) + Send>;

/// The outside of a session. No method may block, or call back into the driver.
pub trait DriverHost: Send + Sync + 'static {
    /// Start a process for a worker; answered by `worker_started` or `worker_exited` of [`Driver`], or,
    /// later and not from within this call, by `failed`.
    fn launch(&self, worker: WorkerId, launch: LaunchId, failed: LaunchFailed);
    /// Stop that process.
    fn stop(&self, worker: WorkerId, launch: LaunchId, reason: &str);
    /// A worker calls.
    fn worker_call(&self, call: Call);
    /// A process of this worker takes tasks, and actors, from now on.
    fn worker_ready(&self, worker: WorkerId);
    /// The process that was ready is lost, and with it all that it held.
    fn worker_lost(&self, worker: WorkerId, reason: &str);
    /// A line for the log.
    fn log(&self, level: Level, message: String);
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
    pool: Pool,
    tasks: HashMap<TaskId, Running>,
    /// Unfinished tasks by (query, number), as workers name them.
    by_key: HashMap<(String, u64), TaskId>,
    plans: Plans,
    links: HashMap<WorkerId, Link>,
    ready: HashMap<WorkerId, LaunchId>,
    /// Why processes were lost, so that a task that misses their partitions can say so.
    losses: HashMap<(WorkerId, LaunchId), Arc<str>>,
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
            pool: Pool::new(config.pool.clone()),
            tasks: HashMap::new(),
            by_key: HashMap::new(),
            plans: Plans::default(),
            links: HashMap::new(),
            ready: HashMap::new(),
            losses: HashMap::new(),
            keeping: HashSet::new(),
            actors: HashMap::new(),
            closed: false,
        };
        let inner = Inner {
            data: DataClient::with_tls(&config.token, config.tls.clone()),
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

    /// The launcher: a process listens.
    pub fn worker_started(&self, worker: WorkerId, launch: LaunchId, addresses: Addresses) {
        self.inner.feed(Event::Started { worker, launch, addresses });
    }

    /// The launcher: a process is gone, or never came.
    pub fn worker_exited(
        &self,
        worker: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) {
        self.inner.exited(worker, launch, reason, restartable, cause);
    }

    /// The launcher: somebody else told a process to stop; it ends what it runs and takes no more.
    pub fn worker_leaving(&self, worker: WorkerId, launch: LaunchId) {
        self.inner.feed(Event::Leaving { worker, launch });
    }

    /// Queues a task; `on_end` is called once, and must neither block nor call back into the driver.
    pub fn submit(&self, prefer: WorkerId, mut spec: TaskSpec, on_end: Ended) -> TaskId {
        let task = TaskId(self.inner.next_task.fetch_add(1, Ordering::Relaxed));
        let mut state = self.inner.state.lock();
        let key = (spec.query_id.clone(), spec.task_id);
        if state.by_key.contains_key(&key) {
            // Workers would take both for one, and one of them would never end.
            drop(state);
            on_end(Outcome::Lost { message: format!("task {} of query {} was submitted twice", key.1, key.0) });
            return task;
        }
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

    /// Has a worker start an actor; false if no process of it is ready. Should it be lost before it hears of it,
    /// the host is told of the loss.
    pub fn start_actor(&self, worker: WorkerId, actor_id: &str, payload: Bytes) -> bool {
        let mut state = self.inner.state.lock();
        let launch = match state.links.get(&worker).filter(|_| state.ready.contains_key(&worker)) {
            Some(link) => {
                link.start_actor(actor_id, payload);
                link.launch
            }
            None => return false,
        };
        // An elastic pool does not let its worker go.
        if state.actors.insert((worker, actor_id.to_owned()), launch) != Some(launch) {
            self.inner.act(&mut state, Event::Hold { worker, launch, count: 1 }, &mut None);
        }
        true
    }

    /// Has a worker stop an actor, if both are still there; not one that was started since as a later generation.
    pub fn stop_actor(&self, worker: WorkerId, actor_id: &str, generation: u32) {
        let mut state = self.inner.state.lock();
        if let Some(link) = state.links.get(&worker) {
            link.stop_actor(actor_id, generation);
        }
        if let Some(launch) = state.actors.remove(&(worker, actor_id.to_owned())) {
            self.inner.act(&mut state, Event::Release { worker, launch, count: 1 }, &mut None);
        }
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
        let due = inner.state.lock().pool.next_deadline().is_some_and(|deadline| deadline <= now);
        if due {
            inner.feed(Event::Tick);
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
        for action in state.pool.handle(event, self.started.elapsed()) {
            self.perform(state, action, report);
        }
    }

    /// Inputs are lost, says this attempt. The pool knows of no attempt there, so it is compared here.
    fn feed_inputs_lost(
        self: &Arc<Self>,
        task: TaskId,
        (worker, launch, attempt): (WorkerId, LaunchId, Attempt),
        reason: String,
    ) {
        let mut state = self.state.lock();
        let phase = state.pool.task(task).map(|view| view.phase);
        if let Some(TaskPhase::Sent { worker: w, launch: l, attempt: a, .. }) = phase
            && (w, l, a) == (worker, launch, attempt)
        {
            self.act(&mut state, Event::InputsLost { task, reason }, &mut None);
        }
    }

    fn task_of(&self, key: &TaskKey) -> Option<TaskId> {
        self.state.lock().by_key.get(&(key.query.clone(), key.task)).copied()
    }

    /// The processes that hold (or held) these inputs of a task.
    fn holders_of(&self, task: TaskId, tickets: &[String]) -> Vec<(WorkerId, LaunchId)> {
        let tickets: HashSet<&str> = tickets.iter().map(String::as_str).collect();
        let state = self.state.lock();
        let Some(running) = state.tasks.get(&task) else { return Vec::new() };
        let inputs = running.spec.inputs.iter().flat_map(|(_, partitions)| partitions);
        let mut holders: Vec<_> = inputs
            .filter(|partition| tickets.contains(partition.ticket()))
            .filter_map(|partition| match partition.place() {
                Place::Worker(worker, launch) => Some((*worker, *launch)),
                Place::Driver(_) => None,
            })
            .collect();
        holders.sort();
        holders.dedup();
        holders
    }

    fn exited(
        self: &Arc<Self>,
        worker: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) {
        self.note_loss(worker, launch, &reason);
        self.feed(Event::Exited { worker, launch, reason, restartable, cause });
    }

    /// A lost process whose link is still open was restarted in place: the new one was given nothing yet, and
    /// counts its calls from the beginning.
    fn renew_link(self: &Arc<Self>, state: &mut State, worker: WorkerId, launch: LaunchId) {
        let incarnation = state.pool.worker(worker).and_then(|view| view.incarnation.cloned());
        if let Some(link) = state.links.get_mut(&worker).filter(|link| link.launch == launch) {
            *link = Link::open(self, worker, launch, link.addresses.clone(), incarnation);
        }
    }

    fn note_loss(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let mut state = self.state.lock();
        // One that was never ready held nothing, and there is no end of those: a full quota, an image that is not there.
        if state.ready.get(&worker) == Some(&launch) {
            state.losses.entry((worker, launch)).or_insert_with(|| reason.into());
        }
    }

    fn perform(self: &Arc<Self>, state: &mut State, action: Action, report: &mut Option<Report>) {
        match action {
            Action::Launch { worker, launch } => {
                self.host.log(Level::Debug, format!("{worker}: launch {launch}"));
                let inner = Arc::downgrade(self);
                let failed = Box::new(move |reason: String| {
                    if let Some(inner) = inner.upgrade() {
                        inner.exited(worker, launch, reason, true, ExitCause::NeverStarted);
                    }
                });
                self.host.launch(worker, launch, failed);
            }
            Action::Stop { worker, launch, reason } => {
                self.host.log(Level::Debug, format!("{worker}: stop launch {launch}: {reason}"));
                self.host.stop(worker, launch, &reason);
            }
            Action::Connect { worker, launch, addresses } => {
                state.links.insert(worker, Link::open(self, worker, launch, addresses, None));
            }
            Action::Disconnect { worker, launch } => {
                if state.links.get(&worker).is_some_and(|link| link.launch == launch)
                    && let Some(link) = state.links.remove(&worker)
                {
                    self.data.forget(&link.addresses.data);
                }
            }
            Action::Send { task, attempt, worker, launch } => task::send(self, state, task, attempt, worker, launch),
            Action::CancelOnWorker { task, attempt, worker, launch } => {
                let link = state.links.get(&worker).filter(|link| link.launch == launch);
                if let (Some(link), Some(running)) = (link, state.tasks.get(&task)) {
                    link.cancel(running.spec.key(attempt));
                }
            }
            Action::Deliver { task, .. } => {
                if let (Some(running), Some(report)) = (state.take_task(task), report.take()) {
                    (running.on_end)(report.into_outcome());
                }
            }
            Action::FailTask { task, kind, message } => {
                if let Some(running) = state.take_task(task) {
                    let message = explain(&running, kind, &message);
                    (running.on_end)(Outcome::Lost { message });
                }
            }
            Action::Cancelled { task } => {
                if let Some(running) = state.take_task(task) {
                    (running.on_end)(Outcome::Cancelled);
                }
            }
            Action::WorkerReady { worker, launch, incarnation } => {
                self.host.log(Level::Info, format!("{worker} is ready (incarnation {incarnation})"));
                state.ready.insert(worker, launch);
                self.host.worker_ready(worker);
                self.readiness.send_modify(|readiness| {
                    readiness.ready = state.ready.len();
                    readiness.broken = None;
                });
            }
            Action::WorkerLost { worker, launch, reason, orderly, .. } => {
                if orderly {
                    self.host.log(Level::Info, format!("{worker} is let go: {reason}"));
                } else {
                    self.host.log(Level::Warning, format!("{worker} was lost: {reason}"));
                }
                self.host.worker_lost(worker, &reason);
                state.actors.retain(|(at, _), of| (*at, *of) != (worker, launch));
                state.losses.entry((worker, launch)).or_insert(reason);
                self.renew_link(state, worker, launch);
                if state.ready.get(&worker) == Some(&launch) {
                    state.ready.remove(&worker);
                }
                self.readiness.send_modify(|readiness| readiness.ready = state.ready.len());
            }
            Action::Grown { by, to, tasks } => {
                self.host.log(Level::Info, format!("the pool grows by {by} to {to} workers: {tasks} tasks to do"));
            }
            Action::PoolBroken { message } => {
                self.host.log(Level::Error, format!("no worker is left: {message}"));
                self.readiness.send_modify(|readiness| readiness.broken = Some(message.to_string()));
            }
        }
    }
}

fn explain(running: &Running, kind: FailKind, message: &str) -> String {
    let spec = &running.spec;
    match kind {
        FailKind::Lost => format!("task {} ({}) of query {}: {message}", spec.task_id, spec.name, spec.query_id),
        FailKind::NoWorkers | FailKind::Shutdown => message.to_owned(),
    }
}
