//! What the launcher tells of processes.

use std::sync::Arc;

use daft_k8s_core::{Addresses, Event, ExitCause, LaunchId, WorkerId};

use super::{Driver, Inner, process::Process};

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
        let mut state = self.state.lock();
        if let Some(process) = state.ready.get(&worker).filter(|process| process.launch == launch) {
            process.lose(reason.as_str().into());
        }
        self.act(&mut state, Event::Exited { worker, launch, reason, restartable, cause }, &mut None);
    }

    /// A process has not answered for too long, or another one answers in its place.
    pub(super) fn unreachable(self: &Arc<Self>, process: &Process, reason: String) {
        let mut state = self.state.lock();
        if !process.is_lost() {
            process.lose(reason.as_str().into());
            let (worker, launch) = (process.worker, process.launch);
            self.act(&mut state, Event::Unreachable { worker, launch, reason }, &mut None);
        }
    }
}
