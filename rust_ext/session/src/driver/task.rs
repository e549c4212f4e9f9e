//! A task on its way: what it is, where its inputs are, how it ended.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use daft_k8s_control::proto::{InputPartition, Task, TaskInput};
use daft_k8s_core::{Attempt, Event, FailKind, LaunchId, TaskId, WorkerId};
use daft_k8s_ipc::PartitionData;
use sha2::{Digest, Sha256};

use super::{Inner, Partition, Place, State, losses, process::Process};

/// What a task is. It holds references to its inputs, so these live until it has ended.
#[derive(Debug)]
pub struct TaskSpec {
    /// The query that it belongs to.
    pub query_id: String,
    /// Its number within the query.
    pub task_id: u64,
    /// Operator chain, for people.
    pub name: String,
    /// The pickled plan.
    pub plan: Bytes,
    /// SHA-256 of the plan.
    pub plan_hash: Bytes,
    /// Configuration, context and small inputs, pickled.
    pub payload: Bytes,
    /// Input partitions by source id, in order.
    pub inputs: Vec<(u32, Vec<Partition>)>,
    /// Set once the task is given to a worker, for its owner: from then on the task may have had an effect.
    pub sent: Arc<AtomicBool>,
}

impl TaskSpec {
    /// The hash by which a plan travels.
    pub fn hash_plan(plan: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&Sha256::digest(plan))
    }

    /// The task's name for people.
    pub(super) fn words(&self) -> String {
        format!("task {} ({}) of query {}", self.task_id, self.name, self.query_id)
    }

    /// The message with the task's name, for people.
    pub(super) fn describe(&self, message: &str) -> String {
        format!("{}: {message}", self.words())
    }

    pub(super) fn key(&self, attempt: Attempt) -> String {
        format!("{}/{}.{}", self.query_id, self.task_id, attempt)
    }
}

/// How a task ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ran.
    Success {
        /// Its outputs, by slot.
        partitions: Vec<Partition>,
        /// Daft's encoded execution statistics.
        stats: Bytes,
        /// Where it ran.
        worker: WorkerId,
    },
    /// Its own code failed.
    Failed {
        /// The pickled exception; empty if there is none.
        error: Bytes,
        /// Its text, with the worker's traceback.
        message: String,
        /// Where it ran.
        worker: WorkerId,
    },
    /// The infrastructure failed it.
    Lost {
        /// The kind of failure, by which the owner decides what can be tried again.
        kind: FailKind,
        /// What happened, to which worker, and what to do; for people.
        message: String,
    },
    /// It was cancelled.
    Cancelled,
}

/// Called once with the end of a task. Must neither block nor call back into the driver.
pub type Ended = Box<dyn FnOnce(Outcome) + Send>;

/// A task that has not ended.
pub(super) struct Running {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) on_end: Ended,
}

/// What a worker reported of an attempt; counts only if the pool says so.
pub(super) enum Report {
    Succeeded { partitions: Vec<Partition>, stats: Bytes, worker: WorkerId },
    Failed { error: Bytes, message: String, worker: WorkerId },
}

impl Report {
    /// The outputs of an attempt that succeeded.
    pub(super) fn partitions(&self) -> &[Partition] {
        match self {
            Self::Succeeded { partitions, .. } => partitions,
            Self::Failed { .. } => &[],
        }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Succeeded { partitions, stats, worker } => Outcome::Success { partitions, stats, worker },
            Self::Failed { error, message, worker } => Outcome::Failed { error, message, worker },
        }
    }
}

/// A task carries inline inputs up to this size; those beyond are sent ahead, one by one.
const INLINE_INPUT_BYTES: usize = 4 << 20;

/// The place where the worker finds an input.
#[derive(Debug)]
enum Source {
    /// In its own store.
    Itself,
    /// At another process.
    Peer(Arc<Process>),
    /// In the message.
    Inline(Bytes),
}

/// One attempt, ready to be put on the wire.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) key: String,
    pub(super) spec: Arc<TaskSpec>,
    /// Parallel to `spec.inputs`.
    sources: Vec<Vec<Source>>,
    /// Of the inputs in the message.
    inline_bytes: usize,
    /// Inputs that the driver owns and the worker must be given first.
    pub(super) uploads: Vec<(String, PartitionData)>,
}

/// Sends an attempt to a worker, or tells the pool which input is lost.
pub(super) fn send(
    inner: &Arc<Inner>,
    state: &mut State,
    task: TaskId,
    attempt: Attempt,
    worker: WorkerId,
    launch: LaunchId,
) {
    let Some(spec) = state.tasks.get(&task).map(|running| running.spec.clone()) else { return };
    let Some(link) = state.links.get(&worker).filter(|link| link.process.launch == launch) else { return };
    match locate_inputs(state, &spec, &link.process) {
        Ok(Located { sources, inline_bytes, uploads }) => {
            let key = spec.key(attempt);
            spec.sent.store(true, Ordering::Release);
            link.submit(Submission { task, attempt, key, spec, sources, inline_bytes, uploads });
        }
        Err(reason) => {
            // Told from outside the lock that is held here.
            let inner = inner.clone();
            inner.runtime.clone().spawn(async move { inner.feed(Event::InputsLost { task, reason }) });
        }
    }
}

/// A task's inputs on their way to one process.
#[derive(Default)]
struct Located {
    sources: Vec<Vec<Source>>,
    inline_bytes: usize,
    uploads: Vec<(String, PartitionData)>,
}

impl Located {
    fn locate(&mut self, state: &State, partition: &Partition, reader: &Arc<Process>) -> Result<Source, String> {
        match partition.place() {
            Place::Inline(stream) if self.inline_bytes + stream.len() <= INLINE_INPUT_BYTES => {
                self.inline_bytes += stream.len();
                Ok(Source::Inline(stream.clone()))
            }
            Place::Driver(_) | Place::Inline(_) => {
                let data = partition.at_hand().map_err(|error| format!("it cannot be read: {error}"))?;
                partition.note_upload();
                self.uploads.extend(data.map(|data| (partition.ticket().to_owned(), data)));
                Ok(Source::Itself)
            }
            Place::Worker(holder) if Arc::ptr_eq(holder, reader) => Ok(Source::Itself),
            Place::Worker(holder) if holder.is_lost() => Err(losses::of_input(state, holder)),
            Place::Worker(holder) => Ok(Source::Peer(holder.clone())),
        }
    }
}

fn locate_inputs(state: &State, spec: &TaskSpec, reader: &Arc<Process>) -> Result<Located, String> {
    let mut located = Located::default();
    for (_, partitions) in &spec.inputs {
        let sources = partitions.iter().map(|partition| located.locate(state, partition, reader));
        let sources = sources.collect::<Result<Vec<Source>, String>>()?;
        located.sources.push(sources);
    }
    Ok(located)
}

impl Submission {
    /// Has the inputs sent ahead that the message was to carry; false if there are none.
    pub(super) fn send_ahead(&mut self) -> bool {
        let partitions = self.spec.inputs.iter().flat_map(|(_, partitions)| partitions);
        for (partition, source) in partitions.zip(self.sources.iter_mut().flatten()) {
            if matches!(source, Source::Inline(_))
                && let Ok(Some(data)) = partition.at_hand()
            {
                partition.note_upload();
                self.uploads.push((partition.ticket().to_owned(), data));
                *source = Source::Itself;
            }
        }
        self.inline_bytes = 0;
        !self.uploads.is_empty()
    }

    /// About the size of the message, without the plan.
    pub(super) fn size_bytes(&self) -> usize {
        let inputs: usize = self.spec.inputs.iter().map(|(_, partitions)| partitions.len()).sum();
        let ticket_bytes = self.key.len() + 32;
        self.spec.payload.len() + self.spec.name.len() + self.inline_bytes + (inputs + 1) * ticket_bytes
    }

    /// The message for the wire; the processes that it refers to are entered into the request's table once each.
    pub(super) fn to_wire(&self, peers: &mut PeerTable) -> Task {
        let inputs = self.spec.inputs.iter().zip(&self.sources).map(|((source_id, partitions), sources)| TaskInput {
            source_id: *source_id,
            partitions: partitions
                .iter()
                .zip(sources)
                .map(|(partition, source)| {
                    let ticket = partition.ticket().to_owned();
                    match source {
                        Source::Itself => {
                            InputPartition { ticket, address: peers.itself(), ..InputPartition::default() }
                        }
                        Source::Peer(process) => {
                            InputPartition { ticket, address: peers.index_of(process), ..InputPartition::default() }
                        }
                        Source::Inline(stream) => {
                            InputPartition { ticket, stream: stream.clone(), ..InputPartition::default() }
                        }
                    }
                })
                .collect(),
        });
        Task {
            key: self.key.clone(),
            name: self.spec.name.clone(),
            plan_hash: self.spec.plan_hash.clone(),
            payload: self.spec.payload.clone(),
            inputs: inputs.collect(),
        }
    }
}

/// The processes that the inputs of one request refer to, each once.
#[derive(Default)]
pub(super) struct PeerTable {
    pub(super) addresses: Vec<String>,
    pub(super) holders: Vec<String>,
    /// By the address of the record; 0 for the worker that reads.
    index: HashMap<usize, u32>,
}

impl PeerTable {
    /// The empty address stands for the worker that reads.
    fn itself(&mut self) -> u32 {
        self.enter(0, String::new, String::new)
    }

    fn index_of(&mut self, process: &Arc<Process>) -> u32 {
        self.enter(Arc::as_ptr(process).addr(), || process.addresses.peer.to_string(), || process.worker_id.to_string())
    }

    fn enter(&mut self, key: usize, address: impl Fn() -> String, holder: impl Fn() -> String) -> u32 {
        *self.index.entry(key).or_insert_with(|| {
            self.addresses.push(address());
            self.holders.push(holder());
            u32::try_from(self.addresses.len() - 1).unwrap_or(u32::MAX)
        })
    }
}
