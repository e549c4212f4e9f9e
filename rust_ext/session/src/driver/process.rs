//! One process of a worker, as its link and the references to its partitions share it.

use std::sync::{Arc, OnceLock};

use daft_k8s_core::{Addresses, LaunchId, WorkerId};

/// One process of a worker. A worker that is started again, also in place, has another one.
///
/// The record lives as long as a link or a partition refers to it, so what is remembered of lost processes is bounded.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    pub(super) launch: LaunchId,
    pub(super) addresses: Addresses,
    lost: OnceLock<Arc<str>>,
}

impl Process {
    pub(super) fn new(worker: WorkerId, launch: LaunchId, addresses: Addresses) -> Arc<Self> {
        Arc::new(Self { worker, launch, addresses, lost: OnceLock::new() })
    }

    /// Notes why the process was lost. The first reason stays: it is the closest to the cause.
    pub(super) fn lose(&self, reason: Arc<str>) {
        let _ = self.lost.set(reason);
    }

    /// Why the process was lost; `None` while it counts as alive.
    pub(super) fn loss(&self) -> Option<&Arc<str>> {
        self.lost.get()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }
}
