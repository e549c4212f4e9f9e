//! The session's history, for those who observe it.

use std::time::Duration;

use daft_k8s_core::{Event, Fact, QueryId, Sequence};

use super::Driver;

/// The number of entries that are read at once at most, as the session's lock is held meanwhile.
const MAX_ENTRIES: usize = 4_096;

/// The facts after a certain entry of the journal.
#[derive(Clone, Debug)]
pub struct JournalSnapshot {
    /// The facts, oldest first.
    pub facts: Vec<Fact>,
    /// The number of the last entry that was read. The next reading starts there.
    pub read_to: Sequence,
    /// The number of entries that were dropped before they could be read.
    pub missed: u64,
    /// True if nothing was left to read.
    pub is_complete: bool,
    /// The time since the session's start.
    pub now: Duration,
}

impl Driver {
    /// The facts after that entry; `Sequence(0)`: from the beginning.
    pub fn facts_since(&self, sequence: Sequence) -> JournalSnapshot {
        let state = self.inner.state.lock();
        let journal = state.core.journal();
        let unread = journal.since(sequence);
        let missed = unread.missed;
        let mut read_to = sequence.max(Sequence(journal.dropped())).min(journal.latest());
        let mut facts = Vec::new();
        for (number, _) in unread.take(MAX_ENTRIES) {
            facts.extend(journal.fact(number));
            read_to = number;
        }
        let is_complete = read_to == journal.latest();
        JournalSnapshot { facts, read_to, missed, is_complete, now: self.inner.clock.now() }
    }

    /// A query begins, as the journal is to tell.
    pub fn begin_query(&self, query_id: &str) {
        self.inner.feed(Event::QueryBegan(QueryId::from(query_id)));
    }
}
