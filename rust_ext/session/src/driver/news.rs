//! What the launcher tells of processes.

use std::sync::Arc;

use daft_k8s_core::{Addresses, Event, ExitCause, LaunchId, WorkerId};

use super::{Driver, Inner};

impl Driver {
    /// The launcher: a process listens.
    pub fn worker_started(&self, worker: WorkerId, launch: LaunchId, addresses: Addresses) {
        self.inner.feed(Event::Started { worker, launch, addresses });
    }

    /// The launcher: a process is gone, or never came.
    pub fn worker_exited(
        &self,
        worker: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) {
        self.inner.exited(worker, launch, reason, restartable, cause);
    }

    /// The launcher: somebody else told a process to stop; it ends what it runs and takes no more.
    pub fn worker_leaving(&self, worker: WorkerId, launch: LaunchId) {
        self.inner.feed(Event::Leaving { worker, launch });
    }

    /// The launcher: there is no room for a process yet; it asks again until there is.
    pub fn worker_postponed(&self, worker: WorkerId, launch: LaunchId, reason: String) {
        self.inner.feed(Event::Postponed { worker, launch, reason });
    }

    /// The launcher: there was room for a process that had been postponed.
    pub fn worker_admitted(&self, worker: WorkerId, launch: LaunchId) {
        self.resize(Event::Admitted { worker, launch });
    }
}

impl Inner {
    pub(super) fn exited(
        self: &Arc<Self>,
        worker: WorkerId,
        launch: LaunchId,
        reason: String,
        restartable: bool,
        cause: ExitCause,
    ) {
        self.note_loss(worker, launch, &reason);
        self.feed(Event::Exited { worker, launch, reason, restartable, cause });
    }

    pub(super) fn note_loss(&self, worker: WorkerId, launch: LaunchId, reason: &str) {
        let mut state = self.state.lock();
        // One that was never ready held nothing, and there is no end of those: a full quota, an image that is not there.
        if state.ready.get(&worker) == Some(&launch) {
            state.losses.entry((worker, launch)).or_insert_with(|| reason.into());
        }
    }
}
