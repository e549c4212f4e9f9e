//! The journal: the history of a session, bounded, as cause and effect.
//!
//! An entry is an event that was taken in, a timer that was due, an action, or a [`Note`] of a part of the session about
//! what is neither. Entries are numbered in the order in which they came to be. Each has the time of its turn and the
//! number of its cause: the event or timer that was handled when it came to be. An event and a timer are their own causes.
//! The end of a turn, which sends tasks that waited for room and the like, is put down to the last event or timer of the
//! turn.
//!
//! The journal is kept at one place, [`Session::handle_all`](crate::Session::handle_all) with its turn, so a new event,
//! timer or action is journalled without more. Facts are the entries that matter to an observer, in one form ([`Fact`]).
//!
//! A journal has room for so many entries and bytes. The oldest entries are dropped for new ones, and readers are told of
//! the number that they missed. As long as none was dropped, the journal can be [replayed](Journal::replay).

mod fact;
mod note;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use get_size2::{GetSize, NoTracker};

use crate::{Action, Event};

pub use crate::session::turn::Timer;
pub use fact::{Fact, FactKind};
pub use note::Note;
pub use replay::Incomplete;

/// The number of an entry. The first is 1; none is used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// The room that a journal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalBounds {
    /// The number of entries.
    pub entries: usize,
    /// The memory that entries take, in bytes, text and lists included.
    pub bytes: usize,
}

impl Default for JournalBounds {
    /// Room for 2 s of the busiest session that was measured (2,000 tasks a second, five entries each), three times over.
    fn default() -> Self {
        Self { entries: 65_536, bytes: 16 << 20 }
    }
}

/// One entry of a journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The time of its turn, since the session's start.
    pub at: Duration,
    /// The event or timer that led to it; itself, if it is one.
    pub cause: Sequence,
    /// The memory that it takes.
    bytes: usize,
    /// Its contents.
    pub what: What,
}

/// Equal are entries that tell the same. The memory that they take differs: a list may have room for more.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.cause, &self.what) == (other.at, other.cause, &other.what)
    }
}

impl Eq for Entry {}

/// The contents of an entry.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum What {
    /// An event was taken in.
    Event {
        /// The event.
        event: Event,
        /// True if it is the first of its turn: whatever is due is handled once per turn, at its end.
        opens_turn: bool,
    },
    /// A timer was due.
    Due(Timer),
    /// The shell was told to do this.
    Action(Action),
    /// A part of the session tells of what is no action.
    Note(Note),
}

/// The entries of a journal after a certain one.
#[derive(Debug)]
pub struct Unread<'a> {
    /// The number of entries after that one that were dropped before they could be read.
    pub missed: u64,
    entries: std::collections::vec_deque::Iter<'a, Entry>,
    next: u64,
}

impl<'a> Iterator for Unread<'a> {
    type Item = (Sequence, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let sequence = Sequence(self.next);
        self.next += 1;
        Some((sequence, entry))
    }
}

/// The history of a session, as far as it has room for it.
#[derive(Debug)]
pub struct Journal {
    bounds: JournalBounds,
    entries: VecDeque<Entry>,
    dropped: u64,
    bytes: usize,
    now: Duration,
    cause: Sequence,
    opens_turn: bool,
}

impl Journal {
    pub(crate) const fn new(bounds: JournalBounds) -> Self {
        Self {
            bounds,
            entries: VecDeque::new(),
            dropped: 0,
            bytes: 0,
            now: Duration::ZERO,
            cause: Sequence(0),
            opens_turn: false,
        }
    }

    /// The number of entries that were dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The number of the latest entry; 0 before the first.
    #[must_use]
    pub fn latest(&self) -> Sequence {
        Sequence(self.dropped + self.entries.len() as u64)
    }

    /// The memory that the entries take, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// An entry, if there is or still is one of that number.
    #[must_use]
    pub fn get(&self, sequence: Sequence) -> Option<&Entry> {
        self.entries.get(self.index_of(sequence)?)
    }

    fn index_of(&self, sequence: Sequence) -> Option<usize> {
        usize::try_from(sequence.0.checked_sub(self.dropped + 1)?).ok()
    }

    /// The entries after that one, oldest first.
    #[must_use]
    pub fn since(&self, sequence: Sequence) -> Unread<'_> {
        let missed = self.dropped.saturating_sub(sequence.0);
        let skipped = sequence.0.saturating_sub(self.dropped);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.entries.len());
        let next = self.dropped + skipped as u64 + 1;
        Unread { missed, entries: self.entries.range(skipped..), next }
    }

    /// All entries that are kept, oldest first.
    #[must_use]
    pub fn entries(&self) -> Unread<'_> {
        self.since(Sequence(self.dropped))
    }

    /// Begins the next turn.
    pub(crate) const fn begin_turn(&mut self, now: Duration) {
        self.now = now;
        self.opens_turn = true;
    }

    /// Opens the entry of an event, which is the cause of what follows. The event itself is handed in by
    /// [`Self::close_event`], when it has been handled: it is not copied.
    pub(crate) fn open_event(&mut self) -> Sequence {
        let opens_turn = std::mem::take(&mut self.opens_turn);
        self.open_cause(What::Event { event: Event::Tick, opens_turn });
        self.cause
    }

    pub(crate) fn close_event(&mut self, sequence: Sequence, event: Event) {
        let bytes = heap_bytes(&event);
        // It is gone if its effects alone take all the room.
        if let Some(entry) = self.index_of(sequence).and_then(|index| self.entries.get_mut(index))
            && let What::Event { event: kept, .. } = &mut entry.what
        {
            *kept = event;
            entry.bytes += bytes;
            self.bytes += bytes;
            self.make_room();
        }
    }

    /// Records a timer that is due; it is the cause of what follows.
    pub(crate) fn due(&mut self, timer: Timer) {
        self.open_cause(What::Due(timer));
    }

    pub(crate) fn action(&mut self, action: &Action) {
        self.record(What::Action(action.clone()));
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.record(What::Note(note));
    }

    fn open_cause(&mut self, what: What) {
        self.cause = Sequence(self.latest().0 + 1);
        self.record(what);
    }

    fn record(&mut self, what: What) {
        let bytes = size_of::<Entry>() + heap_bytes(&what);
        self.bytes += bytes;
        self.entries.push_back(Entry { at: self.now, cause: self.cause, bytes, what });
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes;
            self.dropped += 1;
        }
    }
}

/// The memory that a value refers to. Shared memory counts each time: to look for what was counted already costs an
/// allocation for each entry.
fn heap_bytes(value: &impl GetSize) -> usize {
    value.get_heap_size_with_tracker(NoTracker::new(true)).0
}
