//! Random histories of slots (published, read, dropped, lost with their process, published again) against a plain model,
//! and each rule by a sentence. Does not cover the session around the slots.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ids::TaskId;

const fn w(index: u32) -> WorkerId {
    WorkerId(index)
}

const fn id(task: u64, slot: u32) -> SlotId {
    SlotId { task: TaskId(task), slot }
}

fn query(number: u64) -> QueryId {
    QueryId::from(&*format!("q{number}"))
}

/// A slot as the model knows it.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    /// The holder; `None` if the slot is lost.
    at: Option<WorkerId>,
    generation: Generation,
    query: QueryId,
    is_unread: bool,
}

#[derive(Debug, Default)]
struct Model {
    slots: BTreeMap<SlotId, Known>,
    generations: u32,
}

impl Model {
    fn at(&self, worker: WorkerId) -> impl Iterator<Item = &Known> {
        self.slots.values().filter(move |slot| slot.at == Some(worker))
    }

    fn held_at(&self, worker: WorkerId) -> u64 {
        self.at(worker).count() as u64
    }
}

fn check(model: &Model, slots: &Slots) {
    assert_eq!(slots.len(), model.slots.len());
    for (id, known) in &model.slots {
        match (slots.location(*id), known.at) {
            (Some(Location::At(worker)), Some(at)) => assert_eq!(*worker, at),
            (Some(Location::Lost(_)), None) => assert!(slots.loss_of(&[*id]).is_some()),
            other => panic!("{id}: {other:?}"),
        }
        assert_eq!(slots.generation(*id), Some(known.generation));
    }
    for worker in (0..4).map(w) {
        assert_eq!(slots.held_at(worker), model.held_at(worker));
    }
    let stores: BTreeSet<WorkerId> = (0..4).map(w).filter(|worker| model.held_at(*worker) > 0).collect();
    assert_eq!(slots.stores.keys().copied().collect::<BTreeSet<_>>(), stores, "nothing is kept of empty stores");
    for (worker, store) in &slots.stores {
        let unread: BTreeSet<&QueryId> =
            model.at(*worker).filter(|slot| slot.is_unread).map(|slot| &slot.query).collect();
        assert_eq!(store.unread.keys().collect::<BTreeSet<_>>(), unread);
    }
}

fn act(model: &mut Model, slots: &mut Slots, (kind, a, b): (u8, u8, u8)) {
    let (worker, task) = (w(u32::from(a % 4)), u64::from(b % 6));
    match kind % 6 {
        // Published, or published again by a later attempt, at any worker.
        0..=2 => {
            model.generations += 1;
            let (generation, query) = (Generation::first(Attempt(model.generations)), query(task % 3));
            let outputs: Vec<Output> = (0..u32::from(a % 5))
                .map(|slot| Output {
                    slot,
                    num_rows: u64::from((u32::from(b) + slot) % 3),
                    fingerprint: None,
                    is_stored: true,
                })
                .collect();
            let mut superseded = slots.publish(TaskId(task), generation, worker, &query, &outputs);
            let mut expected = Vec::new();
            for output in &outputs {
                let known =
                    Known { at: Some(worker), generation, query: query.clone(), is_unread: output.num_rows > 0 };
                expected.extend(model.slots.insert(id(task, output.slot), known).and_then(|before| before.at));
            }
            superseded.sort_unstable();
            expected.sort_unstable();
            assert_eq!(superseded, expected);
        }
        3 => {
            let ids = [id(task, 0), id(task, 2)];
            slots.mark_read(&ids);
            for (_, slot) in model.slots.iter_mut().filter(|(id, _)| ids.contains(id)) {
                slot.is_unread = false;
            }
        }
        4 => {
            let id = id(task, u32::from(a % 5));
            let known = model.slots.remove(&id);
            assert_eq!(slots.remove(id).and_then(|place| place.holder()), known.and_then(|slot| slot.at));
        }
        // Lost: the process ended, or was restarted in place.
        _ => {
            let unread: BTreeSet<QueryId> =
                model.at(worker).filter(|slot| slot.is_unread).map(|slot| slot.query.clone()).collect();
            let count = model.held_at(worker);
            let lost = slots.lose(worker, &"gone".into());
            assert_eq!(lost.ids.len() as u64, count);
            assert_eq!(lost.unread.into_keys().collect::<Vec<_>>(), unread.into_iter().collect::<Vec<_>>());
            assert_eq!(lost.loss.worker, worker);
            for slot in model.slots.values_mut().filter(|slot| slot.at == Some(worker)) {
                (slot.at, slot.is_unread) = (None, false);
            }
            assert_eq!(slots.lose(worker, &"again".into()).ids, [], "each slot is lost once");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::test_cases(1000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn slots_are_where_they_were_published_last_until_they_are_lost_or_dropped(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
    ) {
        let (mut model, mut slots) = (Model::default(), Slots::default());
        for step in steps {
            act(&mut model, &mut slots, step);
            check(&model, &slots);
        }
        let ids: Vec<SlotId> = model.slots.keys().copied().collect();
        for id in ids {
            slots.remove(id);
        }
        prop_assert!(slots.by_id.is_empty() && slots.stores.is_empty(), "nothing is left: {:?}", slots);
    }
}

#[test]
fn a_lost_slot_says_why_until_another_attempt_publishes_it() {
    let mut slots = Slots::default();
    let output = [Output { slot: 0, num_rows: 1, fingerprint: None, is_stored: true }];
    slots.publish(TaskId(1), Generation::first(Attempt(1)), w(0), &query(1), &output);
    slots.lose(w(0), &"out of memory".into());
    slots.lose(w(0), &"a later loss".into());
    assert!(slots.loss_of(&[id(1, 0)]).unwrap().to_string().contains("worker-0 was lost"));
    assert_eq!(&*slots.loss_of(&[id(1, 0)]).unwrap().reason, "out of memory", "the first reason stays");
    slots.publish(TaskId(1), Generation::first(Attempt(2)), w(1), &query(1), &output);
    assert_eq!((slots.loss_of(&[id(1, 0)]), slots.generation(id(1, 0))), (None, Some(Generation::first(Attempt(2)))));
    assert_eq!(slots.location(id(1, 0)), Some(&Location::At(w(1))));
}

#[test]
fn slots_of_the_driver_are_never_lost() {
    let mut slots = Slots::default();
    slots.lose(w(0), &"gone".into());
    slots.mark_read(&[id(7, 0)]);
    assert_eq!((slots.location(id(7, 0)), slots.loss_of(&[id(7, 0)])), (None, None));
    assert_eq!(slots.remove(id(7, 0)), None);
}
