//! Frees partitions that nothing refers to any more, in batches.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daft_k8s_core::{Event, Location, SlotId, WorkerId};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Inner, partition::TaskName};
use crate::caught;

/// Drops are collected for this long, so that a query's thousands of partitions are a few calls.
const GATHER: Duration = Duration::from_millis(20);

/// The driver takes no more tiny outputs inline while it holds this much of them; workers keep them then.
const INLINE_LIMIT_BYTES: usize = 256 << 20;

/// Bytes of partitions that the driver holds inline.
#[derive(Debug, Default)]
pub(super) struct InlineBytes(AtomicUsize);

impl InlineBytes {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn remove(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self) -> bool {
        self.get() >= INLINE_LIMIT_BYTES
    }
}

/// A partition that is no longer referred to.
#[derive(Debug)]
pub(super) enum Dropped {
    /// One in the store of a worker.
    Remote { slot: SlotId, maker: Arc<TaskName> },
    /// One that the driver has, of which any worker may have been given a copy.
    Uploaded { ticket: String },
}

/// Takes news of partitions that are no longer referred to.
#[derive(Debug, Clone)]
pub(super) struct Drops {
    sender: mpsc::UnboundedSender<Dropped>,
    inline_bytes: Arc<InlineBytes>,
    /// Dropped slots, to be told to the core ahead of its next event: nothing will miss them, should they be lost.
    unneeded: Arc<Mutex<Vec<SlotId>>>,
    process_id: u32,
}

impl Drops {
    pub(super) fn new(sender: mpsc::UnboundedSender<Dropped>) -> Self {
        Self { sender, inline_bytes: Arc::default(), unneeded: Arc::default(), process_id: std::process::id() }
    }

    pub(super) fn inline_bytes(&self) -> &InlineBytes {
        &self.inline_bytes
    }

    /// The slots that were dropped since the last call of this.
    pub(super) fn take_unneeded(&self) -> Vec<SlotId> {
        std::mem::take(&mut self.unneeded.lock())
    }

    /// Number of slots that were dropped and are not told to the core.
    pub(super) fn unneeded(&self) -> usize {
        self.unneeded.lock().len()
    }

    /// True in a forked child. It has copies of the references, but neither the partitions nor the threads of the
    /// session. A lock that was held at the fork is held for ever.
    pub(super) fn is_in_forked_child(&self) -> bool {
        std::process::id() != self.process_id
    }

    pub(super) fn tell(&self, dropped: Dropped) {
        if !self.is_in_forked_child() {
            if let Dropped::Remote { slot, .. } = &dropped {
                self.unneeded.lock().push(*slot);
            }
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
        // What is asked for later must still be dropped.
        if let Err(panic) = caught(|| drop_all(&inner, &mut batch)) {
            tracing::error!("the driver panicked while it dropped partitions: {panic}");
            batch.clear();
        }
    }
}

fn drop_all(inner: &Arc<Inner>, batch: &mut Vec<Dropped>) {
    let mut by_worker: HashMap<WorkerId, Vec<String>> = HashMap::new();
    let mut slots = Vec::new();
    let mut state = inner.state.lock();
    for dropped in batch.drain(..) {
        match dropped {
            Dropped::Remote { slot, maker } => {
                slots.push(slot);
                // What a lost process held is gone already; what a task that runs again reads is dropped with its end.
                if let false = state.core.is_pinned(slot)
                    && let (Some(Location::At(worker)), Some(generation)) =
                        (state.core.location(slot), state.core.generation(slot))
                {
                    by_worker.entry(*worker).or_default().push(maker.ticket(generation, slot.slot));
                }
            }
            Dropped::Uploaded { ticket } => {
                for (worker, _) in state.links.iter().filter(|(_, link)| link.forget_upload(&ticket)) {
                    by_worker.entry(*worker).or_default().push(ticket.clone());
                }
            }
        }
    }
    for (worker, tickets) in by_worker {
        if let Some(link) = state.links.get(&worker) {
            link.drop_partitions(tickets);
        }
    }
    // After the drops: a worker that holds nothing more may be released.
    if !slots.is_empty() {
        inner.act(&mut state, Event::Drop(slots), &mut None);
    }
}
