//! Covers the room of a journal, its reading by number, and its facts one by one. Random histories, their replay and
//! their causes: `session::tests::journal`.

use super::*;
use crate::{Determinism, FailKind, Kept, LaunchId, PoolConfig, QueryId, Session, SlotId, TaskId, WorkerId};

fn journal(entries: usize, bytes: usize) -> Journal {
    let mut journal = Journal::new(JournalBounds { entries, bytes });
    journal.begin_turn(Duration::from_secs(1));
    journal
}

fn tell(journal: &mut Journal, event: Event) {
    let sequence = journal.open_event();
    journal.close_event(sequence, event);
}

fn drop_of(slots: u32) -> Event {
    Event::Drop((0..slots).map(|slot| SlotId { task: TaskId(1), slot }).collect())
}

#[test]
fn the_oldest_entries_make_room_and_readers_are_told_how_many_they_missed() {
    let mut journal = journal(3, usize::MAX);
    for query in ["a", "b", "c", "d", "e"] {
        tell(&mut journal, Event::QueryBegan(query.into()));
    }
    assert_eq!((journal.dropped(), journal.latest()), (2, Sequence(5)));
    let unread = journal.since(Sequence(1));
    assert_eq!(unread.missed, 1, "of two that were dropped, the reader had read one");
    assert_eq!(unread.map(|(sequence, _)| sequence.0).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(journal.since(Sequence(4)).map(|(sequence, _)| sequence.0).collect::<Vec<_>>(), [5]);
    assert_eq!((journal.since(Sequence(9)).missed, journal.since(Sequence(9)).count()), (0, 0));
    assert!(journal.get(Sequence(2)).is_none() && journal.get(Sequence(0)).is_none());
    assert_eq!(journal.fact(Sequence(5)).and_then(|fact| fact.query), Some(QueryId::from("e")));
}

#[test]
fn what_an_event_holds_counts_towards_the_room() {
    let mut journal = journal(usize::MAX, 16_000);
    for _ in 0..100 {
        tell(&mut journal, drop_of(100));
    }
    let each = size_of::<Entry>() + 100 * size_of::<SlotId>();
    assert_eq!((journal.entries().count(), journal.bytes()), (16_000 / each, 16_000 / each * each));
    assert_eq!(journal.dropped() as usize + journal.entries().count(), 100);
}

#[test]
fn an_entry_that_alone_has_no_room_is_dropped_and_counted() {
    let mut journal = journal(usize::MAX, 1_000);
    tell(&mut journal, drop_of(1));
    tell(&mut journal, drop_of(1_000));
    assert_eq!((journal.dropped(), journal.entries().count(), journal.bytes()), (2, 0, 0));
    tell(&mut journal, drop_of(1));
    assert_eq!(journal.entries().map(|(sequence, _)| sequence.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_journal_without_its_beginning_is_not_replayed() {
    let mut journal = journal(1, usize::MAX);
    tell(&mut journal, Event::Tick);
    assert!(journal.replay(PoolConfig::default()).is_ok());
    tell(&mut journal, Event::Tick);
    let refused = journal.replay(PoolConfig::default()).expect_err("an error");
    assert_eq!(refused, Incomplete { dropped: 1 });
    assert!(refused.to_string().contains("its first 1 entries were dropped"), "{refused}");
}

#[test]
fn events_of_one_turn_are_replayed_in_one_turn() {
    let mut session = Session::new(PoolConfig::default());
    let submit = |task| Event::Submit {
        task: TaskId(task),
        prefer: WorkerId(0),
        query: "q".into(),
        inputs: [].into(),
        determinism: Determinism::Unrepeatable,
        kept: Kept::own(0),
    };
    session.handle_all([submit(1), submit(2), Event::SetDesired(1)], Duration::from_secs(1));
    session.handle(Event::Tick, Duration::from_secs(1));
    assert_eq!(session.journal().turns().iter().map(|(_, events)| events.len()).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn a_fact_tells_what_led_to_it() {
    let mut session = Session::new(PoolConfig { queue_ahead: 0, ..PoolConfig::default() });
    session.handle(Event::SetDesired(1), Duration::from_secs(1));
    session.handle(
        Event::Refused { worker: WorkerId(0), launch: LaunchId(1), reason: "another version".to_owned() },
        Duration::from_secs(2),
    );
    let submit = Event::Submit {
        task: TaskId(7),
        prefer: WorkerId(0),
        query: "q".into(),
        inputs: [].into(),
        determinism: Determinism::Unrepeatable,
        kept: Kept::own(0),
    };
    session.handle(submit, Duration::from_secs(3));
    let journal = session.journal();
    let facts: Vec<Fact> = journal.entries().filter_map(|(sequence, _)| journal.fact(sequence)).collect();
    let told = |fact: &Fact| (fact.at.as_secs(), fact.kind, fact.cause_name.clone().unwrap_or_default());
    assert_eq!(
        facts.iter().map(told).collect::<Vec<_>>(),
        [
            (1, FactKind::WorkerLaunched, "SetDesired".to_owned()),
            (2, FactKind::ProcessEnded, "Refused".to_owned()),
            (2, FactKind::PoolUnavailable, "Refused".to_owned()),
            (3, FactKind::TaskSubmitted, "Submit".to_owned()),
            (3, FactKind::TaskLost, "Submit".to_owned()),
        ]
    );
    let lost = facts.last().expect("a fact");
    assert_eq!((lost.task, lost.fail_kind), (Some(TaskId(7)), Some(FailKind::NoWorkers)));
    assert!(lost.reason.as_ref().is_some_and(|reason| reason.contains("another version")));
}

#[test]
fn an_entry_has_the_name_of_what_it_holds() {
    let event = |event| What::Event { event, opens_turn: true };
    assert_eq!(event(drop_of(9)).name(), "Drop");
    assert_eq!(event(Event::Tick).name(), "Tick");
    assert_eq!(What::Due(Timer::Idleness).name(), "Idleness");
    assert_eq!(What::Due(Timer::Silence(WorkerId(1))).name(), "Silence");
    assert_eq!(What::Action(Action::Cancelled { task: TaskId(1) }).name(), "Cancelled");
}
