//! Cancelled tasks that do not end: their worker is replaced where a slot is wanted, and no task is charged.

use super::*;

const CALL: &str = "UDF hang, in hang (job.py:7)";

fn stuck(stage: &mut Stage, worker: u32, slots: u32) -> Vec<Action> {
    let (worker, launch) = (w(worker), stage.launch(w(worker)));
    stage.tell(Event::Stuck { worker, launch, slots, calls: CALL.to_owned() })
}

/// A worker ran a task that was cancelled and has ended for the pool, though its call goes on.
fn seized(workers: u32) -> Stage {
    let mut stage = Stage::ready(workers);
    stage.submit(1, 0);
    stage.tell(Event::CancelTask(t(1)));
    stage.worker_cancels(1);
    stuck(&mut stage, 0, 1);
    stage
}

fn replaced(actions: &[Action]) -> Vec<u32> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Replaced { worker, .. } => Some(worker.0),
            _ => None,
        })
        .collect()
}

#[test]
fn a_worker_whose_slots_are_held_is_replaced_when_a_task_has_waited_for_them() {
    let mut stage = seized(1);
    assert_eq!(stage.submit(2, 0), [], "it is not sent to wait behind a call that may never return");
    let actions = stage.tick();
    assert_eq!(stage.now, secs(10));
    let Action::Replaced { calls, held_for, holds, .. } = &actions[0] else { panic!("{actions:?}") };
    assert_eq!((&**calls, *held_for, *holds), (CALL, secs(10), 0));
    assert!(matches!(actions[1], Action::Stop { force: true, .. }), "{actions:?}");
    assert!(matches!(actions[3], Action::WorkerLost { orderly: true, .. }), "nothing is lost with it: {actions:?}");
    assert_eq!(stage.tick(), [launch(0, 2)]);
    assert_eq!(stage.come_up(w(0))[1..], [send(2, 1, 0, 2)]);
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 0);
}

#[test]
fn a_worker_whose_slots_nobody_wants_is_left_alone() {
    let mut stage = seized(2);
    stage.submit(2, 0);
    assert_eq!(stage.place(2).0, w(1), "another has room");
    while stage.pool.next_deadline().is_some() {
        assert_eq!(stage.tick(), []);
    }
    assert_eq!(stage.submit(3, 0), [send(3, 1, 1, 1)], "and still has");
    assert_eq!(replaced(&stage.submit(4, 0)), [0], "and has no more");
}

#[test]
fn a_call_that_returns_in_time_costs_nothing() {
    let mut stage = seized(1);
    stage.submit(2, 0);
    stage.now = secs(9);
    assert_eq!(stuck(&mut stage, 0, 0), [send(2, 1, 0, 1)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_task_that_was_sent_behind_a_held_slot_is_taken_back_and_runs_elsewhere() {
    let mut stage = Stage::ready(2);
    for (task, prefer) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        stage.submit(task, prefer);
    }
    assert_eq!((stage.place(3).0, stage.place(4).0), (w(0), w(1)));
    stage.tell(Event::CancelTask(t(1)));
    stage.worker_cancels(1);
    stuck(&mut stage, 0, 1);
    stage.succeed(2);
    let (worker, launch, attempt) = stage.place(3);
    let actions = stage.tick();
    assert_eq!(actions, [Action::CancelOnWorker { task: t(3), worker, launch, attempt }, send(3, 2, 1, 1)]);
    assert_eq!(stage.tell(Event::TaskCancelled { task: t(3), worker, launch, attempt }), [], "which is old news");
    assert_eq!(stage.place(3), (w(1), LaunchId(1), Attempt(2)));
}

#[test]
fn a_worker_that_does_not_answer_a_cancel_is_replaced_as_well() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.tell(Event::CancelTask(t(1)));
    stage.submit(2, 0);
    assert_eq!(stage.place(2).0, w(0), "most cancels are answered at once");
    let actions = stage.tick();
    assert_eq!(stage.now, secs(10));
    assert!(matches!(&actions[0], Action::CancelOnWorker { task, .. } if *task == t(2)), "{actions:?}");
    let Action::Replaced { calls, tasks, .. } = &actions[1] else { panic!("{actions:?}") };
    assert_eq!((&**calls, &tasks[..]), ("", &[t(1)][..]));
    assert!(actions.contains(&cancelled(1)));
    stage.tick();
    assert_eq!(stage.come_up(w(0))[1..], [send(2, 2, 0, 2)]);
}

#[test]
fn a_cancel_that_is_answered_late_but_before_a_slot_is_wanted_changes_nothing() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.tell(Event::CancelTask(t(1)));
    assert_eq!(stage.tick(), []);
    assert_eq!(stage.worker_cancels(1), [cancelled(1)]);
    assert_eq!(stage.submit(2, 0), [send(2, 1, 0, 1)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_worker_that_holds_nothing_is_replaced_before_one_that_does() {
    let mut stage = Stage::ready(2);
    for (task, prefer) in [(1, 0), (2, 1)] {
        stage.submit(task, prefer);
        stage.tell(Event::CancelTask(t(task)));
        stage.worker_cancels(task);
    }
    stage.host_actors(1, 1);
    stuck(&mut stage, 0, 1);
    stuck(&mut stage, 1, 1);
    stage.submit(3, 0);
    stage.submit(4, 0);
    assert_eq!(replaced(&stage.tick()), [1]);
    stage.tick();
    stage.come_up(w(1));
    assert_eq!((stage.place(3).0, stage.place(4).0), (w(1), w(1)));
    while stage.pool.next_deadline().is_some() {
        assert_eq!(replaced(&stage.tick()), [0; 0], "there is room enough");
    }
}

#[test]
fn a_worker_that_holds_partitions_is_replaced_after_a_minute_if_there_is_no_other_way() {
    let mut stage = seized(1);
    stage.host_actors(1, 1);
    stage.submit(2, 0);
    assert_eq!(stage.tick(), [], "ten seconds");
    let actions = stage.tick();
    assert_eq!((stage.now, replaced(&actions)), (secs(60), vec![0]));
    assert!(actions.iter().any(|action| matches!(action, Action::WorkerLost { orderly: false, .. })), "{actions:?}");
}

#[test]
fn an_elastic_pool_starts_another_worker_beside_one_that_is_stuck() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetRange { min: 1, start: 1, max: 3 });
    stage.come_up(w(0));
    stage.host_actors(1, 1);
    stuck(&mut stage, 0, 1);
    assert_eq!(launched(&stage.submit(1, 0)), [0; 0], "the call may return in a moment");
    assert_eq!((launched(&stage.tick()), stage.now), (vec![1], secs(10)));
    assert_eq!(stage.come_up(w(1))[1..], [send(1, 1, 1, 1)]);
    assert_eq!(stage.pool.worker(w(0)).unwrap().launch, LaunchId(1), "what it holds is kept");
}

#[test]
fn a_stuck_worker_that_is_no_longer_wanted_is_ended_by_force() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.tell(Event::CancelTask(t(1)));
    stage.tell(Event::SetDesired(0));
    let actions = stage.tick();
    assert_eq!((stage.now, replaced(&actions)), (secs(10), vec![0]));
    assert_eq!(stage.phase(w(0)), WorkerPhase::Absent);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_worker_with_a_slot_that_works_is_not_stuck() {
    let mut stage = Stage::ready_with(PoolConfig { slots_per_worker: 2, ..small() }, 1);
    assert_eq!(stuck(&mut stage, 0, 1), []);
    assert_eq!(stage.submit(1, 0), [send(1, 1, 0, 1)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn news_of_an_old_process_that_is_stuck_is_ignored() {
    let mut stage = seized(1);
    stage.exit(w(0), "gone");
    stage.tick();
    stage.come_up(w(0));
    let (worker, launch) = (w(0), LaunchId(1));
    stage.tell(Event::Stuck { worker, launch, slots: 1, calls: CALL.to_owned() });
    assert_eq!(stage.submit(2, 0), [send(2, 1, 0, 2)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_worker_that_still_has_slots_gets_a_minute_to_answer_a_cancel() {
    let mut stage = Stage::ready_with(PoolConfig { slots_per_worker: 2, ..small() }, 1);
    for task in 1..=3 {
        stage.submit(task, 0);
    }
    stage.tell(Event::CancelTask(t(1)));
    assert_eq!(stage.tick(), [], "it may still write what the task has made");
    stage.submit(4, 0);
    let actions = stage.tick();
    assert_eq!((stage.now, replaced(&actions)), (secs(60), vec![0]));
    assert!(actions.contains(&cancelled(1)) && stage.pool.waiting().count() == 3, "{actions:?}");
}
