//! The records of ended tasks: all that it takes to run them again, without the data of their inputs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use daft_k8s_core::{Determinism, Event, Generation, Run, SlotId, TaskId, WorkerId};

use super::{
    Inner, Partition, State,
    partition::{Data, TaskName, WeakPartition},
    task::{Running, TaskSpec},
};

/// An input of a recorded task.
enum Input {
    /// In the store of a worker; should it be gone, the core has it recomputed.
    Slot(SlotId, Arc<TaskName>),
    /// Of the driver, as its task's end brought it. Small, and kept.
    Inline(Partition),
    /// Of the driver, which has it as long as the user refers to it.
    Put(WeakPartition),
}

struct Record {
    maker: TaskName,
    name: String,
    /// Shared by all tasks that have it.
    plan: Bytes,
    plan_hash: Bytes,
    payload: Bytes,
    determinism: Determinism,
    inputs: Vec<(u32, Box<[Input]>)>,
}

/// The bytes that a record takes without its texts. A table is about two thirds full; the texts, the plan's hash and
/// the inputs are allocations of their own.
pub(super) const fn bytes_of(sources: usize, inputs: usize) -> usize {
    const ALLOCATION: usize = 16;
    let record = size_of::<(TaskId, Record)>() * 3 / 2 + 5 * ALLOCATION;
    record + sources * (size_of::<(u32, Box<[Input]>)>() + ALLOCATION) + inputs * size_of::<Input>()
}

/// The records by task.
pub(super) struct Records {
    /// True unless recovery is switched off.
    pub(super) are_kept: bool,
    by_task: HashMap<TaskId, Record>,
}

impl Records {
    pub(super) fn new(are_kept: bool) -> Self {
        Self { are_kept, by_task: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_task.len()
    }

    pub(super) fn enter(&mut self, task: TaskId, spec: &TaskSpec) {
        let input = |partition: &Partition| match partition.data() {
            Data::Remote | Data::Pinned => Input::Slot(partition.slot(), partition.maker().clone()),
            Data::Inline(_) => Input::Inline(partition.clone()),
            Data::Put(_) => Input::Put(partition.downgrade()),
        };
        let inputs = spec.inputs.iter().map(|(source, partitions)| (*source, partitions.iter().map(input).collect()));
        let record = Record {
            maker: TaskName { query_id: spec.query_id.clone(), number: spec.task_id },
            name: spec.name.clone(),
            plan: spec.plan.clone(),
            plan_hash: spec.plan_hash.clone(),
            payload: spec.payload.clone(),
            determinism: spec.determinism,
            inputs: inputs.collect(),
        };
        self.by_task.insert(task, record);
    }

    /// Removes a record. Returns the hash of its plan, which is to be released.
    pub(super) fn remove(&mut self, task: TaskId) -> Option<Bytes> {
        self.by_task.remove(&task).map(|record| record.plan_hash)
    }

    /// The ticket of an input of a recorded task.
    pub(super) fn ticket(&self, reader: TaskId, slot: SlotId, generation: Generation) -> Option<String> {
        let inputs = self.by_task.get(&reader)?.inputs.iter().flat_map(|(_, inputs)| inputs);
        let maker = inputs.into_iter().find_map(|input| match input {
            Input::Slot(id, maker) if *id == slot => Some(maker),
            _ => None,
        });
        maker.map(|maker| maker.ticket(generation, slot.slot))
    }

    /// The line about tasks that run again for what was lost earlier.
    pub(super) fn describe(&self, tasks: &[TaskId], slots: usize, worker: WorkerId) -> String {
        let again = self.run_again(tasks);
        format!("{again}, because {slots} partitions are needed that were lost with {worker}")
    }

    /// The consequences of a loss, as the end of its line.
    pub(super) fn consequences(&self, tasks: &[TaskId], obstacle: Option<&str>) -> String {
        let again = (!tasks.is_empty()).then(|| self.run_again(tasks));
        let fails = obstacle.map(|obstacle| {
            format!("a query that needs one fails or is run again as a whole, as it cannot be recomputed: {obstacle}")
        });
        let told: Vec<String> = again.into_iter().chain(fails).collect();
        match &told[..] {
            [] => "none of them is needed now".to_owned(),
            told => told.join("; "),
        }
    }

    fn run_again(&self, tasks: &[TaskId]) -> String {
        let records = || tasks.iter().filter_map(|task| self.by_task.get(task));
        let queries: BTreeSet<&str> = records().map(|record| &*record.maker.query_id).collect();
        let names: BTreeSet<&str> = records().map(|record| &*record.name).collect();
        let join = |texts: BTreeSet<&str>| texts.into_iter().collect::<Vec<_>>().join(", ");
        format!("{} tasks of query {} are run again ({})", tasks.len(), join(queries), join(names))
    }

    /// The specification of another run; `None` if data of the driver that it reads is gone.
    fn spec(&self, inner: &Arc<Inner>, task: TaskId, run: Run) -> Option<TaskSpec> {
        let record = self.by_task.get(&task)?;
        let partition = |input: &Input| match input {
            Input::Slot(slot, maker) => Some(Partition::pinned(inner, *slot, maker.clone())),
            Input::Inline(partition) => Some(partition.clone()),
            Input::Put(partition) => partition.upgrade(),
        };
        let inputs = record.inputs.iter().map(|(source, inputs)| {
            let partitions: Option<Vec<Partition>> = inputs.iter().map(partition).collect();
            partitions.map(|partitions| (*source, partitions))
        });
        Some(TaskSpec {
            query_id: record.maker.query_of_run(run).into_owned(),
            task_id: record.maker.number,
            name: record.name.clone(),
            plan: record.plan.clone(),
            plan_hash: record.plan_hash.clone(),
            payload: record.payload.clone(),
            inputs: inputs.collect::<Option<Vec<_>>>()?,
            determinism: record.determinism,
            run,
            sent: Arc::<AtomicBool>::default(),
        })
    }
}

impl Inner {
    /// Begins another run of a recorded task.
    pub(super) fn run_again(self: &Arc<Self>, state: &mut State, task: TaskId, run: Run) {
        let Some(spec) = state.records.spec(self, task, run) else {
            let reason = "data of the driver that it was made from has been dropped".to_owned();
            // Told from outside the lock that is held here.
            let inner = self.clone();
            self.runtime.spawn(async move { inner.feed(Event::InputsLost { task, reason }) });
            return;
        };
        state.plans.share(&spec.plan_hash, &spec.plan);
        state.by_key.insert((spec.query_id.clone(), spec.task_id), task);
        let (spec, on_end, took_part) = (Arc::new(spec), Box::new(drop), BTreeSet::new());
        state.tasks.insert(task, Running { spec, on_end, took_part });
    }

    /// Forgets a run that is over, and has the workers that took part in it forget the query id that it had.
    pub(super) fn end_run(state: &mut State, task: TaskId) -> Option<Running> {
        let running = state.take_task(task)?;
        for link in running.took_part.iter().filter_map(|worker| state.links.get(worker)) {
            link.end_query(&running.spec.query_id);
        }
        Some(running)
    }
}
