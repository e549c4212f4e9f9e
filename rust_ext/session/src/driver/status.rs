//! The state of a session as JSON, for people and tests.

use daft_k8s_core::WorkerId;
use serde_json::{Value, json};

use super::Driver;

impl Driver {
    /// Workers with their phase, addresses and number of tasks; tasks that wait.
    pub fn status(&self) -> Value {
        let state = self.inner.state.lock();
        let workers: Vec<Value> = state
            .core
            .workers()
            .map(|view| {
                let id: WorkerId = view.worker;
                json!({
                    "worker_id": id.to_string(),
                    "phase": format!("{:?}", view.phase),
                    "launch": view.launch.0,
                    "incarnation": view.incarnation.map(ToString::to_string),
                    "control_address": view.control,
                    "data_address": view.data,
                    "peer_address": view.peer,
                    "tasks": view.tasks,
                    "holds": view.holds,
                    "restarts": view.restarts,
                    "last_loss": view.reason,
                    "waits_for": view.waits_for,
                })
            })
            .collect();
        json!({
            "session_id": self.inner.config.session_id,
            "min_workers": state.core.min_workers(),
            "max_workers": state.core.max_workers(),
            "alive_workers": state.core.alive_count(),
            "ready_workers": state.ready.len(),
            "unfinished_tasks": state.tasks.len(),
            // What must not grow with the queries and the workers that ever were.
            "kept": {
                "keys": state.by_key.len(),
                "plans": state.plans.len(),
                "ready": state.ready.len(),
                "links": state.links.len(),
                "actors": state.actors.len(),
                "queries_that_keep": state.keeping.len(),
                "uploads": state.links.values().map(|link| link.uploaded()).sum::<usize>(),
                "data_peers": self.inner.data.peers(),
            },
            "inline_bytes": self.inner.drops.inline_bytes().get(),
            "workers": workers,
        })
    }
}
