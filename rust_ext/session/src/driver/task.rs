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
use daft_k8s_data::PartitionData;
use sha2::{Digest, Sha256};

use super::{Inner, Partition, Place, State, process::Process};

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
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Succeeded { partitions, stats, worker } => Outcome::Success { partitions, stats, worker },
            Self::Failed { error, message, worker } => Outcome::Failed { error, message, worker },
        }
    }
}

/// One attempt, ready to be put on the wire.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) task: TaskId,
    pub(super) attempt: Attempt,
    pub(super) key: String,
    pub(super) spec: Arc<TaskSpec>,
    /// Where the worker is to fetch each input, parallel to `spec.inputs`; "" is the worker itself.
    places: Vec<Vec<Arc<str>>>,
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
        Ok((places, uploads)) => {
            let key = spec.key(attempt);
            spec.sent.store(true, Ordering::Release);
            link.submit(Submission { task, attempt, key, spec, places, uploads });
        }
        Err(reason) => {
            // Told from outside the lock that is held here.
            let inner = inner.clone();
            inner.runtime.clone().spawn(async move { inner.feed(Event::InputsLost { task, reason }) });
        }
    }
}

type Located = (Vec<Vec<Arc<str>>>, Vec<(String, PartitionData)>);

fn locate_inputs(state: &State, spec: &TaskSpec, reader: &Arc<Process>) -> Result<Located, String> {
    let itself: Arc<str> = "".into();
    let mut uploads = Vec::new();
    let mut places = Vec::with_capacity(spec.inputs.len());
    for (_, partitions) in &spec.inputs {
        let mut of_source = Vec::with_capacity(partitions.len());
        for partition in partitions {
            of_source.push(match partition.place() {
                Place::Driver(data) => {
                    uploads.push((partition.ticket().to_owned(), data.clone()));
                    itself.clone()
                }
                Place::Worker(holder) if Arc::ptr_eq(holder, reader) => itself.clone(),
                Place::Worker(holder) if holder.is_lost() => return Err(loss_of_input(state, holder)),
                Place::Worker(holder) => holder.addresses.peer.clone(),
            });
        }
        places.push(of_source);
    }
    Ok((places, uploads))
}

/// Why the partitions of a lost process are not there, for people.
pub(super) fn loss_of_input(state: &State, holder: &Process) -> String {
    if state.closed {
        return "the session was shut down, and with it all partitions of its workers are gone".to_owned();
    }
    let reason = holder.loss().map_or("its process is gone", |reason| reason);
    let worker = holder.worker;
    format!(
        "{worker} was lost and with it partitions that are still needed ({reason}); run the query \
         again, and collect a DataFrame anew whose result was among them"
    )
}

impl Submission {
    /// About the size of the message, without the plan.
    pub(super) fn size_bytes(&self) -> usize {
        let inputs: usize = self.spec.inputs.iter().map(|(_, partitions)| partitions.len()).sum();
        let ticket_bytes = self.key.len() + 32;
        self.spec.payload.len() + self.spec.name.len() + (inputs + 1) * ticket_bytes
    }

    /// The message for the wire; addresses are entered into the request's table once each.
    pub(super) fn to_wire(&self, addresses: &mut Vec<String>, index: &mut HashMap<Arc<str>, u32>) -> Task {
        let mut address_of = |address: &Arc<str>| {
            *index.entry(address.clone()).or_insert_with(|| {
                addresses.push(address.to_string());
                u32::try_from(addresses.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let inputs = self.spec.inputs.iter().zip(&self.places).map(|((source_id, partitions), places)| TaskInput {
            source_id: *source_id,
            partitions: partitions
                .iter()
                .zip(places)
                .map(|(partition, place)| InputPartition {
                    ticket: partition.ticket().to_owned(),
                    address: address_of(place),
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
