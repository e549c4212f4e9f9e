//! The replay of a journal: its events, at their times, into a new session.

use std::time::Duration;

use super::{Entry, Journal, What};
use crate::{Action, Event, PoolConfig, Session};

/// A journal that cannot be replayed, as it has lost its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal cannot be replayed: its first {dropped} entries were dropped; give it more room")]
pub struct Incomplete {
    /// The number of entries that are missing.
    pub dropped: u64,
}

impl Journal {
    /// Has a new session take in the events of this journal, turn by turn, at the times at which they came. Returns that
    /// session and all its actions: those of the session that kept this journal, if the configuration is the same.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] if entries were dropped.
    pub fn replay(&self, config: PoolConfig) -> Result<(Session, Vec<Action>), Incomplete> {
        if self.dropped > 0 {
            return Err(Incomplete { dropped: self.dropped });
        }
        let mut session = Session::new(config);
        let mut actions = Vec::new();
        for (now, events) in self.turns() {
            actions.extend(session.handle_all(events, now));
        }
        Ok((session, actions))
    }

    pub(super) fn turns(&self) -> Vec<(Duration, Vec<Event>)> {
        let mut turns: Vec<(Duration, Vec<Event>)> = Vec::new();
        for Entry { at, what, .. } in &self.entries {
            let What::Event { event, opens_turn } = what else {
                continue;
            };
            match turns.last_mut().filter(|_| !opens_turn) {
                Some((_, events)) => events.push(event.clone()),
                None => turns.push((*at, vec![event.clone()])),
            }
        }
        turns
    }
}
