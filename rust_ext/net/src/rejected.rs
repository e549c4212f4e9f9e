//! Peers that were turned away: counted, and logged in few lines whatever they do.

use std::{
    fmt::Display,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// At most one line in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// The connections and calls of peers that are no members of the session. A clone shares the count.
#[derive(Clone, Default)]
pub struct RejectedPeers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    count: AtomicU64,
    last_line: Mutex<Option<Instant>>,
}

impl RejectedPeers {
    /// The number of connections and calls that were turned away.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Counts one more, and logs it with the count unless another line was logged in the last minute.
    pub(crate) fn add(&self, address: Option<SocketAddr>, reason: &dyn Display) {
        let count = self.0.count.fetch_add(1, Ordering::Relaxed) + 1;
        {
            let mut last_line = self.0.last_line.lock();
            if last_line.is_some_and(|last| last.elapsed() < PAUSE) {
                return;
            }
            *last_line = Some(Instant::now());
        }
        let address = address.map_or("at an unknown address".to_owned(), |address| address.to_string());
        tracing::warn!(peer = address, count, "rejected peer {address}: {reason} (rejected peers so far: {count})");
    }
}
