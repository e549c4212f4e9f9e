//! Tells of peers that were refused, and keeps the log short whatever they do.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use daft_k8s_tls::TlsProblem;
use parking_lot::Mutex;

use crate::{LogLevel, LogSink};

/// At most one line in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// Peers that were refused since the last line.
pub(super) struct Strangers {
    log: LogSink,
    told: Mutex<(Option<Instant>, u64)>,
}

impl Strangers {
    pub(super) fn new(log: LogSink) -> Self {
        Self { log, told: Mutex::new((None, 0)) }
    }

    /// A connection that merely broke is nothing to tell of: port scans and probes of load balancers do that.
    pub(super) fn refused(&self, peer: Option<SocketAddr>, problem: Option<TlsProblem>) {
        let Some(problem) = problem.filter(|problem| problem.is_final() || *problem == TlsProblem::NotTls) else {
            return;
        };
        let untold = {
            let mut told = self.told.lock();
            if told.0.is_some_and(|last| last.elapsed() < PAUSE) {
                told.1 += 1;
                return;
            }
            told.0 = Some(Instant::now());
            std::mem::take(&mut told.1)
        };
        let peer = peer.map_or("a peer".to_owned(), |peer| peer.to_string());
        let others = if untold == 0 { String::new() } else { format!("; so were {untold} others before") };
        (self.log)(LogLevel::Warning, format!("a connection from {peer} was refused: {problem}{others}"));
    }
}
