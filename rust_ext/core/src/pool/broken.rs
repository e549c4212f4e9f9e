//! When no worker can come up any more, and how people are told.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::worker::{State, Worker};
use super::{Action, Pool, Timer};
use crate::ids::WorkerId;

/// How many different reasons the message of a broken pool spells out.
const REASONS_SHOWN: usize = 10;

impl Pool {
    /// Decides anew whether any wanted worker is left that is or can come up.
    pub(super) fn judge(&mut self) {
        let wanted: Vec<&Worker> = self.workers.iter().filter(|worker| worker.wanted).collect();
        if wanted.is_empty() || !wanted.iter().all(|worker| worker.state.is_out_of_sight()) {
            self.broken = None;
        } else if self.broken.is_none() {
            let message: Arc<str> = broken_message(&wanted).into();
            self.broken = Some(message.clone());
            self.rest();
            self.actions.push(Action::PoolBroken { message });
        }
    }

    /// A broken pool starts nothing by itself: the next query tries again.
    fn rest(&mut self) {
        for worker in &mut self.workers {
            if let State::GivenUp { until } = &mut worker.state
                && let Some(until) = until.take()
            {
                self.timers.remove(&(until, Timer::Worker(worker.id)));
            }
        }
    }
}

/// Names every reason once, with the workers that it stopped. Bounded, however many workers there are.
fn broken_message(workers: &[&Worker]) -> String {
    let mut reasons: BTreeMap<&str, (WorkerId, usize)> = BTreeMap::new();
    for worker in workers {
        let reason = match &worker.state {
            State::Postponed { reason, .. } => reason,
            _ => worker.reason.as_deref().unwrap_or("unknown"),
        };
        reasons.entry(reason).or_insert((worker.id, 0)).1 += 1;
    }
    let mut grouped: Vec<_> = reasons.iter().collect();
    grouped.sort_unstable_by_key(|(_, (first, _))| *first);
    let mut text = format!("no worker is ready and none of the {} wanted can come up any more", workers.len());
    for (reason, (first, count)) in grouped.iter().take(REASONS_SHOWN) {
        // Writing to a String does not fail.
        let _ = match count {
            1 => write!(text, "; {first}: {reason}"),
            _ => write!(text, "; {first} and {} more: {reason}", count - 1),
        };
    }
    if grouped.len() > REASONS_SHOWN {
        let _ = write!(text, "; and {} more reasons", grouped.len() - REASONS_SHOWN);
    }
    text
}
