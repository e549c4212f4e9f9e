//! Consequences of a lost process for tasks: those that need its data fail when the loss is known, not when they run.

use std::{collections::HashSet, sync::Arc};

use daft_k8s_core::{Event, TaskId, TaskPhase};

use super::{
    Inner, Partition, Place, State,
    process::Process,
    task::{Running, TaskSpec},
};

/// Why the partitions of a lost process are not there, for people.
pub(super) fn of_process(state: &State, holder: &Process) -> String {
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

/// As [`of_process`], told of a task that reads such a partition.
pub(super) fn of_input(state: &State, holder: &Process) -> String {
    format!("an input of it was lost: {}", of_process(state, holder))
}

/// The lost process that holds an input of the task, if there is one.
pub(super) fn lost_holder(spec: &TaskSpec) -> Option<&Process> {
    let mut inputs = spec.inputs.iter().flat_map(|(_, partitions)| partitions);
    inputs.find_map(|partition| match partition.place() {
        Place::Worker(holder) if holder.is_lost() => Some(&**holder),
        _ => None,
    })
}

fn reads_from(partition: &Partition, process: &Arc<Process>) -> bool {
    matches!(partition.place(), Place::Worker(holder) if Arc::ptr_eq(holder, process))
}

impl Inner {
    /// Fails the tasks that can no longer get their inputs, and each query that has not read all that the process held.
    ///
    /// A task that is at a worker may have its inputs already; if not, the worker says so. What no task has read yet
    /// will be read by one that Daft has not submitted: Daft keeps no other references to outputs of a query that runs.
    pub(super) fn fail_what_needs(self: &Arc<Self>, state: &State, process: &Arc<Process>) {
        let is_unsent =
            |task: &TaskId| state.core.task(*task).is_some_and(|view| !matches!(view.phase, TaskPhase::Sent { .. }));
        let reads = |running: &Running| {
            running.spec.inputs.iter().flat_map(|(_, inputs)| inputs).any(|input| reads_from(input, process))
        };
        let mut news = Vec::new();
        let mut failed = HashSet::new();
        for (task, running) in state.tasks.iter().filter(|(task, running)| reads(running) && is_unsent(task)) {
            news.push(Event::InputsLost { task: *task, reason: of_input(state, process) });
            failed.insert(running.spec.query_id.as_str());
        }
        for query_id in process.unread_queries() {
            if failed.contains(&*query_id) {
                continue;
            }
            // One failed task ends its query. One that is not sent ends without a word to a worker.
            let of_query = state.tasks.iter().filter(|(_, running)| *running.spec.query_id == *query_id);
            if let Some((task, _)) = of_query.min_by_key(|(task, _)| (!is_unsent(task), **task)) {
                let reason = format!("its query cannot end well: {}", of_process(state, process));
                news.push(Event::InputsLost { task: *task, reason });
            }
        }
        if news.is_empty() {
            return;
        }
        // Told from outside the lock that is held here, after all that belongs to the loss.
        let inner = self.clone();
        self.runtime.spawn(async move { news.into_iter().for_each(|event| inner.feed(event)) });
    }
}
