//! Frees partitions that nobody refers to any more, in batches.

use std::{collections::HashMap, sync::Weak, time::Duration};

use daft_k8s_core::{Event, LaunchId, WorkerId};
use tokio::sync::mpsc;

use super::Inner;

/// Drops are collected for this long, so that a query's thousands of partitions are a few calls.
const GATHER: Duration = Duration::from_millis(20);

/// A partition that is no longer referred to.
#[derive(Debug)]
pub(super) struct Dropped {
    pub(super) ticket: String,
    /// `None` for one that the driver owns, of which any worker may have been given a copy.
    pub(super) holder: Option<(WorkerId, LaunchId)>,
}

/// Where to say that a partition is no longer referred to.
#[derive(Debug, Clone)]
pub(super) struct Drops {
    sender: mpsc::UnboundedSender<Dropped>,
    process_id: u32,
}

impl Drops {
    pub(super) fn new(sender: mpsc::UnboundedSender<Dropped>) -> Self {
        Self { sender, process_id: std::process::id() }
    }

    pub(super) fn tell(&self, dropped: Dropped) {
        // A forked child has copies of the references, but neither the partitions nor the thread that listens;
        // and a lock that was held at the fork is held for ever.
        if std::process::id() == self.process_id {
            // Fails only when the session is over, and then everything is freed anyway.
            let _ = self.sender.send(dropped);
        }
    }
}

pub(super) async fn run(inner: Weak<Inner>, mut dropped: mpsc::UnboundedReceiver<Dropped>) {
    let mut batch = Vec::new();
    while dropped.recv_many(&mut batch, usize::MAX).await > 0 {
        tokio::time::sleep(GATHER).await;
        while let Ok(more) = dropped.try_recv() {
            batch.push(more);
        }
        let Some(inner) = inner.upgrade() else { return };
        let mut by_holder: HashMap<(WorkerId, LaunchId), Vec<String>> = HashMap::new();
        let mut state = inner.state.lock();
        for Dropped { ticket, holder } in batch.drain(..) {
            match holder {
                Some(holder) => by_holder.entry(holder).or_default().push(ticket),
                None => {
                    for (worker, link) in &state.links {
                        if link.forget_upload(&ticket) {
                            by_holder.entry((*worker, link.launch)).or_default().push(ticket.clone());
                        }
                    }
                }
            }
        }
        for ((worker, launch), tickets) in by_holder {
            let count = tickets.len() as u64;
            // What a lost process held is gone already.
            if let Some(link) = state.links.get(&worker).filter(|link| link.launch == launch) {
                link.drop_partitions(tickets);
            }
            // After the drops: a worker that holds nothing more may be let go.
            if !state.closed {
                inner.act(&mut state, Event::Release { worker, launch, count }, &mut None);
            }
        }
    }
}
