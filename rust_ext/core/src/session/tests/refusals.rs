//! Refusals: a worker that has other tasks has no room, which costs nothing; waits without any progress have an end.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn unavailable(stage: &mut Stage, task: u64) -> Vec<Action> {
    let (worker, launch, attempt) = stage.place(task);
    let message = "its holder is busy".to_owned();
    stage.tell(Event::InputsMissing { task: t(task), worker, launch, attempt, slots: vec![], gone: false, message })
}

#[test]
fn a_task_that_is_refused_behind_a_long_one_waits_for_as_long_as_that_runs() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.submit(2, 0);
    let mut refusals = 0;
    while stage.now < secs(3600) {
        assert_eq!(stage.bounce(2), []);
        stage.tick();
        refusals += 1;
    }
    assert!(refusals < 2000, "every two seconds at most: {refusals}");
    assert_eq!(stage.bounce(2), []);
    assert_eq!(stage.succeed(1).last(), Some(&send(2, refusals + 2, 0, 1)), "at once, as memory is free again");
    stage.succeed(2);
}

#[test]
fn a_task_that_a_full_worker_refuses_goes_to_another_at_once() {
    let mut stage = Stage::ready(2);
    for (task, prefer) in [(1, 0), (2, 1), (3, 0)] {
        stage.submit(task, prefer);
    }
    assert_eq!(stage.place(3).0, w(0));
    assert_eq!(stage.bounce(3), [send(3, 2, 1, 1)]);
}

#[test]
fn a_worker_is_not_blamed_for_what_the_holder_of_an_input_did_not_serve() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    assert_eq!(unavailable(&mut stage, 1), []);
    assert!(!stage.pool.worker(w(0)).unwrap().cooling);
    assert_eq!(stage.submit(2, 0), [send(2, 1, 0, 1)], "another task is sent there at once");
    assert_eq!(stage.tick(), [send(1, 2, 0, 1)], "after its own back-off");
}

#[test]
fn an_input_that_is_never_served_ends_its_task_once_nothing_else_goes_on() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    let mut others = 100;
    while stage.now < secs(600) {
        stage.submit(others, 1);
        assert_eq!(unavailable(&mut stage, 1), [], "while other tasks end, it may still come");
        stage.tick();
        stage.succeed(others);
        others += 1;
    }
    let mut actions = unavailable(&mut stage, 1);
    while actions.is_empty() {
        stage.tick();
        actions = unavailable(&mut stage, 1);
    }
    assert!(stage.now < secs(730), "{:?}", stage.now);
    let (_, kind, message) = failure(&actions);
    assert!(kind == FailKind::Refused && message.contains("its holder is busy"), "{message}");
}

#[test]
fn a_task_that_backs_off_is_cancelled_at_once() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.bounce(1);
    assert!(matches!(stage.pool.task(t(1)).unwrap().phase, TaskPhase::BackingOff { .. }));
    assert_eq!(stage.tell(Event::CancelTask(t(1))), [cancelled(1)]);
}

/// A task of a random history.
#[derive(Debug, Clone)]
struct Job {
    lasts: u64,
    /// True if it fills the memory of its worker while it runs.
    is_large: bool,
    /// The second from which on the holder of its input serves.
    served_from: u64,
}

fn jobs() -> impl Strategy<Value = Vec<Job>> {
    let job = (1u64..400, prop::bool::weighted(0.3), prop_oneof![3 => Just(0u64), 1 => 0u64..100])
        .prop_map(|(lasts, is_large, served_from)| Job { lasts, is_large, served_from });
    prop::collection::vec(job, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_runs_however_long_others_fill_the_workers_memory(jobs in jobs(), workers in 1u32..4, slots in 1u32..4) {
        let mut stage = Stage::ready_with(PoolConfig { slots_per_worker: slots, ..small() }, workers);
        let mut coming: BTreeMap<(Duration, u64), Event> = BTreeMap::new();
        let mut large: BTreeMap<WorkerId, Vec<TaskId>> = BTreeMap::new();
        let (mut actions, mut number, mut delivered) = (Vec::new(), 0, 0);
        for task in 0..jobs.len() as u64 {
            actions.extend(stage.submit(task, u32::try_from(task).unwrap() % workers));
        }
        for _ in 0..1_000_000 {
            for action in std::mem::take(&mut actions) {
                match action {
                    Action::Send { task, attempt, worker, launch } => {
                        let job = &jobs[usize::try_from(task.0).unwrap()];
                        let is_full = large.get(&worker).is_some_and(|tasks| !tasks.is_empty());
                        let (after, event) = if is_full {
                            (ms(5), Event::Bounced { task, worker, launch, attempt, reason: "full".to_owned() })
                        } else if stage.now < secs(job.served_from) {
                            let message = "its holder is busy".to_owned();
                            (secs(1), Event::InputsMissing { task, worker, launch, attempt, slots: vec![], gone: false, message })
                        } else {
                            if job.is_large {
                                large.entry(worker).or_default().push(task);
                            }
                            (secs(job.lasts), Event::Succeeded { task, worker, launch, attempt, outputs: vec![] })
                        };
                        number += 1;
                        coming.insert((stage.now + after, number), event);
                    }
                    Action::Deliver { task, worker, .. } => {
                        delivered += 1;
                        large.entry(worker).or_default().retain(|other| *other != task);
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let next = coming.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = next.into_iter().chain(stage.pool.next_deadline()).min() else {
                break;
            };
            stage.now = at;
            let event = if next == Some(at) { coming.pop_first().map(|(_, event)| event) } else { None };
            actions = stage.tell(event.unwrap_or(Event::Tick));
        }
        prop_assert_eq!(delivered, jobs.len());
    }
}
