//! The number of workers: the driver's wishes, and the reasons to keep workers.

use std::sync::Arc;

use daft_k8s_core::Event;

use super::{Driver, Inner, State};

impl Driver {
    /// Asks for workers `worker-0` to `worker-<count-1>`.
    pub fn set_desired_workers(&self, count: u32) {
        self.resize(Event::SetDesired(count));
    }

    /// Asks for `start` workers now, and then for as many as there is work for, from `min` to `max`.
    pub fn set_worker_range(&self, min: u32, start: u32, max: u32) {
        self.resize(Event::SetRange { min, start, max });
    }

    /// A query begins: an elastic pool without workers starts one, and a broken one tries again.
    pub fn wake(&self) {
        self.resize(Event::Wake);
    }

    /// For what may mend a broken pool.
    pub(super) fn resize(&self, event: Event) {
        let mut state = self.inner.state.lock();
        self.inner.act(&mut state, event, &mut None);
        if state.core.unavailable().is_none() {
            self.inner.readiness.send_if_modified(|readiness| readiness.broken.take().is_some());
        }
    }

    /// The upper bound of workers; tasks may be submitted for any of them.
    pub fn max_workers(&self) -> u32 {
        self.inner.state.lock().core.max_workers()
    }

    /// No worker is let go until this query ends: it keeps something at workers of which no partition tells.
    pub fn keep_all_for(&self, query_id: &str) {
        let mut state = self.inner.state.lock();
        if state.keeping.insert(query_id.to_owned()) {
            self.inner.act(&mut state, Event::KeepAll(true), &mut None);
        }
    }
}

impl Inner {
    pub(super) fn no_longer_keep_all(self: &Arc<Self>, state: &mut State, query_id: &str) {
        if state.keeping.remove(query_id) && state.keeping.is_empty() {
            self.act(state, Event::KeepAll(false), &mut None);
        }
    }
}
