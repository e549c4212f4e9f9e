//! The tasks and fetches that wait until lost partitions have been recomputed.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{FetchId, TaskId};

/// A reader of lost partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    /// A parked task.
    Task(TaskId),
    /// A fetch of the driver.
    Fetch(FetchId),
}

/// The waiters by the tasks that recompute what they read, and the other way round.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    by_producer: BTreeMap<TaskId, BTreeSet<Waiter>>,
    producers: BTreeMap<Waiter, BTreeSet<TaskId>>,
}

impl Waiters {
    /// Has a reader wait for these tasks, too.
    pub fn add(&mut self, waiter: Waiter, producers: impl IntoIterator<Item = TaskId>) {
        let awaited = self.producers.entry(waiter).or_default();
        for producer in producers {
            awaited.insert(producer);
            self.by_producer.entry(producer).or_default().insert(waiter);
        }
    }

    /// The reader no longer waits.
    pub fn remove(&mut self, waiter: Waiter) {
        for producer in self.producers.remove(&waiter).unwrap_or_default() {
            if let Some(waiters) = self.by_producer.get_mut(&producer) {
                waiters.remove(&waiter);
                if waiters.is_empty() {
                    self.by_producer.remove(&producer);
                }
            }
        }
    }

    /// The task has recomputed its outputs: takes the readers that wait for no other.
    pub fn recomputed(&mut self, producer: TaskId) -> Vec<Waiter> {
        let mut ready = Vec::new();
        for waiter in self.by_producer.remove(&producer).unwrap_or_default() {
            if let Some(awaited) = self.producers.get_mut(&waiter) {
                awaited.remove(&producer);
                if awaited.is_empty() {
                    self.producers.remove(&waiter);
                    ready.push(waiter);
                }
            }
        }
        ready
    }

    /// The task cannot recompute its outputs: takes its readers.
    pub fn failed(&mut self, producer: TaskId) -> Vec<Waiter> {
        let waiters: Vec<Waiter> = self.by_producer.get(&producer).into_iter().flatten().copied().collect();
        for waiter in &waiters {
            self.remove(*waiter);
        }
        waiters
    }

    /// Takes all readers.
    pub fn take_all(&mut self) -> Vec<Waiter> {
        self.by_producer.clear();
        std::mem::take(&mut self.producers).into_keys().collect()
    }

    /// The number of readers that wait.
    pub fn len(&self) -> usize {
        self.producers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READER: Waiter = Waiter::Task(TaskId(9));
    const FETCH: Waiter = Waiter::Fetch(FetchId(1));

    #[test]
    fn a_reader_waits_until_the_last_of_its_producers_is_done() {
        let mut waiters = Waiters::default();
        waiters.add(READER, [TaskId(1), TaskId(2)]);
        waiters.add(FETCH, [TaskId(2)]);
        assert_eq!(waiters.recomputed(TaskId(2)), [FETCH]);
        waiters.add(READER, [TaskId(2)]);
        assert_eq!(waiters.recomputed(TaskId(1)), []);
        assert_eq!(waiters.recomputed(TaskId(2)), [READER]);
        assert_eq!((waiters.len(), waiters.by_producer.len()), (0, 0));
    }

    #[test]
    fn a_producer_that_fails_ends_the_wait_of_all_its_readers() {
        let mut waiters = Waiters::default();
        waiters.add(READER, [TaskId(1), TaskId(2)]);
        waiters.add(FETCH, [TaskId(1)]);
        assert_eq!(waiters.failed(TaskId(1)), [READER, FETCH]);
        assert_eq!(waiters.recomputed(TaskId(2)), []);
        assert_eq!((waiters.len(), waiters.by_producer.len()), (0, 0));
    }
}
