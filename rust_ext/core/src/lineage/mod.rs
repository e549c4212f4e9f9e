//! Lineage: the record of how each partition was made, by which a lost one is recomputed.
//!
//! A record outlives its task's end while one of the task's slots is kept, or a later record reads one. It holds no data:
//! a task that runs again needs its inputs, and those that are gone by then are recomputed first. What records take in
//! the driver is bounded: beyond the limit the oldest are forgotten.
//!
//! The lineage decides which tasks run again. [`Session`](crate::Session) carries that out, as slots, tasks and fetches
//! are concerned: see its module `recovery`.
//!
//! Invariant: a record holds its parents' records, and never their data.

mod determinism;
mod obstacle;
mod plan;
pub(crate) mod waiters;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use get_size2::GetSize;

use crate::PoolConfig;
use crate::ids::{QueryId, Run, SlotId, TaskId, WorkerId};
use crate::slots::{Loss, Output};

pub use determinism::{Determinism, UnknownDeterminism};
pub(crate) use obstacle::Obstacle;

/// The things that the driver keeps of a task to run it again.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub struct Kept {
    /// The bytes of the driver's own that no other task shares.
    pub own_bytes: u64,
    /// The inputs that the driver has itself, with their bytes. All records that read one share it.
    pub inline_inputs: Arc<[(SlotId, u64)]>,
}

impl Kept {
    /// A task without inputs that the driver has itself.
    #[must_use]
    pub fn own(own_bytes: u64) -> Self {
        Self { own_bytes, inline_inputs: Arc::default() }
    }
}

/// All of a task that it takes to run it again, as far as the core is concerned.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The task's place in the order of submission.
    pub order: u64,
    pub prefer: WorkerId,
    pub query: QueryId,
    /// The inputs that are not the driver's own.
    pub inputs: Arc<[SlotId]>,
    pub determinism: Determinism,
    pub kept: Kept,
}

/// The record of a task that has ended well.
#[derive(Debug)]
struct Record {
    origin: Origin,
    /// The number of rows of each output, by slot.
    rows: Box<[u64]>,
    /// The fingerprint of each output, if each has one and the task is not deterministic without them.
    fingerprints: Option<Box<[u64]>>,
    /// The number of its slots that are kept, and of these the lost ones.
    kept: u32,
    lost: u32,
    /// The number of records that read a slot of it.
    children: u32,
    /// The latest run.
    run: Run,
    /// The loss for which it runs; `None`: it is over.
    running_for: Option<Arc<Loss>>,
    /// The reason why it is not run again.
    spoilt: Option<Obstacle>,
}

impl Record {
    const fn is_running(&self) -> bool {
        self.running_for.is_some()
    }

    /// The bytes that a record takes here. A tree whose keys come in order is about half full.
    fn bytes(&self) -> u64 {
        let (rows, fingerprints) = (&*self.rows, self.fingerprints.as_deref().unwrap_or_default());
        let parts = size_of::<(TaskId, Self)>() * 2
            + size_of_val(&*self.origin.inputs)
            + size_of_val(rows)
            + size_of_val(fingerprints);
        self.origin.kept.own_bytes + parts as u64
    }
}

/// The records of a query.
#[derive(Debug, Default)]
struct QueryTally {
    records: u64,
    /// The number of tasks that were run again.
    reruns: u32,
}

/// The records of all tasks whose outputs may have to be recomputed.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// By number, hence oldest first.
    records: BTreeMap<TaskId, Record>,
    queries: HashMap<QueryId, QueryTally>,
    /// The inputs that the driver has itself, with the number of records that keep them.
    inline_inputs: HashMap<SlotId, u64>,
    bytes: u64,
}

impl Lineage {
    /// Enters a task that has ended well, unless it cannot be run again or none of its outputs is at a worker. Returns the
    /// records that were forgotten for it; its own may be among them.
    pub fn enter(&mut self, task: TaskId, mut origin: Origin, outputs: &[Output], config: &PoolConfig) -> Vec<TaskId> {
        origin.determinism = origin.determinism.of_each(outputs.len());
        let kept = outputs.iter().filter(|output| output.is_stored).count();
        if config.lineage_limit_bytes == 0 || kept == 0 || origin.determinism == Determinism::Unrepeatable {
            return Vec::new();
        }
        for parent in parents(&origin.inputs) {
            if let Some(record) = self.records.get_mut(&parent) {
                record.children += 1;
            }
        }
        self.queries.entry(origin.query.clone()).or_default().records += 1;
        let rows = outputs.iter().map(|output| output.num_rows).collect();
        let fingerprints = match origin.determinism {
            Determinism::Deterministic => None,
            _ => outputs.iter().map(|output| output.fingerprint).collect(),
        };
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        let (run, running_for, spoilt) = (Run::FIRST, None, None);
        let (lost, children) = (0, 0);
        let record = Record { origin, rows, fingerprints, kept, lost, children, run, running_for, spoilt };
        self.keep(&record);
        self.records.insert(task, record);
        let mut forgotten = Vec::new();
        while self.bytes > config.lineage_limit_bytes {
            let Some(oldest) = self.records.iter().find(|(_, record)| !record.is_running()).map(|(task, _)| *task)
            else {
                break;
            };
            self.forget(oldest, &mut forgotten);
        }
        forgotten
    }

    /// A slot of the task was lost, or a dropped one is wanted again.
    pub fn slot_lost(&mut self, task: TaskId, was_kept: bool) {
        if let Some(record) = self.records.get_mut(&task) {
            record.lost += 1;
            record.kept += u32::from(!was_kept);
        }
    }

    /// A slot of the task is not kept any more. Returns true if the task runs again, and nothing needs that now.
    pub fn slot_gone(&mut self, task: TaskId, was_lost: bool) -> bool {
        let Some(record) = self.records.get_mut(&task) else {
            return false;
        };
        record.kept = record.kept.saturating_sub(1);
        record.lost = record.lost.saturating_sub(u32::from(was_lost));
        record.is_running() && record.lost == 0
    }

    /// A lost slot of the task was recomputed.
    pub fn slot_restored(&mut self, task: TaskId) {
        if let Some(record) = self.records.get_mut(&task) {
            record.lost = record.lost.saturating_sub(1);
        }
    }

    /// Begins another run of a task. Returns its number and what the task is made of.
    pub fn begin(&mut self, task: TaskId, loss: &Arc<Loss>) -> Option<(Run, Origin)> {
        let record = self.records.get_mut(&task).filter(|record| !record.is_running())?;
        record.running_for = Some(loss.clone());
        record.run = record.run.next();
        if let Some(tally) = self.queries.get_mut(&record.origin.query) {
            tally.reruns += 1;
        }
        Some((record.run, record.origin.clone()))
    }

    /// The loss for which the task runs again; `None`: it does not.
    pub fn running_for(&self, task: TaskId) -> Option<&Arc<Loss>> {
        self.records.get(&task)?.running_for.as_ref()
    }

    /// The latest run of the task is over. Returns its inputs, and the loss for which it ran; `None` if none was under way.
    pub fn end(&mut self, task: TaskId) -> Option<(Run, Arc<[SlotId]>, Arc<Loss>)> {
        let record = self.records.get_mut(&task)?;
        let loss = record.running_for.take()?;
        Some((record.run, record.origin.inputs.clone(), loss))
    }

    /// Compares the outputs of another run with those of the first: with other rows, slots of both must not be mixed.
    /// A deterministic task needs the numbers of rows alone.
    pub fn check(&self, task: TaskId, outputs: &[Output]) -> Result<(), Obstacle> {
        let Some(record) = self.records.get(&task) else {
            return Err(Obstacle::NoRecord);
        };
        let (expected, found) = (record.rows.len(), outputs.len());
        if expected != found {
            let reason = format!("a task that made it gave {found} outputs when it ran again, and {expected} before");
            return Err(Obstacle::Failed(reason.into()));
        }
        let differing = record.rows.iter().zip(outputs).find(|(rows, output)| **rows != output.num_rows);
        if let Some((rows, Output { slot, num_rows, .. })) = differing {
            let reason = format!(
                "a task that made it gave {num_rows} rows in output {slot} when it ran again, and {rows} before, so it is \
                 not deterministic"
            );
            return Err(Obstacle::Failed(reason.into()));
        }
        let fingerprints = record.fingerprints.iter().flatten();
        match fingerprints.zip(outputs).find(|(fingerprint, output)| Some(**fingerprint) != output.fingerprint) {
            Some((_, Output { slot, .. })) => {
                let reason = format!(
                    "a task that made it gave other rows in output {slot} when it ran again, so it is not deterministic"
                );
                Err(Obstacle::Failed(reason.into()))
            }
            None => Ok(()),
        }
    }

    /// The task is not run again.
    pub fn spoil(&mut self, task: TaskId, obstacle: Obstacle) {
        if let Some(record) = self.records.get_mut(&task) {
            record.spoilt = Some(obstacle);
        }
    }

    /// Forgets the record of the task, and those that only it holds, if nothing needs them. Returns these.
    pub fn release(&mut self, task: TaskId) -> Vec<TaskId> {
        let mut forgotten = Vec::new();
        let is_unneeded = |record: &Record| record.kept == 0 && record.children == 0 && !record.is_running();
        let mut unneeded = vec![task];
        while let Some(task) = unneeded.pop() {
            if self.records.get(&task).is_some_and(is_unneeded) {
                unneeded.extend(self.forget(task, &mut forgotten));
            }
        }
        forgotten
    }

    /// Forgets a record. Returns its parents.
    fn forget(&mut self, task: TaskId, forgotten: &mut Vec<TaskId>) -> Vec<TaskId> {
        let Some(record) = self.records.remove(&task) else {
            return Vec::new();
        };
        forgotten.push(task);
        self.let_go(&record);
        if let Some(tally) = self.queries.get_mut(&record.origin.query) {
            tally.records -= 1;
            if tally.records == 0 {
                self.queries.remove(&record.origin.query);
            }
        }
        let parents = parents(&record.origin.inputs);
        for parent in &parents {
            if let Some(record) = self.records.get_mut(parent) {
                record.children = record.children.saturating_sub(1);
            }
        }
        parents
    }

    /// Counts what a record keeps; what others keep already takes no more room.
    fn keep(&mut self, record: &Record) {
        self.bytes += record.bytes();
        for (slot, bytes) in &*record.origin.kept.inline_inputs {
            let records = self.inline_inputs.entry(*slot).or_insert(0);
            *records += 1;
            if *records == 1 {
                self.bytes += bytes;
            }
        }
    }

    fn let_go(&mut self, record: &Record) {
        self.bytes -= record.bytes();
        for (slot, bytes) in &*record.origin.kept.inline_inputs {
            if let Some(records) = self.inline_inputs.get_mut(slot) {
                *records -= 1;
                if *records == 0 {
                    self.inline_inputs.remove(slot);
                    self.bytes -= bytes;
                }
            }
        }
    }

    /// The bytes that count for the limit.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

/// The tasks that made these slots, each once.
fn parents(inputs: &[SlotId]) -> Vec<TaskId> {
    let mut parents: Vec<TaskId> = inputs.iter().map(|slot| slot.task).collect();
    parents.sort_unstable();
    parents.dedup();
    parents
}
