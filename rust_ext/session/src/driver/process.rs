//! One process of a worker, as its link knows it.

use std::sync::Arc;

use daft_k8s_core::{Addresses, LaunchId, WorkerId};
use daft_k8s_net::Destination;

/// One process of a worker. A worker that is started again, also in place, has another one.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    pub(super) launch: LaunchId,
    pub(super) addresses: Addresses,
    /// The worker's id as calls name it.
    pub(super) worker_id: Arc<str>,
}

impl Process {
    pub(super) fn new(worker: WorkerId, launch: LaunchId, addresses: Addresses) -> Arc<Self> {
        let worker_id = worker.to_string().into();
        Arc::new(Self { worker, launch, addresses, worker_id })
    }

    /// The data server of the process, as the driver reaches it.
    pub(super) fn data_server(&self) -> Destination<'_> {
        Destination { address: &self.addresses.data, worker_id: Some(&self.worker_id) }
    }
}
