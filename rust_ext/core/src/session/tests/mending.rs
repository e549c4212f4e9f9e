//! Workers that die or are refused: the price of a death, and the ways back for workers that were given up.

use super::*;

const REFUSAL: &str = "the cluster's policies do not admit it";

/// Crashes the worker until its budget is spent, without any task at it.
fn use_up(stage: &mut Stage, worker: WorkerId) {
    for _ in 0..2 {
        stage.exit(worker, "a bad node");
        while stage.phase(worker) == WorkerPhase::Restarting {
            stage.tick();
        }
        stage.come_up(worker);
    }
    stage.exit(worker, "a bad node");
    assert_eq!(stage.phase(worker), WorkerPhase::GivenUp);
}

#[test]
fn a_query_that_kills_its_workers_fails_and_the_next_one_runs() {
    for workers in 1..=2 {
        let mut stage = Stage::ready(workers);
        let mut failed = None;
        for task in 0..u64::from(workers) {
            stage.submit(task, 0);
        }
        while failed.is_none() {
            let (worker, ..) = stage.place(0);
            let actions = stage.exit(worker, "a UDF killed it");
            failed = actions.iter().any(|action| matches!(action, Action::FailTask { .. })).then(|| failure(&actions));
            while failed.is_none() && stage.pool.task(t(0)).unwrap().phase == TaskPhase::Waiting {
                stage.tick();
                (0..workers).for_each(|index| drop(stage.come_up(w(index))));
            }
        }
        let crashed = FailKind::AttemptsLost(ExitCause::Crash);
        assert_eq!(failed.map(|(task, kind, _)| (task, kind)), Some((t(0), crashed)));
        assert!((0..workers).all(|index| stage.pool.worker(w(index)).unwrap().restarts == 0), "the task paid");
        stage.tell(Event::CancelTask(t(1)));
        stage.tell(Event::Wake);
        stage.submit(9, 0);
        while stage.pool.next_deadline().is_some() {
            stage.tick();
            (0..workers).for_each(|index| drop(stage.come_up(w(index))));
        }
        stage.succeed(9);
        assert_eq!(stage.pool.ready_count(), workers as usize);
    }
}

#[test]
fn a_worker_whose_crashed_task_ends_elsewhere_pays_for_the_crash() {
    let mut stage = Stage::ready(2);
    for crash in 1..=3 {
        stage.submit(crash, 0);
        assert_eq!(stage.place(crash).0, w(0));
        stage.exit(w(0), "a bad node");
        assert_eq!(stage.place(crash).0, w(1));
        assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, crash as usize - 1);
        stage.succeed(crash);
        assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, crash as usize, "task {crash} was not to blame");
        stage.tick();
        stage.come_up(w(0));
    }
    stage.exit(w(0), "a bad node");
    assert_eq!(stage.phase(w(0)), WorkerPhase::GivenUp);
}

#[test]
fn a_task_that_is_cancelled_bounds_nothing() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.tell(Event::CancelTask(t(1)));
    stage.exit(w(0), "gone");
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 1);
}

#[test]
fn the_next_query_mends_a_broken_pool_of_a_fixed_size() {
    let mut stage = Stage::ready(1);
    use_up(&mut stage, w(0));
    assert!(stage.pool.unavailable().is_some());
    assert_eq!(stage.pool.next_deadline(), None, "it rests until there is a query");
    assert_eq!(stage.tell(Event::Wake), [launch(0, 4)]);
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.submit(1, 0), []);
    assert_eq!(stage.come_up(w(0)), [ready(0, 4, "worker-0/4"), send(1, 1, 0, 4)]);
}

#[test]
fn a_query_on_a_pool_that_can_only_be_refused_is_told_so() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    stage.refuse_start(w(0), REFUSAL);
    assert_eq!(stage.tell(Event::Wake), [], "no worker was ever admitted: a mistake, not a moment");
    let (_, kind, message) = failure(&stage.submit(1, 0));
    assert!(kind == FailKind::NoWorkers && message.contains(REFUSAL), "{message}");
}

#[test]
fn a_worker_that_was_given_up_beside_others_is_tried_again_after_the_window_and_by_a_later_query() {
    let mut stage = Stage::ready(2);
    use_up(&mut stage, w(0));
    assert_eq!(stage.tell(Event::Wake), [], "a moment ago it did not help");
    stage.now += secs(30);
    assert_eq!(stage.tell(Event::Wake), [launch(0, 4)], "as in a pool that is unavailable");
    stage.come_up(w(0));
    use_up(&mut stage, w(0));
    let given_up_at = stage.now;
    assert_eq!(stage.tick(), [launch(0, 7)], "with no query at all");
    assert_eq!(stage.now, given_up_at + secs(600));
    stage.come_up(w(0));
    assert_eq!((stage.pool.ready_count(), stage.pool.next_deadline()), (2, None));
}

#[test]
fn a_worker_that_was_given_up_and_is_no_longer_wanted_is_not_tried_again() {
    let mut stage = Stage::ready(2);
    use_up(&mut stage, w(1));
    stage.tell(Event::SetDesired(1));
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_refusal_of_a_minute_costs_a_worker_that_minute() {
    let mut stage = Stage::ready_with(PoolConfig { start_timeout: secs(300), ..small() }, 2);
    stage.exit(w(0), "its node is lost");
    let mut asked = 0;
    while stage.now < secs(60) {
        assert_eq!(stage.tick().len(), 1, "only the launch");
        stage.refuse_start(w(0), REFUSAL);
        assert_eq!(stage.phase(w(0)), WorkerPhase::Restarting);
        asked += 1;
    }
    assert!(asked <= 10, "{asked} times in a minute");
    stage.tick();
    assert!(stage.now < secs(95), "half a minute after the last one: {:?}", stage.now);
    stage.come_up(w(0));
    assert_eq!((stage.pool.ready_count(), stage.pool.worker(w(0)).unwrap().restarts), (2, 1), "for the lost node");
}

#[test]
fn refusals_without_end_fail_what_waits_in_their_words_and_the_next_query_asks_again() {
    let mut stage = Stage::ready(1);
    stage.exit(w(0), "its node is lost");
    stage.submit(1, 0);
    let mut actions = Vec::new();
    while actions.is_empty() {
        stage.tick();
        actions = stage.refuse_start(w(0), REFUSAL);
        assert!(stage.now < secs(100), "as long as a start may take, which is 60 s here");
    }
    assert!(stage.now >= secs(60), "{:?}", stage.now);
    let (task, kind, message) = failure(&actions);
    assert_eq!((task, kind), (t(1), FailKind::NoWorkers));
    assert!(message.contains(REFUSAL) && !message.contains("restarts within"), "{message}");
    assert_eq!(launched(&stage.tell(Event::Wake)), [0]);
    stage.come_up(w(0));
    assert_eq!(stage.submit(2, 0).len(), 1);
}

#[test]
fn a_process_that_came_up_and_says_that_it_cannot_work_is_replaced_within_its_budget() {
    let mut stage = Stage::ready(2);
    for _ in 0..2 {
        stage.refuse_start(w(0), "exit code 70");
        assert_eq!(stage.phase(w(0)), WorkerPhase::Restarting);
        stage.tick();
        stage.come_up(w(0));
    }
    stage.refuse_start(w(0), "exit code 70");
    assert_eq!(stage.phase(w(0)), WorkerPhase::GivenUp);
}

#[test]
fn a_refusal_of_long_ago_does_not_shorten_the_patience_of_a_later_query() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetRange { min: 0, start: 1, max: 1 });
    stage.come_up(w(0));
    stage.submit(1, 0);
    stage.exit(w(0), "its node is lost");
    stage.tick();
    stage.refuse_start(w(0), REFUSAL);
    stage.tell(Event::CancelTask(t(1)));
    stage.tick();
    assert_eq!(stage.phase(w(0)), WorkerPhase::Absent, "no work, no worker");
    stage.now += secs(3600);
    assert_eq!(launched(&stage.tell(Event::Wake)), [0]);
    stage.submit(2, 0);
    stage.refuse_start(w(0), REFUSAL);
    assert_eq!(stage.phase(w(0)), WorkerPhase::Restarting, "it is asked again for as long as a start may take");
}
