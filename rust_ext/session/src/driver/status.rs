//! The state of a session at one moment, for people and tests.

use std::collections::BTreeMap;

use daft_k8s_core::WorkerPhase;

use super::Driver;

/// The pool and what the driver keeps.
#[derive(Clone, Debug)]
pub struct PoolSnapshot {
    /// The session.
    pub session_id: String,
    /// The least number of workers.
    pub min_workers: u32,
    /// The largest number of workers.
    pub max_workers: u32,
    /// Workers that are up or coming up.
    pub alive_workers: usize,
    /// Workers that take tasks.
    pub ready_workers: usize,
    /// Tasks that have not ended, at workers or not.
    pub unfinished_tasks: usize,
    /// The sizes of what must not grow with the queries and the workers that ever were.
    pub kept: BTreeMap<&'static str, usize>,
    /// Bytes that the driver holds of outputs that came inline.
    pub inline_bytes: usize,
    /// The workers that are wanted or still drain, by number.
    pub workers: Vec<WorkerSnapshot>,
}

/// One logical worker.
#[derive(Clone, Debug)]
pub struct WorkerSnapshot {
    /// Its name.
    pub worker_id: String,
    /// Its phase.
    pub phase: WorkerPhase,
    /// Its latest process; 0 before the first.
    pub launch: u64,
    /// The process that shook hands, if there is one.
    pub incarnation: Option<String>,
    /// The address of its control server, once that is known.
    pub control_address: Option<String>,
    /// The address of its data server, once that is known.
    pub data_address: Option<String>,
    /// The address of its data server for other workers, once that is known.
    pub peer_address: Option<String>,
    /// Tasks that are at it.
    pub tasks: usize,
    /// Partitions and actors that must not be lost with it.
    pub holds: u64,
    /// Restarts that count against its budget.
    pub restarts: usize,
    /// The reason for the loss of its latest lost process.
    pub last_loss: Option<String>,
    /// The thing that its launch waits for, if it is postponed.
    pub waits_for: Option<String>,
}

impl Driver {
    /// The state now.
    pub fn status(&self) -> PoolSnapshot {
        let state = self.inner.state.lock();
        let workers = state.core.workers().map(|view| WorkerSnapshot {
            worker_id: view.worker.to_string(),
            phase: view.phase,
            launch: view.launch.0,
            incarnation: view.incarnation.map(ToString::to_string),
            control_address: view.control.map(str::to_owned),
            data_address: view.data.map(str::to_owned),
            peer_address: view.peer.map(str::to_owned),
            tasks: view.tasks,
            holds: view.holds,
            restarts: view.restarts,
            last_loss: view.reason.map(str::to_owned),
            waits_for: view.waits_for.map(str::to_owned),
        });
        let [actor_pools, placed_actors, actor_queries, actor_calls] = state.core.actor_counts();
        PoolSnapshot {
            session_id: self.inner.config.session_id.clone(),
            min_workers: state.core.min_workers(),
            max_workers: state.core.max_workers(),
            alive_workers: state.core.alive_count(),
            ready_workers: state.ready.len(),
            unfinished_tasks: state.tasks.len(),
            kept: BTreeMap::from([
                ("keys", state.by_key.len()),
                ("plans", state.plans.len()),
                ("ready", state.ready.len()),
                ("links", state.links.len()),
                ("actor_pools", actor_pools.max(state.actors.pools())),
                ("actors", placed_actors),
                ("actor_queries", actor_queries),
                ("actor_calls", actor_calls.max(state.actors.calls())),
                ("queries_that_keep", state.keeping.len()),
                ("uploads", state.links.values().map(|link| link.uploaded()).sum()),
                ("slots", state.core.slot_count()),
                ("records", state.records.len()),
                ("records_of_core", state.core.record_count()),
                ("parked", state.core.parked_count()),
                ("unneeded", self.inner.drops.unneeded()),
                ("fetches", state.fetches.len()),
                ("verdicts", state.core.verdict_count()),
                ("data_peers", self.inner.data.peers()),
            ]),
            inline_bytes: self.inner.drops.inline_bytes().get(),
            workers: workers.collect(),
        }
    }
}
