//! A task on its way: its specification, the place of its inputs, its end.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use daft_k8s_control::proto::{InputPartition, Task, TaskInput};
use daft_k8s_core::{
    Attempt, Determinism, Event, FailKind, Generation, LaunchId, Location, Output, Run, SlotId, TaskId, WorkerId,
};
use daft_k8s_ipc::PartitionData;
use sha2::{Digest, Sha256};

use super::{
    Inner, Partition, State,
    partition::{Data, TaskName},
    process::Process,
    records,
};

/// The specification of a task. It holds references to its inputs, so these live until the task has ended.
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
    /// The determinism of its outputs.
    pub determinism: Determinism,
    /// The first run, unless the driver has it recompute lost outputs.
    pub run: Run,
    /// Set once the task is given to a worker, for its owner: from then on the task may have had an effect.
    pub sent: Arc<AtomicBool>,
}

impl TaskSpec {
    /// The hash by which a plan travels.
    pub fn hash_plan(plan: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&Sha256::digest(plan))
    }

    /// The input partitions of all sources.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.inputs.iter().flat_map(|(_, partitions)| partitions)
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

    /// The inputs that came to the driver with their tasks' ends, with their bytes. A record keeps them.
    pub(super) fn inline_inputs(&self) -> Arc<[(SlotId, u64)]> {
        let inline = self.partitions().filter_map(|partition| match partition.data() {
            Data::Inline(stream) => Some((partition.slot(), stream.len() as u64)),
            _ => None,
        });
        inline.collect()
    }

    /// The bytes that the driver keeps to run the task again, without a plan and inputs that others share.
    pub(super) fn kept_bytes(&self) -> u64 {
        let texts = self.payload.len() + self.name.len() + self.query_id.len();
        (texts + records::bytes_of(self.inputs.len(), self.partitions().count())) as u64
    }
}

/// The end of a task.
#[derive(Debug)]
pub enum Outcome {
    /// The task ran.
    Success {
        /// Its outputs, by slot.
        partitions: Vec<Partition>,
        /// Daft's encoded execution statistics.
        stats: Bytes,
        /// The worker that ran it.
        worker: WorkerId,
    },
    /// Its own code failed.
    Failed {
        /// The pickled exception; empty if there is none.
        error: Bytes,
        /// Its text, with the worker's traceback.
        message: String,
        /// The worker that ran it.
        worker: WorkerId,
    },
    /// The infrastructure failed it.
    Lost {
        /// The kind of failure, by which the owner decides what can be tried again.
        kind: FailKind,
        /// The failure, the worker, and the way out; for people.
        message: String,
    },
    /// The task was cancelled.
    Cancelled,
}

/// Called once with the end of a task. Must neither block nor call back into the driver.
pub type Ended = Box<dyn FnOnce(Outcome) + Send>;

/// A task that has not ended.
pub(super) struct Running {
    pub(super) spec: Arc<TaskSpec>,
    pub(super) on_end: Ended,
    /// The workers that were given another run of the task: each has to forget the run's query id.
    pub(super) took_part: BTreeSet<WorkerId>,
}

/// An output as a worker reported it.
pub(super) struct NewOutput {
    pub(super) num_rows: u64,
    pub(super) size_bytes: u64,
    pub(super) fingerprint: Option<u64>,
    /// The data, if it came along; else it is in the worker's store.
    pub(super) stream: Bytes,
}

/// A worker's report of an attempt; counts only if the core says so.
pub(super) enum Report {
    Succeeded { outputs: Vec<NewOutput>, stats: Bytes, worker: WorkerId },
    Failed { error: Bytes, message: String, worker: WorkerId },
}

impl Report {
    /// The outcome for the task's owner, with references to the outputs.
    pub(super) fn into_outcome(self, inner: &Arc<Inner>, task: TaskId, attempt: Attempt, spec: &TaskSpec) -> Outcome {
        match self {
            Self::Succeeded { outputs, stats, worker } => {
                let maker = Arc::new(TaskName { query_id: spec.query_id.clone(), number: spec.task_id });
                let partition = |(slot, output): (u32, NewOutput)| {
                    let data = if output.stream.is_empty() { Data::Remote } else { Data::Inline(output.stream) };
                    let size = (output.num_rows, output.size_bytes);
                    let made_by = (maker.clone(), Generation::first(attempt));
                    Partition::new(inner, SlotId { task, slot }, made_by, size, data)
                };
                let partitions = (0..).zip(outputs).map(partition).collect();
                Outcome::Success { partitions, stats, worker }
            }
            Self::Failed { error, message, worker } => Outcome::Failed { error, message, worker },
        }
    }

    /// The outputs, by slot.
    pub(super) fn outputs(&self) -> Vec<Output> {
        let outputs = match self {
            Self::Succeeded { outputs, .. } => &outputs[..],
            Self::Failed { .. } => &[],
        };
        let output = |(slot, output): (u32, &NewOutput)| {
            let NewOutput { num_rows, fingerprint, .. } = *output;
            Output { slot, num_rows, fingerprint, is_stored: output.stream.is_empty() }
        };
        (0..).zip(outputs).map(output).collect()
    }

    /// True if an output is in the worker's store.
    pub(super) fn is_any_stored(&self) -> bool {
        matches!(self, Self::Succeeded { outputs, .. } if outputs.iter().any(|output| output.stream.is_empty()))
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

/// An input on its way to a worker.
#[derive(Debug)]
struct Input {
    /// The attempt that made it, which its ticket names.
    generation: Generation,
    source: Source,
}

/// One attempt, ready to be put on the wire.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) key: String,
    pub(super) spec: Arc<TaskSpec>,
    /// Parallel to `spec.inputs`.
    inputs: Vec<Vec<Input>>,
    /// Of the inputs in the message.
    inline_bytes: usize,
    /// Inputs that the driver has and the worker must be given first.
    pub(super) uploads: Vec<(String, PartitionData)>,
}

/// Sends an attempt to a worker, or tells the core which input is not to be had.
pub(super) fn send(
    inner: &Arc<Inner>,
    state: &mut State,
    task: TaskId,
    attempt: Attempt,
    worker: WorkerId,
    launch: LaunchId,
) {
    let Some(running) = state.tasks.get_mut(&task) else { return };
    let spec = running.spec.clone();
    if spec.run != Run::FIRST {
        running.took_part.insert(worker);
    }
    let Some(link) = state.links.get(&worker).filter(|link| link.process.launch == launch) else { return };
    let problem = match locate_inputs(state, &spec, worker) {
        Ok(Located { inputs, inline_bytes, uploads }) => {
            let key = spec.key(attempt);
            spec.sent.store(true, Ordering::Release);
            link.submit(Submission { task, attempt, key, spec, inputs, inline_bytes, uploads });
            return;
        }
        Err(NotLocated::Unreadable(reason)) => Event::InputsLost { task, reason },
        Err(NotLocated::Lost(slot)) => {
            let (message, gone) = ("it was lost while the task was sent".to_owned(), false);
            Event::InputsMissing { task, worker, launch, attempt, slots: vec![slot], gone, message }
        }
    };
    // Told from outside the lock that is held here.
    let inner = inner.clone();
    inner.runtime.clone().spawn(async move { inner.feed(problem) });
}

/// The reason why an input is not to be had.
enum NotLocated {
    /// The driver has it, but cannot read it.
    Unreadable(String),
    /// The input was lost since the core sent the task.
    Lost(SlotId),
}

/// A task's inputs on their way to one worker.
#[derive(Default)]
struct Located {
    inputs: Vec<Vec<Input>>,
    inline_bytes: usize,
    uploads: Vec<(String, PartitionData)>,
}

impl Located {
    fn locate(&mut self, state: &State, partition: &Partition, reader: WorkerId) -> Result<Input, NotLocated> {
        let own = partition.own_generation();
        match partition.data() {
            Data::Inline(stream) if self.inline_bytes + stream.len() <= INLINE_INPUT_BYTES => {
                self.inline_bytes += stream.len();
                Ok(Input { generation: own, source: Source::Inline(stream.clone()) })
            }
            Data::Put(_) | Data::Inline(_) => {
                let data = partition.at_hand();
                let data = data.map_err(|error| NotLocated::Unreadable(format!("it cannot be read: {error}")))?;
                partition.note_upload();
                self.uploads.extend(data.map(|data| (partition.ticket(own), data)));
                Ok(Input { generation: own, source: Source::Itself })
            }
            Data::Remote | Data::Pinned => {
                let slot = partition.slot();
                let lost = NotLocated::Lost(slot);
                let (Some(Location::At(worker)), Some(generation)) =
                    (state.core.location(slot), state.core.generation(slot))
                else {
                    return Err(lost);
                };
                if *worker == reader {
                    return Ok(Input { generation, source: Source::Itself });
                }
                let holder = state.links.get(worker).ok_or(lost)?.process.clone();
                Ok(Input { generation, source: Source::Peer(holder) })
            }
        }
    }
}

fn locate_inputs(state: &State, spec: &TaskSpec, reader: WorkerId) -> Result<Located, NotLocated> {
    let mut located = Located::default();
    for (_, partitions) in &spec.inputs {
        let inputs = partitions.iter().map(|partition| located.locate(state, partition, reader));
        let inputs = inputs.collect::<Result<Vec<Input>, NotLocated>>()?;
        located.inputs.push(inputs);
    }
    Ok(located)
}

impl Submission {
    /// Has the inputs sent ahead that the message was to carry; false if there are none.
    pub(super) fn send_ahead(&mut self) -> bool {
        for (partition, input) in self.spec.partitions().zip(self.inputs.iter_mut().flatten()) {
            if matches!(input.source, Source::Inline(_))
                && let Ok(Some(data)) = partition.at_hand()
            {
                partition.note_upload();
                self.uploads.push((partition.ticket(input.generation), data));
                input.source = Source::Itself;
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
        let inputs = self.spec.inputs.iter().zip(&self.inputs).map(|((source_id, partitions), inputs)| TaskInput {
            source_id: *source_id,
            partitions: partitions
                .iter()
                .zip(inputs)
                .map(|(partition, input)| {
                    let ticket = partition.ticket(input.generation);
                    match &input.source {
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
            recomputes: self.spec.run != Run::FIRST,
            fingerprints: self.spec.determinism.needs_fingerprints(),
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
