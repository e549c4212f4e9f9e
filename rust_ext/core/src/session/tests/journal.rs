//! Random histories: what their journal tells, and its replay.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::observer::Observer;
use super::properties::steps;
use super::*;
use crate::journal::{Fact, FactKind, Journal, JournalBounds, Sequence, What};

/// The history of a session from its start to its shutdown.
fn history(steps: Vec<(u8, u8, u8, u16)>, elastic: bool) -> Observer {
    let mut observer = Observer::new(elastic);
    observer.tell(Event::SetDesired(3));
    for step in steps {
        observer.act(step);
    }
    observer.tell(Event::Shutdown);
    observer
}

fn facts(journal: &Journal) -> Vec<Fact> {
    journal.entries().filter_map(|(sequence, _)| journal.fact(sequence)).collect()
}

const fn is_cause(what: &What) -> bool {
    matches!(what, What::Event { .. } | What::Due(_))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_journal_gives_the_same_actions_and_facts(steps in steps(), elastic: bool) {
        let observer = history(steps, elastic);
        let journal = observer.pool.journal();
        prop_assert_eq!(journal.dropped(), 0);
        let told = journal.entries().filter_map(|(_, entry)| match &entry.what {
            What::Action(action) => Some(action),
            _ => None,
        });
        prop_assert!(told.eq(&observer.actions), "each action is journalled, in order");
        let (replayed, actions) = journal.replay(observer.pool.config().clone()).expect("a whole journal");
        prop_assert_eq!(&actions, &observer.actions);
        prop_assert!(replayed.journal().entries().eq(journal.entries()));
        prop_assert_eq!(facts(replayed.journal()), facts(journal));
    }

    #[test]
    fn each_entry_has_a_cause_of_its_own_turn_which_is_kept_or_was_dropped(
        steps in steps(), elastic: bool, entries in 1_usize..200,
    ) {
        let observer = history(steps, elastic);
        let whole = observer.pool.journal();
        let bounds = JournalBounds { entries, ..JournalBounds::default() };
        let config = PoolConfig { journal: bounds, ..observer.pool.config().clone() };
        let (session, _) = whole.replay(config).expect("a whole journal");
        let journal = session.journal();
        let mut before = Duration::ZERO;
        for (sequence, entry) in journal.entries() {
            prop_assert!(entry.cause <= sequence && before <= entry.at);
            before = entry.at;
            prop_assert_eq!(entry.cause == sequence, is_cause(&entry.what));
            match journal.get(entry.cause) {
                Some(cause) => prop_assert!(is_cause(&cause.what) && cause.at == entry.at),
                None => prop_assert!(entry.cause.0 <= journal.dropped()),
            }
        }
    }

    #[test]
    fn a_journal_with_little_room_is_the_end_of_the_whole_one(
        steps in steps(), elastic: bool, entries in 1_usize..200, bytes in 500_usize..50_000,
    ) {
        let observer = history(steps, elastic);
        let whole = observer.pool.journal();
        let bounds = JournalBounds { entries, bytes };
        let config = PoolConfig { journal: bounds, ..observer.pool.config().clone() };
        let (session, actions) = whole.replay(config).expect("a whole journal");
        let journal = session.journal();
        prop_assert_eq!(&actions, &observer.actions, "the room decides nothing");
        prop_assert_eq!(journal.latest(), whole.latest());
        prop_assert_eq!(journal.entries().count() as u64 + journal.dropped(), whole.latest().0);
        prop_assert!(journal.entries().count() <= entries && journal.bytes() <= bytes);
        prop_assert!(journal.entries().eq(whole.since(Sequence(journal.dropped()))));
    }

    #[test]
    fn facts_tell_of_each_task_once_and_of_each_send(steps in steps(), elastic: bool) {
        let observer = history(steps, elastic);
        let mut ends = BTreeMap::new();
        let mut submitted = BTreeSet::new();
        let mut sent = 0;
        for fact in facts(observer.pool.journal()) {
            match fact.kind {
                FactKind::TaskSubmitted => drop(submitted.insert(fact.task.expect("a task"))),
                FactKind::TaskSent => sent += 1,
                FactKind::TaskSucceeded | FactKind::TaskFailed | FactKind::TaskLost | FactKind::TaskCancelled => {
                    *ends.entry(fact.task.expect("a task")).or_insert(0) += 1;
                }
                _ => {}
            }
        }
        prop_assert_eq!(sent, observer.sends);
        prop_assert!(submitted.iter().eq(observer.tasks.keys()));
        prop_assert!(ends.keys().eq(observer.tasks.keys()) && ends.values().all(|count| *count == 1));
    }
}
