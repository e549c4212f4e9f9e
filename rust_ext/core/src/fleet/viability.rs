//! Viability: the check that a worker can still come up, and the message for people if none can.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::Fleet;
use super::worker::{State, Worker};
use crate::Action;
use crate::ids::WorkerId;
use crate::reasons::{LOG_MARK, without_numbers};
use crate::session::turn::{Timer, Turn};

/// The number of different reasons that the message of an unavailable pool spells out.
const REASONS_SHOWN: usize = 10;

impl Fleet {
    /// Decides anew whether any wanted worker is left that is or can come up.
    pub fn check_viability(&mut self, turn: &mut Turn) {
        let wanted: Vec<&Worker> = self.workers.iter().filter(|worker| worker.wanted).collect();
        if wanted.is_empty() || !wanted.iter().all(|worker| worker.state.is_out_of_sight()) {
            self.unavailable = None;
        } else if self.unavailable.is_none() {
            let message: Arc<str> = unavailable_message(&wanted).into();
            self.unavailable = Some(message.clone());
            self.stop_retries(turn);
            turn.push(Action::Unavailable { message });
        }
    }

    /// As [`Self::check_viability`], where a launch that waits for room may have run out of patience.
    pub fn check_postponed(&mut self, turn: &mut Turn) {
        if self.postponed > 0 {
            self.check_viability(turn);
        }
    }

    /// An unavailable pool starts nothing by itself: the next query tries again.
    fn stop_retries(&mut self, turn: &mut Turn) {
        for worker in &mut self.workers {
            if let State::GivenUp { until } = &mut worker.state
                && let Some(until) = until.take()
            {
                turn.clear_timer(until, Timer::Worker(worker.id));
            }
        }
    }
}

/// Tells every reason once, as the first of the workers has it that it stopped. Bounded, however many workers there are.
fn unavailable_message(workers: &[&Worker]) -> String {
    let mut reasons: BTreeMap<String, (WorkerId, &str, usize)> = BTreeMap::new();
    for worker in workers {
        let reason = match &worker.state {
            State::Postponed { reason, .. } => reason,
            _ => worker.reason.as_deref().unwrap_or("unknown"),
        };
        reasons.entry(without_numbers(reason)).or_insert((worker.id, reason, 0)).2 += 1;
    }
    let mut grouped: Vec<_> = reasons.into_values().collect();
    grouped.sort_unstable_by_key(|(first, ..)| *first);
    let mut text = format!("no worker is ready and none of the {} wanted can come up any more", workers.len());
    for (first, reason, count) in grouped.iter().take(REASONS_SHOWN) {
        // A log that is quoted ends with its line.
        let sign = if text.contains(LOG_MARK) { "\n" } else { "; " };
        // Writing to a String does not fail.
        let _ = match count {
            1 => write!(text, "{sign}{first}: {reason}"),
            _ => write!(text, "{sign}{first} and {} more: {reason}", count - 1),
        };
    }
    if grouped.len() > REASONS_SHOWN {
        let _ = write!(text, "\nand {} more reasons", grouped.len() - REASONS_SHOWN);
    }
    text
}
