//! The worker's log of finished tasks, which the driver reads with a long poll (AwaitTask).
//!
//! Each entry has a version, counted from 1. The driver sends the version up to which it has read;
//! that acknowledges everything up to there, which is then forgotten. A poll whose answer was lost is
//! sent again with the same version and gets the same entries (and whatever was added since).

use std::collections::VecDeque;

use crate::ids::TaskKey;

/// Finished tasks with their outcomes, in the order in which they finished, until acknowledged.
///
/// `T` is cloned into each answer, so it should be cheap to clone.
#[derive(Debug, Clone)]
pub struct TaskLog<T> {
    /// Entries `forgotten + 1 ..= forgotten + entries.len()`.
    entries: VecDeque<(TaskKey, T)>,
    forgotten: u64,
}

impl<T> Default for TaskLog<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> TaskLog<T> {
    /// An empty log, at version 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The version of the latest entry, acknowledged or not; 0 if there has been none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.forgotten + self.entries.len() as u64
    }

    /// The number of entries that are not yet acknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if every entry is acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Appends a finished task and returns the version of its entry.
    pub fn finish(&mut self, key: TaskKey, outcome: T) -> u64 {
        self.entries.push_back((key, outcome));
        self.version()
    }

    /// Forgets all up to `version`, which the caller thereby acknowledges.
    ///
    /// A version that this log has not reached was given by another incarnation: it acknowledges nothing.
    fn acknowledge(&mut self, version: u64) {
        if version <= self.version() {
            let read = version.saturating_sub(self.forgotten);
            // `read` is at most `entries.len()`, hence within usize.
            self.entries.drain(..read as usize);
            self.forgotten += read;
        }
    }
}

impl<T: Clone> TaskLog<T> {
    /// Acknowledges all up to `version`, and returns the latest version with all entries after that.
    ///
    /// A version that this log has not reached (it belongs to another incarnation of the worker)
    /// acknowledges nothing, and all entries that are here are returned.
    pub fn since(&mut self, version: u64) -> (u64, Vec<(TaskKey, T)>) {
        self.since_while(version, |_, _| true)
    }

    /// As [`TaskLog::since`], but ends before the first entry that `fits` refuses. The returned version is that of
    /// the last entry returned. The oldest entry is always returned: a reader must make progress.
    pub fn since_while(
        &mut self,
        version: u64,
        mut fits: impl FnMut(&TaskKey, &T) -> bool,
    ) -> (u64, Vec<(TaskKey, T)>) {
        self.acknowledge(version);
        let mut taken = Vec::new();
        for (key, outcome) in &self.entries {
            if !fits(key, outcome) && !taken.is_empty() {
                break;
            }
            taken.push((key.clone(), outcome.clone()));
        }
        (self.forgotten + taken.len() as u64, taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Attempt;
    use proptest::prelude::*;

    fn key(task: u64) -> TaskKey {
        TaskKey { query: "q".to_owned(), task, attempt: Attempt::FIRST }
    }

    #[test]
    fn entries_come_in_the_order_in_which_tasks_finished() {
        let mut log = TaskLog::new();
        assert_eq!(log.finish(key(7), "a"), 1);
        assert_eq!(log.finish(key(3), "b"), 2);
        assert_eq!(log.since(0), (2, vec![(key(7), "a"), (key(3), "b")]));
    }

    #[test]
    fn a_poll_whose_answer_was_lost_gets_the_same_entries_again() {
        let mut log = TaskLog::new();
        log.finish(key(1), ());
        let (version, _) = log.since(0);
        log.finish(key(2), ());
        let first = log.since(version);
        assert_eq!(first, (2, vec![(key(2), ())]));
        assert_eq!(log.since(version), first);
    }

    #[test]
    fn acknowledged_entries_are_forgotten() {
        let mut log = TaskLog::new();
        log.finish(key(1), ());
        log.finish(key(2), ());
        assert_eq!(log.since(2), (2, vec![]));
        assert!(log.is_empty());
        assert_eq!(log.since(0), (2, vec![]));
    }

    #[test]
    fn a_bounded_answer_acknowledges_only_what_it_holds() {
        let mut log = TaskLog::new();
        for task in 1..=5 {
            log.finish(key(task), task);
        }
        let below = |limit: u64| move |_: &TaskKey, task: &u64| *task <= limit;
        assert_eq!(log.since_while(0, below(2)), (2, vec![(key(1), 1), (key(2), 2)]));
        assert_eq!(log.len(), 5);
        assert_eq!(log.since_while(2, below(0)), (3, vec![(key(3), 3)]));
        assert_eq!(log.since(3), (5, vec![(key(4), 4), (key(5), 5)]));
        assert_eq!(log.since_while(5, below(0)), (5, vec![]));
    }

    #[test]
    fn a_version_of_another_incarnation_acknowledges_nothing() {
        let mut log = TaskLog::new();
        log.finish(key(1), ());
        assert_eq!(log.since(57), (1, vec![(key(1), ())]));
        assert_eq!(log.len(), 1);
    }

    proptest! {
        #[test]
        fn a_reader_that_loses_answers_still_reads_each_entry_once(steps in prop::collection::vec(0u8..3, 0..80)) {
            let mut log = TaskLog::new();
            let (mut finished, mut read, mut at) = (0u64, Vec::new(), 0u64);
            for step in steps.into_iter().chain([2]) {
                match step {
                    0 => {
                        finished += 1;
                        prop_assert_eq!(log.finish(key(finished), finished), finished);
                    }
                    1 => {
                        let lost = log.since(at);
                        prop_assert_eq!(log.since(at), lost);
                    }
                    _ => {
                        let (version, items) = log.since(at);
                        read.extend(items.into_iter().map(|(_, outcome)| outcome));
                        at = version;
                    }
                }
            }
            prop_assert_eq!(read, (1..=finished).collect::<Vec<_>>());
            log.since(at);
            prop_assert!(log.is_empty());
        }
    }
}
