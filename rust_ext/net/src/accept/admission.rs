//! The connections that a process may have, on all of its ports together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::newcomers::Newcomers;
use crate::sys;

/// Connections of one peer on which no member has called; more replace the oldest. A member calls as soon as it is
/// connected, and a local session has all of its workers at one address.
const NEWCOMERS_PER_PEER: usize = 256;

/// The limit of connections of a process, on all ports that share this. A clone shares it.
#[derive(Clone, Debug)]
pub struct Admission {
    places: Arc<Semaphore>,
    pub(super) newcomers: Newcomers,
}

impl Admission {
    /// At most so many at a time; more wait in the listener's queue. A peer on whose connections no member has called
    /// gets a quarter of them at most.
    pub fn new(max_connections: usize) -> Self {
        let places = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), newcomers: Newcomers::new(NEWCOMERS_PER_PEER.min(places / 4)) }
    }

    /// Three quarters of the files that the process may open, which leaves the rest to itself. Raises the soft limit of
    /// open files to the hard one.
    pub fn of_open_files() -> Self {
        let open_files = sys::raise_open_file_limit().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(1024);
        Self::new(open_files / 4 * 3)
    }

    /// Waits for a place; `None`: never, since the process ends.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}
