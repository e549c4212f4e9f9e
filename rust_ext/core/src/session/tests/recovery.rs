//! Recovery, a rule a sentence: what is run again, what waits for it, and what fails.

use super::*;
use crate::ids::{Generation, Run};
use crate::{FetchId, SlotRead};

/// So much that the record itself is little beside it.
const KB: u64 = 1_000;

fn deterministic(task: u64, prefer: u32, query: &str, inputs: Vec<SlotId>) -> Event {
    let determinism = Determinism::Deterministic;
    Event::Submit {
        task: t(task),
        prefer: w(prefer),
        query: query.into(),
        inputs: inputs.into(),
        determinism,
        kept: Kept::own(100 * KB),
    }
}

fn finish(stage: &mut Stage, task: u64, rows: &[u64]) -> Vec<Action> {
    let output =
        |(slot, num_rows): (u32, &u64)| Output { slot, num_rows: *num_rows, fingerprint: None, is_stored: true };
    end(stage, task, (0..).zip(rows).map(output).collect())
}

fn end(stage: &mut Stage, task: u64, outputs: Vec<Output>) -> Vec<Action> {
    let (worker, launch, attempt) = stage.place(task);
    stage.tell(Event::Succeeded { task: t(task), worker, launch, attempt, outputs })
}

/// Task 1 has left two slots at worker-1, of which task 2 has read the first: its output is at worker-1, too. The query
/// still refers to the second slot of task 1, and to the output of task 2.
fn chain() -> Stage {
    let mut stage = Stage::ready_with(PoolConfig { max_worker_restarts: 9, ..small() }, 2);
    stage.tell(deterministic(1, 1, "q", vec![]));
    finish(&mut stage, 1, &[3, 4]);
    stage.tell(deterministic(2, 1, "q", vec![s(1, 0)]));
    finish(&mut stage, 2, &[5]);
    stage.tell(Event::Drop(vec![s(1, 0)]));
    stage
}

/// A fetch could not read a slot that it found in this generation.
fn fetch_failed(fetch: FetchId, slot: SlotId, generation: Generation) -> Event {
    Event::FetchFailed { fetch, reads: vec![SlotRead { slot, generation: Some(generation) }] }
}

fn run_again(actions: &[Action]) -> Vec<(u64, u32)> {
    let runs = actions.iter().filter_map(|action| match action {
        Action::RunAgain { task, run } => Some((task.0, run.0)),
        _ => None,
    });
    runs.collect()
}

fn fails(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::FailTask { .. }))
}

#[test]
fn what_is_lost_is_not_run_again_until_something_needs_it() {
    let mut stage = chain();
    assert_eq!(run_again(&stage.exit(w(1), "gone")), []);
    assert_eq!(stage.pool.record_count(), 2);
}

#[test]
fn a_task_that_reads_what_is_lost_waits_until_it_was_recomputed_with_all_that_was_dropped_before() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    let actions = stage.tell(deterministic(3, 0, "q", vec![s(2, 0)]));
    assert_eq!(run_again(&actions), [(1, 1), (2, 1)], "parents first");
    assert_eq!(stage.pool.task(t(3)).unwrap().phase, TaskPhase::Parked);
    finish(&mut stage, 1, &[3, 4]);
    assert_eq!(stage.pool.location(s(1, 0)), Some(&Location::At(w(0))), "it is kept for the task that reads it");
    let actions = finish(&mut stage, 2, &[5]);
    let dropped = Action::DropInput {
        reader: t(2),
        slot: s(1, 0),
        worker: w(0),
        generation: Generation { run: Run(1), attempt: Attempt(1) },
    };
    assert!(actions.contains(&dropped), "{actions:?}");
    assert_eq!((stage.pool.location(s(1, 0)), stage.place(3).0), (None, w(0)));
    finish(&mut stage, 3, &[1]);
    stage.tell(Event::Drop(vec![s(1, 1), s(2, 0), s(3, 0)]));
    assert_eq!((stage.pool.record_count(), stage.pool.slot_count(), stage.pool.parked_count()), (0, 0, 0));
}

#[test]
fn a_run_fills_only_what_is_lost_and_its_other_outputs_are_dropped() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    stage.tell(deterministic(3, 0, "q", vec![s(1, 1)]));
    let actions = finish(&mut stage, 1, &[3, 4]);
    let over = Action::RunOver { task: t(1), run: Run(1), attempt: Attempt(1), worker: w(0), dropped: vec![0] };
    assert!(actions.contains(&over), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Deliver { .. })), "its owner knows its end already");
}

#[test]
fn a_run_that_gives_other_rows_is_not_mixed_with_what_was_read_before() {
    for rows in [&[4, 3][..], &[3, 4, 0], &[7]] {
        let mut stage = chain();
        stage.exit(w(1), "gone");
        stage.tell(deterministic(3, 0, "q", vec![s(1, 1)]));
        let (task, kind, message) = failure(&finish(&mut stage, 1, rows));
        assert_eq!((task, kind), (t(3), FailKind::InputsLost));
        assert!(message.contains("when it ran again"), "{message}");
        assert!(matches!(stage.pool.location(s(1, 1)), Some(Location::Lost(_))));
        let (task, _, message) = failure(&stage.tell(deterministic(4, 0, "q", vec![s(1, 1)])));
        assert!(task == t(4) && message.contains("when it ran again"), "it is not tried again: {message}");
    }
}

#[test]
fn an_empty_output_that_is_filled_by_another_run_ends_the_recovery() {
    let mut stage = Stage::ready(2);
    stage.tell(deterministic(1, 1, "q", vec![]));
    finish(&mut stage, 1, &[0, 4]);
    stage.exit(w(1), "gone");
    stage.tell(deterministic(2, 0, "q", vec![s(1, 1)]));
    assert!(fails(&finish(&mut stage, 1, &[1, 4])));
}

#[test]
fn unread_outputs_of_a_query_that_runs_are_recomputed_at_once() {
    let mut stage = chain();
    stage.tell(deterministic(3, 0, "q", vec![]));
    let actions = stage.exit(w(1), "gone");
    assert_eq!(run_again(&actions), [(1, 1), (2, 1)]);
    assert!(!fails(&actions));
}

/// The report on the one loss.
fn report(actions: &[Action]) -> (usize, Vec<TaskId>, Option<String>) {
    let mut reports = actions.iter().filter_map(|action| match action {
        Action::PartitionsLost { partitions, tasks, obstacle, .. } => {
            Some((*partitions, tasks.clone(), obstacle.as_ref().map(ToString::to_string)))
        }
        Action::Recovering { .. } => panic!("a second line: {actions:?}"),
        _ => None,
    });
    let report = reports.next().expect("a report on the loss");
    assert_eq!(reports.next(), None, "one line a loss");
    report
}

#[test]
fn a_loss_is_told_once_with_all_that_is_recomputed_for_it() {
    let mut stage = Stage::ready_with(PoolConfig { max_worker_restarts: 9, queue_ahead: 0, ..small() }, 2);
    for task in 1..=3 {
        stage.tell(deterministic(task, 1, "q", vec![]));
        finish(&mut stage, task, &[3]);
    }
    stage.submit(9, 0);
    stage.submit(10, 1);
    for reader in 4..=5 {
        stage.tell(deterministic(reader, 0, "q", vec![s(reader - 3, 0)]));
    }
    assert_eq!(report(&stage.exit(w(1), "gone")), (3, vec![t(1), t(2), t(3)], None), "the third is unread");
    let mut stage = chain();
    assert_eq!(report(&stage.exit(w(1), "gone")), (2, vec![], None), "nothing is needed yet");
}

#[test]
fn a_loss_is_told_with_what_keeps_a_partition_from_being_recomputed() {
    let mut stage = Stage::ready_with(PoolConfig { queue_ahead: 0, ..small() }, 2);
    stage.tell(unrepeatable(t(1), w(1), "q", vec![]));
    finish(&mut stage, 1, &[3]);
    stage.submit(9, 0);
    stage.submit(10, 1);
    stage.tell(deterministic(2, 0, "q", vec![s(1, 0)]));
    let (partitions, tasks, obstacle) = report(&stage.exit(w(1), "gone"));
    assert_eq!((partitions, tasks), (1, vec![]));
    assert!(obstacle.is_some_and(|obstacle| obstacle.contains("has effects")));
}

#[test]
fn a_fetch_waits_for_what_is_recomputed() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    assert!(!stage.pool.is_gone(s(2, 0)), "it can be had");
    let fetch = FetchId(1);
    let actions = stage.tell(fetch_failed(fetch, s(2, 0), Generation::first(Attempt(1))));
    assert!(!actions.iter().any(|action| matches!(action, Action::FetchVerdict { .. })), "{actions:?}");
    finish(&mut stage, 1, &[3, 4]);
    assert!(finish(&mut stage, 2, &[5]).contains(&Action::FetchAgain { fetch }));
}

#[test]
fn a_fetch_of_what_was_recomputed_since_it_began_is_told_to_fetch_anew() {
    let mut stage = chain();
    let before = stage.pool.generation(s(2, 0)).unwrap();
    stage.exit(w(1), "gone");
    stage.tell(deterministic(3, 0, "q", vec![s(2, 0)]));
    finish(&mut stage, 1, &[3, 4]);
    finish(&mut stage, 2, &[5]);
    let fetch = FetchId(1);
    assert_eq!(stage.tell(fetch_failed(fetch, s(2, 0), before)), [Action::FetchAgain { fetch }]);
    let nowhere = Event::FetchFailed { fetch, reads: vec![SlotRead { slot: s(2, 0), generation: None }] };
    assert_eq!(stage.tell(nowhere), [Action::FetchAgain { fetch }], "it was lost as the fetch began");
    let now = stage.pool.generation(s(2, 0)).unwrap();
    assert_eq!(stage.tell(fetch_failed(fetch, s(2, 0), now)), [], "its holder may be lost");
    let verdict = Action::FetchVerdict { fetch, lost: None };
    assert!((0..9).any(|_| stage.tick().contains(&verdict)), "it is there, in the generation that was asked for");
}

#[test]
fn a_run_for_which_the_driver_has_no_data_is_not_begun_again() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    stage.tell(deterministic(3, 0, "q", vec![s(2, 0)]));
    let reason = "the DataFrame was dropped".to_owned();
    let (task, kind, message) = failure(&stage.tell(Event::InputsLost { task: t(1), reason }));
    assert_eq!((task, kind), (t(3), FailKind::InputsLost));
    assert!(message.contains("cannot be recomputed: the DataFrame was dropped"), "{message}");
    assert!(stage.pool.is_gone(s(2, 0)));
    let actions = stage.tell(deterministic(4, 0, "q", vec![s(2, 0)]));
    assert_eq!(run_again(&actions), []);
    assert!(failure(&actions).2.contains("the DataFrame was dropped"));
}

#[test]
fn a_run_whose_own_code_fails_fails_what_waits_for_it() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    stage.tell(deterministic(3, 0, "q", vec![s(2, 0)]));
    let fetch = FetchId(1);
    stage.tell(fetch_failed(fetch, s(2, 0), Generation::first(Attempt(1))));
    let (worker, launch, attempt) = stage.place(1);
    let actions = stage.tell(Event::TaskFailed { task: t(1), worker, launch, attempt });
    assert_eq!(failure(&actions).0, t(3));
    assert!(actions.iter().any(|action| matches!(action, Action::FetchVerdict { lost: Some(_), .. })), "{actions:?}");
    assert_eq!(stage.pool.parked_count(), 0);
}

#[test]
fn a_run_that_nothing_needs_any_more_is_cancelled() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    stage.tell(deterministic(3, 0, "q", vec![s(2, 0)]));
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::CancelTask(t(3)));
    let actions = stage.tell(Event::Drop(vec![s(1, 1), s(2, 0)]));
    assert!(actions.contains(&Action::CancelOnWorker { task: t(1), attempt, worker, launch }), "{actions:?}");
    assert_eq!((stage.pool.record_count(), stage.pool.slot_count(), stage.pool.parked_count()), (0, 0, 0));
    assert_eq!(stage.pool.sent_count(), 0);
}

#[test]
fn tasks_that_wait_for_lost_inputs_take_no_place_from_those_that_recompute_them() {
    let mut stage = Stage::ready_with(PoolConfig { queue_ahead: 0, max_worker_restarts: 9, ..small() }, 2);
    stage.tell(deterministic(1, 1, "q", vec![]));
    finish(&mut stage, 1, &[3]);
    stage.exit(w(1), "gone");
    for reader in 2..12 {
        stage.tell(deterministic(reader, 0, "q", vec![s(1, 0)]));
    }
    stage.submit(20, 0);
    assert_eq!(stage.place(1).0, w(0), "it goes before all others");
    finish(&mut stage, 1, &[3]);
    assert_eq!(stage.place(2).0, w(0));
}

#[test]
fn a_parked_task_ends_when_it_is_cancelled_and_when_no_worker_is_left() {
    let mut stage = chain();
    stage.exit(w(1), "gone");
    for task in [3, 4] {
        stage.tell(deterministic(task, 0, "q", vec![s(2, 0)]));
    }
    assert_eq!(stage.tell(Event::CancelTask(t(3))), [cancelled(3)]);
    let mut actions = Vec::new();
    while stage.pool.unavailable().is_none() {
        let is_up = |worker: &u32| {
            stage.phase(w(*worker)) != WorkerPhase::Restarting && stage.phase(w(*worker)) != WorkerPhase::GivenUp
        };
        actions = match [0, 1].into_iter().find(is_up) {
            Some(worker) => stage.exit_by(w(worker), "no such image", ExitCause::NeverStarted),
            None => stage.tick(),
        };
    }
    let (task, kind, _) = failure(&actions);
    assert_eq!((task, kind), (t(4), FailKind::NoWorkers));
    assert_eq!((stage.pool.parked_count(), stage.pool.queued_count()), (0, 0));
}

#[test]
fn runs_of_one_task_are_bounded() {
    let mut stage = Stage::ready_with(PoolConfig { max_worker_restarts: 99, max_recoveries_per_task: 2, ..small() }, 2);
    stage.tell(deterministic(1, 1, "q", vec![]));
    finish(&mut stage, 1, &[3]);
    for run in 1..=3 {
        let holder = match stage.pool.location(s(1, 0)) {
            Some(Location::At(worker)) => *worker,
            other => panic!("{other:?}"),
        };
        stage.exit_by(holder, "evicted", ExitCause::Infrastructure);
        let actions = stage.tell(deterministic(10 + run, 0, "q", vec![s(1, 0)]));
        if run == 3 {
            assert!(failure(&actions).2.contains("has been run again 2 times"));
        } else {
            stage.come_up_again(holder);
            finish(&mut stage, 1, &[3]);
            stage.tell(Event::CancelTask(t(10 + run)));
            stage.succeed(10 + run);
        }
    }
}

#[test]
fn records_beyond_the_limit_are_forgotten_oldest_first() {
    let mut stage = Stage::ready_with(PoolConfig { lineage_limit_bytes: 250 * KB, ..small() }, 2);
    for task in 1..=3 {
        stage.tell(deterministic(task, 1, "q", vec![]));
        let actions = finish(&mut stage, task, &[3]);
        assert_eq!(actions.contains(&Action::Forget { tasks: vec![t(1)] }), task == 3);
    }
    stage.exit(w(1), "gone");
    assert!(stage.pool.is_gone(s(1, 0)) && !stage.pool.is_gone(s(2, 0)));
}

#[test]
fn nothing_is_recorded_where_recovery_is_switched_off() {
    let mut stage = Stage::ready_with(PoolConfig { lineage_limit_bytes: 0, ..small() }, 2);
    stage.tell(deterministic(1, 1, "q", vec![]));
    assert!(!finish(&mut stage, 1, &[3]).iter().any(|action| matches!(action, Action::Forget { .. })));
    assert_eq!(stage.pool.record_count(), 0);
    stage.exit(w(1), "gone");
    let actions = stage.tell(deterministic(2, 0, "q", vec![s(1, 0)]));
    assert!(failure(&actions).2.contains("the option recovery_memory is 0"));
}

#[test]
fn an_inline_input_counts_once_for_all_records_that_keep_it() {
    let mut stage = Stage::ready_with(PoolConfig { lineage_limit_bytes: 250 * KB, ..small() }, 2);
    let forgotten_for = |stage: &mut Stage, task: u64, inline_input: SlotId| {
        let kept = Kept { own_bytes: 20 * KB, inline_inputs: [(inline_input, 100 * KB)].into() };
        let determinism = Determinism::Deterministic;
        let (id, prefer, query) = (t(task), w(1), "q".into());
        stage.tell(Event::Submit { task: id, prefer, query, inputs: [].into(), determinism, kept });
        let actions = finish(stage, task, &[3]);
        actions.iter().find_map(|action| match action {
            Action::Forget { tasks } => Some(tasks.clone()),
            _ => None,
        })
    };
    for task in 1..=7 {
        assert_eq!(forgotten_for(&mut stage, task, s(90, 0)), None, "240 KB are not too much");
    }
    assert_eq!(forgotten_for(&mut stage, 8, s(91, 0)), Some((1..=6).map(t).collect()), "360 KB are");
    stage.tell(Event::Drop(vec![s(7, 0)]));
    assert_eq!(forgotten_for(&mut stage, 9, s(90, 0)), None, "the input went with the last record that kept it");
}

#[test]
fn a_task_that_depends_on_order_is_not_run_again_for_one_of_its_slots() {
    let mut stage = Stage::ready(2);
    let determinism = Determinism::OrderDependent;
    let (task, prefer, query) = (t(1), w(1), "q".into());
    stage.tell(Event::Submit { task, prefer, query, inputs: [].into(), determinism, kept: Kept::own(100 * KB) });
    finish(&mut stage, 1, &[3, 4]);
    stage.tell(deterministic(2, 0, "q", vec![s(1, 0)]));
    finish(&mut stage, 2, &[1]);
    stage.exit(w(1), "gone");
    let (task, kind, message) = failure(&stage.tell(deterministic(3, 0, "q", vec![s(1, 1)])));
    assert_eq!((task, kind), (t(3), FailKind::InputsLost));
    assert!(message.contains("may give other rows"), "{message}");
}

#[test]
fn a_task_that_depends_on_order_runs_again_where_its_outputs_have_fingerprints_and_counts_if_they_are_the_same() {
    let outputs = |fingerprints: [u64; 2]| {
        let output =
            |(slot, fingerprint)| Output { slot, num_rows: 3, fingerprint: Some(fingerprint), is_stored: true };
        (0..).zip(fingerprints).map(output).collect::<Vec<_>>()
    };
    for (again, is_same) in [([7, 8], true), ([7, 9], false), ([8, 7], false)] {
        let mut stage = Stage::ready(2);
        let determinism = Determinism::OrderDependent;
        let (task, prefer, query) = (t(1), w(1), "q".into());
        stage.tell(Event::Submit { task, prefer, query, inputs: [].into(), determinism, kept: Kept::own(100 * KB) });
        end(&mut stage, 1, outputs([7, 8]));
        stage.exit(w(1), "gone");
        let actions = stage.tell(deterministic(2, 0, "q", vec![s(1, 1)]));
        assert_eq!(run_again(&actions).len(), 1);
        let actions = end(&mut stage, 1, outputs(again));
        assert_eq!(fails(&actions), !is_same, "{again:?}");
        if !is_same {
            assert!(failure(&actions).2.contains("not deterministic"), "{actions:?}");
        }
    }
}

#[test]
fn a_task_whose_rows_may_be_in_any_output_runs_again_for_a_single_output_and_not_for_one_of_several() {
    for (rows, runs_again) in [(&[3][..], true), (&[3, 3], false)] {
        let mut stage = Stage::ready(2);
        let determinism = Determinism::DeterministicWhole;
        let (task, prefer, query) = (t(1), w(1), "q".into());
        stage.tell(Event::Submit { task, prefer, query, inputs: [].into(), determinism, kept: Kept::own(100 * KB) });
        finish(&mut stage, 1, rows);
        stage.exit(w(1), "gone");
        let actions = stage.tell(deterministic(2, 0, "q", vec![s(1, 0)]));
        assert_eq!((run_again(&actions).len() == 1, fails(&actions)), (runs_again, !runs_again), "{rows:?}");
    }
}
