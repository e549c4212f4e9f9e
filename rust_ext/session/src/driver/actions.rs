//! Carries out the decisions of the core.

use std::{sync::Arc, time::Duration};

use daft_k8s_core::{Action, ExitCause, FailKind, LaunchId, WorkerId, reasons::split_log};

use super::{
    Inner, Outcome, State,
    link::Link,
    process::Process,
    results::Verdict,
    task::{self, Report, Running},
};

impl Inner {
    pub(super) fn perform(self: &Arc<Self>, state: &mut State, action: Action, report: &mut Option<Report>) {
        match action {
            Action::Launch { worker, launch } => {
                tracing::debug!(%worker, launch = launch.0, "{worker}: launch {launch}");
                let inner = Arc::downgrade(self);
                let failed = Box::new(move |reason: String| {
                    if let Some(inner) = inner.upgrade() {
                        inner.exited(worker, launch, reason, true, ExitCause::NeverStarted);
                    }
                });
                self.host.launch(worker, launch, failed);
            }
            Action::Stop { worker, launch, force, reason } => {
                tracing::debug!(%worker, launch = launch.0, "{worker}: stop launch {launch}: {reason}");
                if force {
                    self.host.kill(worker, launch, &reason);
                } else {
                    self.host.stop(worker, launch, &reason);
                }
            }
            Action::Replaced { worker, launch, calls, tasks, held_for, holds } => {
                let names = tasks.iter().filter_map(|task| state.tasks.get(task)).map(|running| running.spec.words());
                let names: Vec<String> = names.collect();
                tracing::warn!(%worker, launch = launch.0, "{}", replaced(worker, &calls, &names, held_for, holds));
            }
            Action::Connect { worker, launch, addresses } => {
                state.links.insert(worker, Link::open(self, Process::new(worker, launch, addresses), None));
            }
            Action::Disconnect { worker, launch } => {
                if state.links.get(&worker).is_some_and(|link| link.process.launch == launch)
                    && let Some(link) = state.links.remove(&worker)
                {
                    self.data.forget(&link.process.addresses.data);
                }
            }
            Action::Send { task, attempt, worker, launch } => task::send(self, state, task, attempt, worker, launch),
            Action::CancelOnWorker { task, attempt, worker, launch } => {
                let link = state.links.get(&worker).filter(|link| link.process.launch == launch);
                if let (Some(link), Some(running)) = (link, state.tasks.get(&task)) {
                    link.cancel(running.spec.key(attempt));
                }
            }
            Action::Deliver { task, attempt, .. } => {
                if let (Some(running), Some(report)) = (state.take_task(task), report.take()) {
                    state.record(task, &running.spec, &report);
                    let outcome = report.into_outcome(self, task, attempt, &running.spec);
                    (running.on_end)(outcome);
                }
            }
            Action::FailTask { task, kind, message } => {
                if let Some(running) = state.take_task(task) {
                    let message = explain(&running, kind, &message);
                    (running.on_end)(Outcome::Lost { kind, message });
                }
            }
            Action::Cancelled { task } => {
                if let Some(running) = state.take_task(task) {
                    (running.on_end)(Outcome::Cancelled);
                }
            }
            Action::WorkerReady { worker, launch, incarnation } => {
                tracing::info!(%worker, launch = launch.0, %incarnation, "{worker} is ready (incarnation {incarnation})");
                if let Some(link) = state.links.get(&worker).filter(|link| link.process.launch == launch) {
                    state.ready.insert(worker, link.process.clone());
                }
                self.host.worker_ready(worker);
                self.readiness.send_modify(|readiness| {
                    readiness.ready = state.ready.len();
                    readiness.broken = None;
                });
            }
            Action::WorkerLost { worker, launch, reason, orderly, partitions, .. } => {
                if orderly {
                    tracing::info!(%worker, launch = launch.0, "{worker} is let go: {reason}");
                } else if partitions == 0 {
                    // An error that follows quotes the log. The query may as well go on without one.
                    tracing::warn!(%worker, launch = launch.0, "{worker} was lost: {}", split_log(&reason).0);
                }
                self.host.worker_lost(worker, &reason);
                if state.ready.get(&worker).is_some_and(|process| process.launch == launch) {
                    state.ready.remove(&worker);
                }
                self.renew_link(state, worker, launch);
                self.readiness.send_modify(|readiness| readiness.ready = state.ready.len());
            }
            Action::FetchVerdict { fetch, lost } => {
                if let Some(told) = state.fetches.remove(&fetch) {
                    // Fails if the fetch was given up meanwhile.
                    let _ = told.send(lost.map_or(Verdict::There, |reason| Verdict::Lost(reason.to_string())));
                }
            }
            Action::FetchAgain { fetch } => {
                if let Some(told) = state.fetches.remove(&fetch) {
                    let _ = told.send(Verdict::Recomputed);
                }
            }
            Action::PartitionsLost { worker, reason, partitions, tasks, obstacle } => {
                let consequences = state.records.consequences(&tasks, obstacle.as_deref());
                let reason = split_log(&reason).0;
                let tasks = tasks.len();
                tracing::warn!(
                    %worker, partitions, tasks,
                    "{worker} was lost, and {partitions} partitions with it: {reason}; {consequences}"
                );
            }
            Action::Recovering { tasks, slots, worker } => {
                tracing::info!(%worker, tasks = tasks.len(), slots, "{}", state.records.describe(&tasks, slots, worker));
            }
            Action::RunAgain { task, run } => self.run_again(state, task, run),
            Action::RunOver { task, run, attempt, worker, dropped } => {
                // A report that counts: its outputs are not dropped as those of a stale one.
                drop(report.take());
                let running = Self::end_run(state, task);
                let link = state.links.get(&worker).filter(|_| !dropped.is_empty());
                if let (Some(running), Some(link)) = (running, link) {
                    let key = running.spec.key(attempt);
                    link.drop_partitions(dropped.iter().map(|slot| format!("{key}:{slot}")).collect());
                }
                tracing::debug!(%task, %worker, "task {task} has run again (run {run:?} at {worker})");
            }
            Action::RunEnded { task, .. } => drop(Self::end_run(state, task)),
            Action::DropInput { reader, slot, worker, generation } => {
                let ticket = state.records.ticket(reader, slot, generation);
                if let (Some(link), Some(ticket)) = (state.links.get(&worker), ticket) {
                    link.drop_partitions(vec![ticket]);
                }
            }
            Action::Forget { tasks } => state.forget_records(&tasks),
            Action::Grown { by, to, tasks } => {
                tracing::info!(by, to, tasks, "the pool grows by {by} to {to} workers: {tasks} tasks to do");
            }
            Action::Actor(action) => self.perform_actor(state, action),
            Action::Defect { message } => {
                tracing::error!("a defect of daft_k8s, please report it: {message}");
            }
            Action::Unavailable { message } => {
                // Waiting tasks and the next query fail with an error that says so.
                tracing::info!("no worker is left: {message}");
                self.readiness.send_modify(|readiness| readiness.broken = Some(message.to_string()));
            }
        }
    }

    /// A lost process whose link is still open was restarted in place. The new one has got no tasks yet, and counts
    /// its calls from the beginning.
    fn renew_link(self: &Arc<Self>, state: &mut State, worker: WorkerId, launch: LaunchId) {
        let incarnation = state.core.worker(worker).and_then(|view| view.incarnation.cloned());
        if let Some(link) = state.links.get_mut(&worker).filter(|link| link.process.launch == launch) {
            *link = Link::open(self, Process::new(worker, launch, link.process.addresses.clone()), incarnation);
        }
    }
}

/// The one line about a worker whose slots were held by cancelled tasks.
fn replaced(worker: WorkerId, calls: &str, tasks: &[String], held_for: Duration, holds: u64) -> String {
    let seconds = held_for.as_secs_f64();
    let what = if calls.is_empty() {
        format!("it has not ended {} for {seconds:.0} s after the cancel", tasks.join(", "))
    } else {
        format!("code of a cancelled task has not returned for {seconds:.0} s: {calls}")
    };
    let lost = match holds {
        0 => String::new(),
        _ => format!("; what it held, {holds} partitions and actors, is lost"),
    };
    format!("{worker} is replaced, because tasks wait and {what}{lost}. Give UDFs that wait for something a time-out")
}

fn explain(running: &Running, kind: FailKind, message: &str) -> String {
    match kind {
        FailKind::InputsLost | FailKind::AttemptsLost(_) | FailKind::Refused => running.spec.describe(message),
        FailKind::NoWorkers | FailKind::Shutdown => message.to_owned(),
    }
}
