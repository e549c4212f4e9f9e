//! Verdicts on partitions that could not be read: lost, or there after all.
//!
//! A reader that could not read from a worker does not know whether the worker's process is gone: news of a death may
//! come a moment after the socket broke. So a verdict waits for `loss_news_grace`, and beyond that for as long as a
//! holder is silent: it ends with the loss of a holder, or once all of them have been heard again. The failure detector
//! ends each silence, so each verdict is given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Location, Loss, Slots};
use crate::ids::{FetchId, SlotId, TaskId, WorkerId};
use crate::tasks::Place;

/// The reader that waits for a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reader {
    /// An attempt of a task that could not read its inputs.
    Task {
        task: TaskId,
        place: Place,
        /// True if a holder answered that it does not have the partition.
        gone: bool,
        /// The worker's account, for people.
        message: String,
        /// The holders, by number.
        holders: Vec<WorkerId>,
    },
    /// A fetch of the driver.
    Fetch { fetch: FetchId, slots: Vec<SlotId> },
}

/// A verdict; `None`: no holder is lost.
pub(crate) type Verdict = Option<Arc<Loss>>;

/// A verdict that is not given yet.
#[derive(Debug)]
struct Pending {
    reader: Reader,
    /// The workers whose loss decides.
    holders: BTreeSet<WorkerId>,
    /// The earliest time at which the holders count as alive.
    due: Duration,
    /// True if a holder was silent then.
    is_overdue: bool,
}

/// The verdicts that readers wait for.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pending: BTreeMap<u64, Pending>,
    asked: u64,
    /// The time of the timer.
    pub timer: Option<Duration>,
}

impl Verdicts {
    /// Asks for a verdict, to be given at `due` or later. Returns the reader with the verdict if that can be given now.
    pub fn ask(&mut self, slots: &Slots, reader: Reader, ids: &[SlotId], due: Duration) -> Option<(Reader, Verdict)> {
        if let Some(loss) = slots.loss_of(ids) {
            return Some((reader, Some(loss.clone())));
        }
        let holders = holders_of(slots, ids);
        if holders.is_empty() {
            return Some((reader, None));
        }
        self.pending.insert(self.asked, Pending { reader, holders, due, is_overdue: false });
        self.asked += 1;
        None
    }

    /// The number of readers that wait.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// A worker's process is lost: takes the readers that wait for it.
    pub fn lose(&mut self, worker: WorkerId) -> Vec<Reader> {
        self.take(|pending| pending.holders.contains(&worker))
    }

    /// Takes the readers whose wait is over by now, as no holder is silent.
    pub fn take_due(&mut self, now: Duration, is_silent: impl Fn(WorkerId) -> bool) -> Vec<Reader> {
        for pending in self.pending.values_mut().filter(|pending| pending.due <= now) {
            pending.is_overdue = pending.holders.iter().any(|holder| is_silent(*holder));
        }
        self.take(|pending| pending.due <= now && !pending.is_overdue)
    }

    /// Takes all readers.
    pub fn take_all(&mut self) -> Vec<Reader> {
        self.take(|_| true)
    }

    /// The time at which the next verdict is due; that of an overdue one depends on its holders alone.
    pub fn next_due(&self) -> Option<Duration> {
        self.pending.values().filter(|pending| !pending.is_overdue).map(|pending| pending.due).min()
    }

    fn take(&mut self, is_over: impl Fn(&Pending) -> bool) -> Vec<Reader> {
        let over: Vec<u64> =
            self.pending.iter().filter(|(_, pending)| is_over(pending)).map(|(number, _)| *number).collect();
        over.into_iter().filter_map(|number| self.pending.remove(&number)).map(|pending| pending.reader).collect()
    }
}

/// The workers at which these slots are, by number.
pub(crate) fn holders_of(slots: &Slots, ids: &[SlotId]) -> BTreeSet<WorkerId> {
    let at = |id: &SlotId| match slots.location(*id) {
        Some(Location::At(worker)) => Some(*worker),
        _ => None,
    };
    ids.iter().filter_map(at).collect()
}
