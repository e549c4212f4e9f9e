//! Takes tasks in, fetches their inputs, waits for a slot, hands them to the host, and keeps the log of ends.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use daft_k8s_control::proto::{OutputPartition, Task, TaskEnd, task_end};
use daft_k8s_core::{TaskKey, task_log::TaskLog};
use daft_k8s_flight::DataClient;
use daft_k8s_ipc::PartitionData;
use daft_k8s_store::{Pressure, Store};
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{
    Delivery, Host,
    inputs::{Inputs, InputsLost, PeerAddresses},
};
use crate::caught;

/// Queries whose keys are remembered: more than ever run at once, should the end of some not be told.
const SEEN_QUERIES: usize = 4096;
/// Queries that are remembered as ended: what still comes of them is not wanted. Each task that recomputes lost outputs
/// has a query id of its own.
const ENDED_QUERIES: usize = 4096;
/// Outputs up to this size are published on the caller's thread, which is the host's: it must never wait. What is
/// larger takes longer to describe and to free.
const PUBLISH_AT_ONCE_BYTES: u64 = 1 << 20;
/// The same where fingerprints are made, which takes a millisecond for a megabyte.
const FINGERPRINT_AT_ONCE_BYTES: u64 = 64 << 10;

/// Ends in one answer to the long poll, beyond the first. A slow connection then shows progress within seconds.
const ANSWER_BYTES: usize = 1 << 20;

/// A task's only output travels to the driver along with the news of it if its stream is no longer than this.
/// The driver keeps it as long as the reference, so it must be cheap even for a hundred thousand of them.
const INLINE_BYTES: usize = 4 << 10;
/// The outputs of a task with effects travel so up to this size: a task that has written must not be run again
/// because the list of the files that it wrote was lost.
const EFFECTS_INLINE_BYTES: usize = 1 << 20;
/// Daft's operators that change something outside. In the name of a task they are joined by "->".
const OPERATORS_WITH_EFFECTS: [&str; 5] = ["PhysicalWrite", "CommitWrite", "CatalogWrite", "LanceWrite", "DataSink"];

/// The tasks of this worker. Cheap to clone.
#[derive(Clone)]
pub(super) struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    inputs: Inputs,
    host: Arc<dyn Host>,
    runtime: Handle,
    tasks: Mutex<Tasks>,
    log: Mutex<TaskLog<task_end::Outcome>>,
    version: watch::Sender<u64>,
    /// The driver has no room for more outputs inline.
    inline_full: AtomicBool,
    /// One more task than there are slots may fetch its inputs, so that a freed slot is filled at once.
    fetch_slots: Arc<Semaphore>,
    run_slots: Arc<Semaphore>,
}

#[derive(Default)]
struct Tasks {
    unfinished: HashMap<String, Unfinished>,
    /// Keys ever heard of, by query: a submission that is repeated after a broken connection runs once, and
    /// one that was overtaken by its cancel does not run.
    seen: HashMap<String, HashSet<String>>,
    /// The queries of `seen` in the order in which they came, and some that have ended since.
    seen_queries: VecDeque<String>,
    ended_queries: VecDeque<String>,
    is_ended: HashSet<String>,
}

impl Tasks {
    /// Remembers a key; false if it is known already.
    fn meet(&mut self, query: &str, key: &str) -> bool {
        if let Some(keys) = self.seen.get_mut(query) {
            return keys.insert(key.to_owned());
        }
        self.seen_queries.push_back(query.to_owned());
        while self.seen_queries.len() > SEEN_QUERIES {
            if let Some(oldest) = self.seen_queries.pop_front() {
                self.seen.remove(&oldest);
            }
        }
        self.seen.entry(query.to_owned()).or_default().insert(key.to_owned())
    }

    fn has_ended(&self, query: &str) -> bool {
        self.is_ended.contains(query)
    }
}

/// The outputs of a task that travel to the driver along with the news of its end.
#[derive(Debug, Clone, Copy)]
enum Inlining {
    /// None: they take the place of outputs in a store.
    Never,
    /// The only one, if it is tiny.
    IfTiny,
    /// All, if they are small: those of a task with effects.
    OfEffects,
}

/// The form in which the outputs of a task are published.
#[derive(Debug, Clone, Copy)]
struct Form {
    inlining: Inlining,
    fingerprints: bool,
}

struct Unfinished {
    cancel: watch::Sender<bool>,
    outputs: Vec<PartitionData>,
    form: Form,
    /// The host is done with it; its outputs may have to wait until memory is free.
    is_publishing: bool,
    /// Set once the host runs the task; freeing it lets the next task in.
    slot: Option<OwnedSemaphorePermit>,
}

impl Intake {
    pub(super) fn new(
        slots: usize,
        store: Arc<dyn Store>,
        client: DataClient,
        host: Arc<dyn Host>,
        runtime: Handle,
    ) -> Self {
        let inner = Inner {
            inputs: Inputs::new(store.clone(), client),
            store,
            host,
            runtime,
            tasks: Mutex::default(),
            log: Mutex::new(TaskLog::new()),
            version: watch::Sender::new(0),
            inline_full: AtomicBool::new(false),
            fetch_slots: Arc::new(Semaphore::new(slots + 1)),
            run_slots: Arc::new(Semaphore::new(slots)),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.inner.tasks.lock().unfinished.len()
    }

    /// Number of remembered queries that have not ended.
    pub(super) fn seen_queries(&self) -> usize {
        self.inner.tasks.lock().seen.len()
    }

    /// True if this key was taken before, or cancelled before it came.
    pub(super) fn knows(&self, key: &TaskKey) -> bool {
        let tasks = self.inner.tasks.lock();
        tasks.seen.get(&key.query).is_some_and(|keys| keys.contains(&key.to_string()))
    }

    /// Queues a task whose plan is known. A key that was taken before is ignored.
    pub(super) fn take(&self, key: TaskKey, task: Task, plan: Bytes, peers: Arc<PeerAddresses>) {
        let (cancel, cancelled) = watch::channel(false);
        {
            let mut tasks = self.inner.tasks.lock();
            if tasks.has_ended(&key.query) {
                drop(tasks);
                return self.enter(key, cancelled_end());
            }
            if !tasks.meet(&key.query, &task.key) {
                return;
            }
            let inlining = match (task.recomputes, has_effects(&task.name)) {
                (true, _) => Inlining::Never,
                (false, true) => Inlining::OfEffects,
                (false, false) => Inlining::IfTiny,
            };
            let form = Form { inlining, fingerprints: task.fingerprints };
            let unfinished = Unfinished { cancel, outputs: Vec::new(), form, is_publishing: false, slot: None };
            tasks.unfinished.insert(task.key.clone(), unfinished);
        }
        let intake = self.clone();
        self.inner.runtime.spawn(async move {
            let mut preparation = Preparation { intake: &intake, key: task.key.clone(), is_over: false };
            intake.bring_to_host(task, plan, &peers, cancelled).await;
            preparation.is_over = true;
        });
    }

    /// Hands the task over to the host, or ends it.
    async fn bring_to_host(&self, task: Task, plan: Bytes, peers: &PeerAddresses, cancelled: watch::Receiver<bool>) {
        let prepare = async {
            // Neither semaphore is ever closed.
            let fetching = self.inner.fetch_slots.acquire().await.ok();
            // What is lost is told at once, not when a slot is free.
            let inputs = self.inner.inputs.resolve(&task.inputs, peers).await?;
            let slot = self.inner.run_slots.clone().acquire_owned().await.ok();
            drop(fetching);
            Ok((inputs, slot))
        };
        let prepared = tokio::select! {
            biased;
            () = until_cancelled(cancelled) => {
                self.end(&task.key, cancelled_end());
                return;
            }
            prepared = prepare => prepared,
        };
        let (inputs, slot) = match prepared {
            Ok(prepared) => prepared,
            Err(InputsLost { tickets, message, gone }) => {
                self.end(&task.key, task_end::Outcome::InputsLost(task_end::InputsLost { tickets, message, gone }));
                return;
            }
        };
        let (intake, key) = (self.clone(), task.key.clone());
        let delivery = Delivery {
            key: task.key.clone(),
            name: task.name,
            plan_hash: hex(&task.plan_hash),
            plan,
            payload: task.payload,
            inputs,
            refuse: Box::new(move |message| intake.fail(&key, Bytes::new(), message)),
        };
        // Under the lock, so that a cancel comes either before this or, to the host, after it.
        let mut tasks = self.inner.tasks.lock();
        match tasks.unfinished.get_mut(&task.key) {
            Some(unfinished) if !*unfinished.cancel.borrow() => {
                unfinished.slot = slot;
                self.inner.host.run(delivery);
            }
            _ => {
                drop(tasks);
                self.end(&task.key, cancelled_end());
            }
        }
    }

    pub(super) fn put_output(&self, key: &str, output: PartitionData) {
        if let Some(unfinished) = self.inner.tasks.lock().unfinished.get_mut(key) {
            unfinished.outputs.push(output);
        }
    }

    pub(super) fn finish(&self, key: &str, stats: Bytes) {
        let (outputs, form) = match self.inner.tasks.lock().unfinished.get_mut(key) {
            Some(unfinished) => {
                unfinished.is_publishing = true;
                (std::mem::take(&mut unfinished.outputs), unfinished.form)
            }
            None => return,
        };
        let size_bytes: u64 = outputs.iter().map(|output| output.size_bytes).sum();
        if size_bytes <= if form.fingerprints { FINGERPRINT_AT_ONCE_BYTES } else { PUBLISH_AT_ONCE_BYTES } {
            self.publish(key, outputs, form, stats);
        } else {
            let (intake, key) = (self.clone(), key.to_owned());
            self.inner.runtime.spawn_blocking(move || intake.publish(&key, outputs, form, stats));
        }
    }

    /// Publishes outputs without waiting. The task ends now or, if memory has run out, once some of it is freed.
    fn publish(&self, key: &str, outputs: Vec<PartitionData>, form: Form, stats: Bytes) {
        let published = self.or_fail(key, || {
            let mut described: Vec<OutputPartition> = outputs.iter().map(|output| describe(output, form)).collect();
            let pressure = match self.streams(&outputs, form.inlining) {
                // The driver holds them from now on.
                Some(streams) => {
                    for (output, stream) in described.iter_mut().zip(streams) {
                        output.stream = stream.into();
                    }
                    Pressure::None
                }
                None => self.inner.store.insert(key, outputs),
            };
            (pressure, task_end::Outcome::Succeeded(task_end::Succeeded { outputs: described, stats }))
        });
        match published {
            Some((Pressure::None, outcome)) => self.end_published(key, outcome),
            Some((Pressure::OutOfMemory, outcome)) => {
                let (intake, key) = (self.clone(), key.to_owned());
                self.inner.runtime.spawn_blocking(move || {
                    if intake.or_fail(&key, || intake.inner.store.relieve()).is_some() {
                        intake.end_published(&key, outcome);
                    }
                });
            }
            None => {}
        }
    }

    /// Does a part of publishing. A panic in it fails the task, or the task would never end.
    fn or_fail<T>(&self, key: &str, work: impl FnOnce() -> T) -> Option<T> {
        match caught(work) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.inner.store.drop_task(key);
                let message = format!("the worker could not publish the task's outputs, it panicked: {panic}");
                tracing::error!(task = key, "{key}: {message}");
                self.fail(key, Bytes::new(), message);
                None
            }
        }
    }

    fn end_published(&self, key: &str, outcome: task_end::Outcome) {
        if !self.end(key, outcome) {
            // It has ended in another way meanwhile, and nothing refers to these outputs.
            self.inner.store.drop_task(key);
        }
    }

    /// The outputs as streams, if all of them are to travel inline.
    fn streams(&self, outputs: &[PartitionData], inlining: Inlining) -> Option<Vec<Vec<u8>>> {
        let mut limit_bytes = match (inlining, outputs.len()) {
            (Inlining::OfEffects, _) => EFFECTS_INLINE_BYTES,
            (Inlining::IfTiny, 1) if !self.inner.inline_full.load(Ordering::Relaxed) => INLINE_BYTES,
            _ => return None,
        };
        let mut streams = Vec::with_capacity(outputs.len());
        for output in outputs {
            let stream = output.to_stream(limit_bytes)?;
            limit_bytes -= stream.len();
            streams.push(stream);
        }
        Some(streams)
    }

    /// Notes whether the driver has room for outputs inline.
    pub(super) fn set_inline_full(&self, is_full: bool) {
        self.inner.inline_full.store(is_full, Ordering::Relaxed);
    }

    pub(super) fn fail(&self, key: &str, error: Bytes, message: String) {
        self.end(key, task_end::Outcome::Failed(task_end::Failed { error, message }));
    }

    pub(super) fn cancelled(&self, key: &str) {
        self.end(key, cancelled_end());
    }

    /// Enters a task's end into the log and frees its slot; false if it has ended before.
    fn end(&self, key: &str, outcome: task_end::Outcome) -> bool {
        let Some(unfinished) = self.inner.tasks.lock().unfinished.remove(key) else { return false };
        if let Ok(key) = key.parse() {
            self.enter(key, outcome);
        }
        drop(unfinished);
        true
    }

    fn enter(&self, key: TaskKey, outcome: task_end::Outcome) {
        let mut log = self.inner.log.lock();
        let version = log.finish(key, outcome);
        // Under the lock: were it to fall back for a moment, a poll could sleep over an end.
        self.inner.version.send_replace(version);
    }

    /// The ends after `version`, at once if there is anything, else when something ends. The oldest ends come
    /// first, as many as one answer should carry, with the version up to which they reach.
    /// At once, too, if this process has never given out that version: it is another one's.
    pub(super) async fn ended_after(&self, version: u64) -> (u64, Vec<TaskEnd>) {
        let mut versions = self.inner.version.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = versions.wait_for(|latest| *latest != version).await;
        let mut bytes = 0;
        let (version, ended) = self.inner.log.lock().since_while(version, |_, outcome| {
            bytes += outcome.encoded_len();
            bytes <= ANSWER_BYTES
        });
        let ends = ended.into_iter().map(|(key, outcome)| TaskEnd { key: key.to_string(), outcome: Some(outcome) });
        (version, ends.collect())
    }

    pub(super) fn cancel(&self, keys: &[String]) {
        for text in keys {
            let Ok(key) = text.parse::<TaskKey>() else { continue };
            let mut tasks = self.inner.tasks.lock();
            if let Some(unfinished) = tasks.unfinished.get(text) {
                unfinished.cancel.send_replace(true);
                let (is_running, is_publishing) = (unfinished.slot.is_some(), unfinished.is_publishing);
                drop(tasks);
                if is_publishing {
                    // The host knows it no more, and the wait for memory may last: its outputs are dropped after it.
                    self.end(text, cancelled_end());
                } else if is_running {
                    self.inner.host.cancel(text);
                }
            } else if !tasks.has_ended(&key.query) && tasks.meet(&key.query, text) {
                // It has overtaken its task, which will be ignored when it comes.
                drop(tasks);
                self.enter(key, cancelled_end());
            }
        }
    }

    pub(super) fn cancel_all(&self) {
        let keys: Vec<String> = self.inner.tasks.lock().unfinished.keys().cloned().collect();
        self.cancel(&keys);
    }

    pub(super) fn end_query(&self, query_id: &str) {
        let keys: Vec<String> = {
            let mut tasks = self.inner.tasks.lock();
            tasks.seen.remove(query_id);
            if tasks.is_ended.insert(query_id.to_owned()) {
                tasks.ended_queries.push_back(query_id.to_owned());
            }
            if tasks.ended_queries.len() > ENDED_QUERIES
                && let Some(oldest) = tasks.ended_queries.pop_front()
            {
                tasks.is_ended.remove(&oldest);
            }
            tasks.unfinished.keys().filter(|key| query_of(key) == query_id).cloned().collect()
        };
        self.cancel(&keys);
        self.inner.host.end_query(query_id);
    }
}

/// Ends the task should the code that prepares it break off.
struct Preparation<'a> {
    intake: &'a Intake,
    key: String,
    is_over: bool,
}

impl Drop for Preparation<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.intake.fail(&self.key, Bytes::new(), "the worker broke off preparing the task".to_owned());
        }
    }
}

fn cancelled_end() -> task_end::Outcome {
    task_end::Outcome::Cancelled(task_end::Cancelled {})
}

/// An output that is in the store: it has no stream.
fn describe(output: &PartitionData, form: Form) -> OutputPartition {
    OutputPartition {
        num_rows: output.num_rows as u64,
        size_bytes: output.size_bytes,
        stream: Bytes::new(),
        fingerprint: if form.fingerprints { output.fingerprint() } else { None },
    }
}

/// True if the task changes something outside, such as files.
fn has_effects(name: &str) -> bool {
    name.split("->").any(|operator| OPERATORS_WITH_EFFECTS.contains(&operator.trim()))
}

fn query_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(query, _)| query)
}

async fn until_cancelled(mut cancelled: watch::Receiver<bool>) {
    if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
        // The task ended some other way; nobody will cancel it any more.
        std::future::pending::<()>().await;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
