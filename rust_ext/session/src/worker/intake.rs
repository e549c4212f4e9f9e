//! Takes tasks in, fetches their inputs, waits for a slot, hands them to the host, and keeps the log of ends.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use daft_k8s_control::proto::{OutputPartition, Task, TaskEnd, TaskInput, task_end};
use daft_k8s_core::task_log::TaskLog;
use daft_k8s_data::{DataClient, FetchError, PartitionData, Store, StoreError, Ticket};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::{Delivery, Host};

/// Outputs up to this size are published on the caller's thread; larger ones may have to wait for a spill.
const PUBLISH_INLINE_BYTES: u64 = 1 << 20;

/// The tasks of this worker. Cheap to clone.
#[derive(Clone)]
pub(super) struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    client: DataClient,
    host: Arc<dyn Host>,
    runtime: Handle,
    tasks: Mutex<Tasks>,
    log: Mutex<TaskLog<task_end::Outcome>>,
    version: watch::Sender<u64>,
    /// One more task than there are slots may fetch its inputs, so that a freed slot is filled at once.
    fetch_slots: Arc<Semaphore>,
    run_slots: Arc<Semaphore>,
}

#[derive(Default)]
struct Tasks {
    unfinished: HashMap<String, Unfinished>,
    /// Keys ever taken, by query: a submission that is repeated after a broken connection runs once.
    seen: HashMap<String, HashSet<String>>,
}

struct Unfinished {
    cancel: watch::Sender<bool>,
    outputs: Vec<PartitionData>,
    /// Set once the host runs the task; freeing it lets the next task in.
    slot: Option<OwnedSemaphorePermit>,
}

/// Why a task's inputs did not come together.
struct InputsLost {
    tickets: Vec<String>,
    message: String,
    /// Their holder says that it does not have them.
    gone: bool,
}

impl Intake {
    pub(super) fn new(slots: usize, store: Store, client: DataClient, host: Arc<dyn Host>, runtime: Handle) -> Self {
        let inner = Inner {
            store,
            client,
            host,
            runtime,
            tasks: Mutex::default(),
            log: Mutex::new(TaskLog::new()),
            version: watch::Sender::new(0),
            fetch_slots: Arc::new(Semaphore::new(slots + 1)),
            run_slots: Arc::new(Semaphore::new(slots)),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(super) fn unfinished(&self) -> usize {
        self.inner.tasks.lock().unfinished.len()
    }

    /// Queues a task whose plan is known. A key that was taken before is ignored.
    pub(super) fn take(&self, task: Task, plan: Bytes, addresses: Arc<[String]>) {
        let (cancel, cancelled) = watch::channel(false);
        {
            let mut tasks = self.inner.tasks.lock();
            let query = query_of(&task.key).to_owned();
            if !tasks.seen.entry(query).or_default().insert(task.key.clone()) {
                return;
            }
            let unfinished = Unfinished { cancel, outputs: Vec::new(), slot: None };
            tasks.unfinished.insert(task.key.clone(), unfinished);
        }
        let intake = self.clone();
        self.inner.runtime.spawn(async move { intake.bring_to_host(task, plan, &addresses, cancelled).await });
    }

    async fn bring_to_host(&self, task: Task, plan: Bytes, addresses: &[String], cancelled: watch::Receiver<bool>) {
        let prepare = async {
            let fetching = self.inner.fetch_slots.acquire().await.ok()?;
            let inputs = self.resolve_inputs(&task.inputs, addresses).await;
            let slot = self.inner.run_slots.clone().acquire_owned().await.ok()?;
            drop(fetching);
            Some((inputs, slot))
        };
        let prepared = tokio::select! {
            biased;
            () = until_cancelled(cancelled) => {
                self.end(&task.key, task_end::Outcome::Cancelled(task_end::Cancelled {}));
                return;
            }
            prepared = prepare => prepared,
        };
        let Some((inputs, slot)) = prepared else { return };
        let inputs = match inputs {
            Ok(inputs) => inputs,
            Err(InputsLost { tickets, message, gone }) => {
                self.end(&task.key, task_end::Outcome::InputsLost(task_end::InputsLost { tickets, message, gone }));
                return;
            }
        };
        match self.inner.tasks.lock().unfinished.get_mut(&task.key) {
            Some(unfinished) => unfinished.slot = Some(slot),
            None => return,
        }
        self.inner.host.run(Delivery {
            key: task.key,
            name: task.name,
            plan_hash: hex(&task.plan_hash),
            plan,
            payload: task.payload,
            inputs,
        });
    }

    async fn resolve_inputs(
        &self,
        inputs: &[TaskInput],
        addresses: &[String],
    ) -> Result<Vec<(u32, Vec<PartitionData>)>, InputsLost> {
        let sources = inputs.iter().map(|input| self.resolve_source(input, addresses));
        let resolved = try_join_all(sources).await?;
        Ok(inputs.iter().map(|input| input.source_id).zip(resolved).collect())
    }

    /// The partitions of one source in order: own ones by reference, the others with one request per peer.
    async fn resolve_source(&self, input: &TaskInput, addresses: &[String]) -> Result<Vec<PartitionData>, InputsLost> {
        let mut found: Vec<Option<PartitionData>> = vec![None; input.partitions.len()];
        let mut remote: HashMap<&str, Vec<(usize, Ticket)>> = HashMap::new();
        for (position, partition) in input.partitions.iter().enumerate() {
            let lost = |message: String| InputsLost { tickets: vec![partition.ticket.clone()], message, gone: true };
            let ticket: Ticket = partition.ticket.parse().map_err(|error| lost(format!("{error}")))?;
            match addresses.get(partition.address as usize).map(String::as_str) {
                // The empty address stands for this worker itself.
                Some("") => {
                    let data = self.own(ticket).await.map_err(|error| lost(error.to_string()))?;
                    if let Some(place) = found.get_mut(position) {
                        *place = Some(data);
                    }
                }
                Some(address) => remote.entry(address).or_default().push((position, ticket)),
                None => return Err(lost("the driver sent no address for this input".to_owned())),
            }
        }
        let fetches = remote.into_iter().map(|(address, wanted)| async move {
            let tickets: Vec<Ticket> = wanted.iter().map(|(_, ticket)| ticket.clone()).collect();
            let fetched = self.inner.client.fetch(address, &tickets).await;
            fetched.map(|fetched| (wanted, fetched)).map_err(|error| inputs_lost(&tickets, &error))
        });
        for (wanted, fetched) in try_join_all(fetches).await? {
            for ((position, _), data) in wanted.into_iter().zip(fetched) {
                if let Some(place) = found.get_mut(position) {
                    *place = Some(data);
                }
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| InputsLost {
            tickets: Vec::new(),
            message: "a peer answered with fewer partitions than were asked for".to_owned(),
            gone: false,
        })
    }

    async fn own(&self, ticket: Ticket) -> Result<PartitionData, StoreError> {
        // In memory in nearly all cases; a spilled partition is mapped, which reads only its footer.
        self.inner.store.get(&ticket)
    }

    pub(super) fn put_output(&self, key: &str, output: PartitionData) {
        if let Some(unfinished) = self.inner.tasks.lock().unfinished.get_mut(key) {
            unfinished.outputs.push(output);
        }
    }

    pub(super) fn finish(&self, key: &str, stats: Bytes) {
        let outputs = match self.inner.tasks.lock().unfinished.get_mut(key) {
            Some(unfinished) => std::mem::take(&mut unfinished.outputs),
            None => return,
        };
        let size_bytes: u64 = outputs.iter().map(|output| output.size_bytes).sum();
        if size_bytes <= PUBLISH_INLINE_BYTES {
            self.publish(key, outputs, stats);
        } else {
            let (intake, key) = (self.clone(), key.to_owned());
            self.inner.runtime.spawn_blocking(move || intake.publish(&key, outputs, stats));
        }
    }

    fn publish(&self, key: &str, outputs: Vec<PartitionData>, stats: Bytes) {
        let described = outputs
            .iter()
            .map(|output| OutputPartition { num_rows: output.num_rows as u64, size_bytes: output.size_bytes })
            .collect();
        self.inner.store.publish(key, outputs);
        self.end(key, task_end::Outcome::Succeeded(task_end::Succeeded { outputs: described, stats }));
    }

    pub(super) fn fail(&self, key: &str, error: Bytes, message: String) {
        self.end(key, task_end::Outcome::Failed(task_end::Failed { error, message }));
    }

    pub(super) fn cancelled(&self, key: &str) {
        self.end(key, task_end::Outcome::Cancelled(task_end::Cancelled {}));
    }

    /// Enters a task's end into the log, once, and frees its slot.
    fn end(&self, key: &str, outcome: task_end::Outcome) {
        let Some(unfinished) = self.inner.tasks.lock().unfinished.remove(key) else { return };
        let Ok(key) = key.parse() else { return };
        let version = self.inner.log.lock().finish(key, outcome);
        self.inner.version.send_replace(version);
        drop(unfinished);
    }

    /// Everything that ended after `version`, at once if there is anything, else when something ends.
    /// At once, too, if this process has never given out that version: it is another one's.
    pub(super) async fn ended_after(&self, version: u64) -> (u64, Vec<TaskEnd>) {
        let mut versions = self.inner.version.subscribe();
        // The sender lives as long as `self`, so this cannot fail.
        let _ = versions.wait_for(|latest| *latest != version).await;
        let (version, ended) = self.inner.log.lock().since(version);
        let ends = ended.into_iter().map(|(key, outcome)| TaskEnd { key: key.to_string(), outcome: Some(outcome) });
        (version, ends.collect())
    }

    pub(super) fn cancel(&self, keys: &[String]) {
        for key in keys {
            let running = match self.inner.tasks.lock().unfinished.get(key) {
                Some(unfinished) => {
                    unfinished.cancel.send_replace(true);
                    unfinished.slot.is_some()
                }
                None => false,
            };
            if running {
                self.inner.host.cancel(key);
            }
        }
    }

    pub(super) fn end_query(&self, query_id: &str) {
        let keys: Vec<String> = {
            let tasks = self.inner.tasks.lock();
            tasks.unfinished.keys().filter(|key| query_of(key) == query_id).cloned().collect()
        };
        self.cancel(&keys);
        self.inner.tasks.lock().seen.remove(query_id);
        self.inner.host.end_query(query_id);
    }
}

fn query_of(key: &str) -> &str {
    key.rsplit_once('/').map_or(key, |(query, _)| query)
}

fn inputs_lost(tickets: &[Ticket], error: &FetchError) -> InputsLost {
    let (lost, gone) = match error {
        FetchError::NotFound(ticket) => (vec![ticket.to_string()], true),
        _ => (tickets.iter().map(ToString::to_string).collect(), false),
    };
    InputsLost { tickets: lost, message: error.to_string(), gone }
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
