//! News of processes: from the launcher, and from their links.

use std::sync::Arc;

use daft_k8s_core::{Addresses, Event, ExitCause, LaunchId, WorkerId};

use super::{Driver, Inner, link::Link, process::Process};

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
        self.feed(Event::Exited { worker, launch, reason, restartable, cause });
    }

    /// A process cannot be reached any more: its link is lost, or another one answers in its place.
    pub(super) fn unreachable(self: &Arc<Self>, process: &Arc<Process>, reason: String) {
        let (worker, launch) = (process.worker, process.launch);
        self.feed_from(process, Event::Unreachable { worker, launch, reason });
    }

    /// A call to a process went unanswered: the core decides by the last time at which the process was heard.
    pub(super) fn unanswered(self: &Arc<Self>, process: &Arc<Process>, problem: String) {
        let (worker, launch) = (process.worker, process.launch);
        let mut state = self.state.lock();
        let Some(was_heard) = state.link_to(process).map(Link::take_heard) else { return };
        if was_heard {
            self.act(&mut state, Event::Heard(vec![(worker, launch)]), &mut None);
        }
        self.act(&mut state, Event::Unanswered { worker, launch, problem }, &mut None);
    }
}
