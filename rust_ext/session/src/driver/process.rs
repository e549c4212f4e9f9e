//! One process of a worker, as its link and the references to its partitions share it.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use daft_k8s_core::{Addresses, LaunchId, WorkerId};
use daft_k8s_net::Destination;
use parking_lot::Mutex;

/// One process of a worker. A worker that is started again, also in place, has another one.
///
/// The record lives as long as a link or a partition refers to it, so what is remembered of lost processes is bounded.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) worker: WorkerId,
    pub(super) launch: LaunchId,
    pub(super) addresses: Addresses,
    /// As calls name the worker.
    pub(super) worker_id: Arc<str>,
    lost: OnceLock<Arc<str>>,
    /// Number of partitions with rows, by query, that no task and no fetch has read yet.
    unread: Mutex<HashMap<Box<str>, usize>>,
}

impl Process {
    pub(super) fn new(worker: WorkerId, launch: LaunchId, addresses: Addresses) -> Arc<Self> {
        let worker_id = worker.to_string().into();
        Arc::new(Self { worker, launch, addresses, worker_id, lost: OnceLock::new(), unread: Mutex::default() })
    }

    /// The data server of the process, as the driver reaches it.
    pub(super) fn data_server(&self) -> Destination<'_> {
        Destination { address: &self.addresses.data, worker_id: Some(&self.worker_id) }
    }

    /// Notes why the process was lost. The first reason stays: it is the closest to the cause.
    pub(super) fn lose(&self, reason: Arc<str>) {
        let _ = self.lost.set(reason);
    }

    /// Why the process was lost; `None` while it counts as alive.
    pub(super) fn loss(&self) -> Option<&Arc<str>> {
        self.lost.get()
    }

    pub(super) fn add_unread(&self, query_id: &str) {
        let mut unread = self.unread.lock();
        match unread.get_mut(query_id) {
            Some(count) => *count += 1,
            None => drop(unread.insert(query_id.into(), 1)),
        }
    }

    pub(super) fn remove_unread(&self, query_id: &str) {
        let mut unread = self.unread.lock();
        if let Some(count) = unread.get_mut(query_id) {
            *count -= 1;
            if *count == 0 {
                unread.remove(query_id);
            }
        }
    }

    /// The queries of which this process holds data that nothing has read yet.
    pub(super) fn unread_queries(&self) -> Vec<Box<str>> {
        self.unread.lock().keys().cloned().collect()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }
}
