//! Actors: started and stopped at workers that are ready.

use bytes::Bytes;
use daft_k8s_core::{Event, WorkerId};

use super::Driver;

impl Driver {
    /// Has a worker start an actor; false if no process of it is ready. Should it be lost before it hears of it,
    /// the host is told of the loss.
    pub fn start_actor(&self, worker: WorkerId, actor_id: &str, payload: Bytes) -> bool {
        let mut state = self.inner.state.lock();
        let launch = match state.links.get(&worker).filter(|link| state.is_ready(&link.process)) {
            Some(link) => {
                link.start_actor(actor_id, payload);
                link.process.launch
            }
            None => return false,
        };
        // An elastic pool does not let its worker go.
        if state.actors.insert((worker, actor_id.to_owned()), launch) != Some(launch) {
            self.inner.act(&mut state, Event::Hold { worker, launch, count: 1 }, &mut None);
        }
        true
    }

    /// Has a worker stop an actor, if both are still there; not one that was started since as a later generation.
    pub fn stop_actor(&self, worker: WorkerId, actor_id: &str, generation: u32) {
        let mut state = self.inner.state.lock();
        if let Some(link) = state.links.get(&worker) {
            link.stop_actor(actor_id, generation);
        }
        if let Some(launch) = state.actors.remove(&(worker, actor_id.to_owned())) {
            self.inner.act(&mut state, Event::Release { worker, launch, count: 1 }, &mut None);
        }
    }
}
