//! Frees partitions that nobody refers to any more, in batches.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use daft_k8s_core::Event;
use tokio::sync::mpsc;

use super::{Inner, process::Process};
use crate::{Level, caught};

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
pub(super) struct Dropped {
    pub(super) ticket: String,
    /// `None` for one that the driver owns, of which any worker may have been given a copy.
    pub(super) holder: Option<Arc<Process>>,
}

/// Where to say that a partition is no longer referred to.
#[derive(Debug, Clone)]
pub(super) struct Drops {
    sender: mpsc::UnboundedSender<Dropped>,
    inline_bytes: Arc<InlineBytes>,
    process_id: u32,
}

impl Drops {
    pub(super) fn new(sender: mpsc::UnboundedSender<Dropped>) -> Self {
        Self { sender, inline_bytes: Arc::default(), process_id: std::process::id() }
    }

    pub(super) fn inline_bytes(&self) -> &InlineBytes {
        &self.inline_bytes
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
        // What is asked for later must still be dropped.
        if let Err(panic) = caught(|| drop_all(&inner, &mut batch)) {
            inner.host.log(Level::Error, format!("the driver panicked while it dropped partitions: {panic}"));
            batch.clear();
        }
    }
}

fn drop_all(inner: &Arc<Inner>, batch: &mut Vec<Dropped>) {
    let mut by_process: HashMap<*const Process, AtProcess> = HashMap::new();
    let mut state = inner.state.lock();
    for Dropped { ticket, holder } in batch.drain(..) {
        match holder {
            Some(process) => {
                let there = AtProcess::of(&mut by_process, &process);
                there.tickets.push(ticket);
                there.released += 1;
            }
            None => {
                for link in state.links.values() {
                    if link.forget_upload(&ticket) {
                        // Such a copy is no hold: the driver has the data.
                        AtProcess::of(&mut by_process, &link.process).tickets.push(ticket.clone());
                    }
                }
            }
        }
    }
    for AtProcess { process, tickets, released } in by_process.into_values() {
        // What a lost process held is gone already.
        if let Some(link) = state.link_to(&process) {
            link.drop_partitions(tickets);
        }
        // After the drops: a worker that holds nothing more may be let go.
        if released > 0 && !process.is_lost() && !state.closed {
            let (worker, launch) = (process.worker, process.launch);
            inner.act(&mut state, Event::Release { worker, launch, count: released }, &mut None);
        }
    }
}

/// Partitions to be dropped at one process.
struct AtProcess {
    process: Arc<Process>,
    tickets: Vec<String>,
    /// Number of tickets that were held for a reference.
    released: u64,
}

impl AtProcess {
    fn of<'a>(all: &'a mut HashMap<*const Process, Self>, process: &Arc<Process>) -> &'a mut Self {
        all.entry(Arc::as_ptr(process)).or_insert_with(|| Self {
            process: process.clone(),
            tickets: Vec::new(),
            released: 0,
        })
    }
}
