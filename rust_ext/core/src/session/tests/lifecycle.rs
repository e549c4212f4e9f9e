//! Workers that come up, drain, are wanted no more or are given up.

use super::*;

const SURPLUS: &str = "the worker is no longer wanted";

#[test]
fn wanted_workers_are_launched_at_once_and_ready_after_the_handshake() {
    let mut stage = Stage::new(small());
    assert_eq!(stage.tell(Event::SetDesired(2)), [launch(0, 1), launch(1, 1)]);
    let connect = Action::Connect { worker: w(1), launch: LaunchId(1), addresses: at("worker-1") };
    assert_eq!(stage.start(w(1)), [connect]);
    assert_eq!(stage.pool.ready_count(), 0);
    assert_eq!(stage.connect(w(1), "b"), [ready(1, 1, "b")]);
    assert_eq!(stage.pool.ready_count(), 1);
    let view = stage.pool.worker(w(1)).unwrap();
    assert_eq!((view.control, view.data), (Some("worker-1:7777"), Some("worker-1:7778")));
    assert_eq!(view.peer, Some("worker-1.peers:7778"));
    assert_eq!(view.incarnation.map(Incarnation::as_str), Some("b"));
}

#[test]
fn asking_for_as_many_workers_again_does_nothing() {
    let mut stage = Stage::ready(2);
    assert_eq!(stage.tell(Event::SetDesired(2)), []);
}

#[test]
fn a_start_that_is_reported_twice_connects_once_but_follows_a_new_address() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    stage.start(w(0));
    assert_eq!(stage.start(w(0)), []);
    let moved = stage.tell(Event::Started { worker: w(0), launch: LaunchId(1), addresses: at("elsewhere") });
    let connect = Action::Connect { worker: w(0), launch: LaunchId(1), addresses: at("elsewhere") };
    assert_eq!(moved, [disconnect(0, 1), connect]);
    assert_eq!(stage.pool.next_deadline(), Some(secs(60)), "the start timeout goes on");
}

#[test]
fn a_worker_that_dies_is_launched_again_after_growing_back_offs() {
    let mut stage = Stage::ready(1);
    let died = stage.exit(w(0), "OOM killed");
    assert_eq!(died, [disconnect(0, 1), lost(0, 1, "worker-0/1", "OOM killed")]);
    assert_eq!(stage.pool.next_deadline(), Some(ms(500)));
    assert_eq!(stage.tick(), [launch(0, 2)]);
    assert_eq!(stage.exit(w(0), "OOM killed"), [], "it never was ready, so no incarnation is lost");
    assert_eq!(stage.pool.next_deadline(), Some(ms(1500)));
    assert_eq!(stage.tick(), [launch(0, 3)]);
}

#[test]
fn restarts_that_are_older_than_the_window_do_not_count() {
    let mut stage = Stage::ready(1);
    for life in 1..=8 {
        stage.exit(w(0), "gone");
        assert_eq!(stage.tick(), [launch(0, life + 1)], "half a second later, then");
        stage.come_up(w(0));
        stage.now += secs(300);
    }
}

#[test]
fn a_worker_that_runs_a_task_to_its_end_has_its_restart_budget_back() {
    let mut stage = Stage::ready(1);
    for task in 0..8 {
        stage.exit(w(0), "a UDF crashed it");
        stage.tick();
        stage.come_up(w(0));
        stage.submit(task, 0);
        stage.succeed(task);
    }
    assert_eq!(stage.phase(w(0)), WorkerPhase::Ready);
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 0);
}

#[test]
fn a_worker_beyond_its_restart_budget_is_given_up_and_the_pool_breaks_with_all_reasons() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(2));
    stage.refuse_start(w(1), "ImagePullBackOff");
    assert_eq!(stage.phase(w(1)), WorkerPhase::GivenUp);
    assert_eq!(stage.pool.unavailable(), None, "worker-0 is still there");
    stage.come_up(w(0));
    for _ in 0..2 {
        stage.exit(w(0), "OOM killed");
        stage.tick();
    }
    let actions = stage.exit(w(0), "OOM killed");
    let [Action::Unavailable { message }] = &actions[..] else { panic!("{actions:?}") };
    for part in ["worker-0: OOM killed", "2 restarts within 600s", "worker-1: ImagePullBackOff"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(stage.pool.next_deadline(), None);
    assert_eq!(stage.tell(Event::Tick), [], "it is said once");
}

#[test]
fn a_broken_pool_fails_waiting_tasks_and_later_ones_at_once() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    stage.submit(7, 0);
    stage.start(w(0));
    let refused = Event::Refused { worker: w(0), launch: LaunchId(1), reason: "Daft 1 and 2".to_owned() };
    let actions = stage.tell(refused);
    assert_eq!(actions[..2], [stop(0, 1, "the worker refused the connection: Daft 1 and 2"), disconnect(0, 1)]);
    assert!(matches!(actions[2], Action::Unavailable { .. }));
    let (task, kind, message) = failure(&actions);
    assert_eq!((task, kind), (t(7), FailKind::NoWorkers));
    assert!(message.contains("worker-0: the worker refused the connection: Daft 1 and 2"));
    let (task, kind, _) = failure(&stage.submit(8, 0));
    assert_eq!((task, kind), (t(8), FailKind::NoWorkers));
    assert_eq!(stage.pool.queued_count(), 0);
}

#[test]
fn a_broken_pool_is_mended_by_wanting_more_workers() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    stage.tell(Event::Refused { worker: w(0), launch: LaunchId(1), reason: "token".to_owned() });
    assert!(stage.pool.unavailable().is_some());
    assert_eq!(stage.tell(Event::SetDesired(2)), [launch(1, 1)]);
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.submit(1, 0), []);
    assert_eq!(stage.come_up(w(1)), [ready(1, 1, "worker-1/1"), send(1, 1, 1, 1)]);
}

#[test]
fn a_worker_that_was_given_up_is_tried_again_once_it_was_not_wanted_in_between() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    stage.tell(Event::Refused { worker: w(0), launch: LaunchId(1), reason: "token".to_owned() });
    assert_eq!(stage.tell(Event::SetDesired(0)), []);
    assert_eq!(stage.pool.unavailable(), None);
    assert_eq!(stage.tell(Event::SetDesired(1)), [launch(0, 2)]);
}

#[test]
fn many_workers_with_one_reason_give_a_short_message() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(500));
    let mut actions = Vec::new();
    for index in 0..500 {
        let reason = if index < 3 { "quota".to_owned() } else { format!("reason {}", "x".repeat(index as usize)) };
        let worker = w(index);
        actions = stage.tell(Event::Exited {
            worker,
            launch: LaunchId(1),
            reason,
            restartable: false,
            cause: ExitCause::Crash,
        });
    }
    let [Action::Unavailable { message }] = &actions[..] else { panic!("{actions:?}") };
    assert!(message.contains("worker-0 and 2 more: quota"), "{message}");
    assert!(message.ends_with("and 488 more reasons"), "{message}");
}

#[test]
fn one_reason_is_told_once_whatever_workers_name_and_log() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(4));
    for index in 0..3 {
        stage.refuse_start(
            w(index),
            &format!("worker-{index} (pid 4{index}) ended; last log lines:\n  at 12:00:0{index}"),
        );
    }
    let actions = stage.refuse_start(w(3), "no such image");
    let [Action::Unavailable { message }] = &actions[..] else { panic!("{actions:?}") };
    let told = "any more; worker-0 and 2 more: worker-0 (pid 40) ended; last log lines:\n  at 12:00:00\nworker-3: no such image";
    assert!(message.ends_with(told), "{message}");
}

#[test]
fn a_start_that_takes_too_long_is_stopped_and_counts_as_a_loss() {
    let mut stage = Stage::new(small());
    stage.tell(Event::SetDesired(1));
    let why = "not ready 60s after its launch: the process does not listen yet";
    assert_eq!(stage.tick(), [stop(0, 1, why)]);
    assert_eq!(stage.now, secs(60));
    assert_eq!(stage.tick(), [launch(0, 2)]);
    stage.start(w(0));
    let why = "not ready 60s after its launch: no handshake at worker-0:7777";
    assert_eq!(stage.tick(), [stop(0, 2, why), disconnect(0, 2)]);
    assert_eq!(stage.pool.worker(w(0)).unwrap().reason, Some(why));
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 2);
}

#[test]
fn a_worker_that_came_up_in_time_is_not_stopped_later() {
    let mut stage = Stage::ready(1);
    stage.now = secs(3600);
    assert_eq!(stage.tell(Event::Tick), []);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn an_unreachable_worker_is_stopped_and_replaced() {
    let mut stage = Stage::ready(1);
    let reason = "no answer for 30 s".to_owned();
    let why = "the worker could not be reached: no answer for 30 s";
    assert_eq!(
        stage.tell(Event::Unreachable { worker: w(0), launch: LaunchId(1), reason }),
        [stop(0, 1, why), disconnect(0, 1), lost(0, 1, "worker-0/1", why)]
    );
    assert_eq!(stage.tick(), [launch(0, 2)]);
}

#[test]
fn news_of_an_old_launch_is_ignored() {
    let mut stage = Stage::ready(1);
    stage.exit(w(0), "gone");
    stage.tick();
    stage.come_up(w(0));
    let (worker, launch) = (w(0), LaunchId(1));
    let reason = || "late".to_owned();
    for event in [
        Event::Started { worker, launch, addresses: at("late") },
        Event::Connected { worker, launch, incarnation: "late".into() },
        Event::Refused { worker, launch, reason: reason() },
        Event::Exited { worker, launch, reason: reason(), restartable: false, cause: ExitCause::Crash },
        Event::Unreachable { worker, launch, reason: reason() },
        Event::Unreachable { worker: w(9), launch, reason: reason() },
    ] {
        assert_eq!(stage.tell(event.clone()), [], "{event:?}");
    }
    assert_eq!(stage.phase(w(0)), WorkerPhase::Ready);
}

#[test]
fn an_exit_after_the_worker_was_lost_is_not_a_second_loss() {
    let mut stage = Stage::ready(1);
    stage.exit(w(0), "gone");
    assert_eq!(stage.exit(w(0), "gone"), []);
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 1);
}

#[test]
fn a_reconnect_of_the_same_incarnation_changes_nothing() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    assert_eq!(stage.connect(w(0), "worker-0/1"), []);
    assert_eq!(stage.place(1).2, Attempt(1));
}

#[test]
fn a_new_incarnation_of_the_same_launch_loses_the_old_one_and_is_ready() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let actions = stage.connect(w(0), "new");
    let [Action::WorkerLost { incarnation, reason, .. }, rest @ ..] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(incarnation.as_str(), "worker-0/1");
    assert!(reason.contains("restarted in place"), "{reason}");
    assert_eq!(rest, [ready(0, 1, "new"), send(1, 2, 0, 1)]);
}

#[test]
fn a_process_that_keeps_restarting_in_place_is_given_up() {
    let mut stage = Stage::ready(1);
    stage.connect(w(0), "b");
    stage.connect(w(0), "c");
    let actions = stage.connect(w(0), "d");
    assert!(matches!(actions[0], Action::Stop { .. }));
    assert_eq!(actions[1], disconnect(0, 1));
    assert!(matches!(&actions[2], Action::WorkerLost { incarnation, .. } if incarnation.as_str() == "c"));
    assert!(matches!(actions[3], Action::Unavailable { .. }));
    assert_eq!(stage.phase(w(0)), WorkerPhase::GivenUp);
}

#[test]
fn surplus_workers_that_are_idle_or_not_up_yet_are_stopped_at_once() {
    let mut stage = Stage::ready(2);
    stage.tell(Event::SetDesired(4));
    stage.start(w(2));
    assert_eq!(
        stage.tell(Event::SetDesired(1)),
        [
            stop(1, 1, SURPLUS),
            disconnect(1, 1),
            released(1, 1, "worker-1/1", SURPLUS),
            stop(2, 1, SURPLUS),
            disconnect(2, 1),
            stop(3, 1, SURPLUS),
        ]
    );
    assert_eq!(stage.pool.next_deadline(), None);
    assert_eq!(stage.pool.workers().count(), 1);
}

#[test]
fn a_surplus_worker_that_is_busy_is_stopped_after_its_last_task_and_gets_no_other() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 1);
    assert_eq!(stage.tell(Event::SetDesired(1)), []);
    assert_eq!(stage.phase(w(1)), WorkerPhase::Draining);
    assert_eq!(stage.submit(2, 1), [send(2, 1, 0, 1)]);
    let actions = stage.succeed(1);
    assert!(matches!(actions[0], Action::Deliver { .. }), "the result counts before its worker is lost");
    assert_eq!(actions[1..], [stop(1, 1, SURPLUS), disconnect(1, 1), released(1, 1, "worker-1/1", SURPLUS)]);
    assert_eq!(stage.phase(w(1)), WorkerPhase::Absent);
}

#[test]
fn a_draining_worker_that_is_wanted_again_takes_tasks_again() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.tell(Event::SetDesired(0));
    assert_eq!(stage.submit(2, 0), []);
    assert_eq!(stage.tell(Event::SetDesired(1)), [ready(0, 1, "worker-0/1"), send(2, 1, 0, 1)]);
}

#[test]
fn a_draining_worker_that_dies_is_not_replaced_but_its_tasks_run_elsewhere() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 1);
    stage.tell(Event::SetDesired(1));
    assert_eq!(stage.exit(w(1), "gone"), [disconnect(1, 1), lost(1, 1, "worker-1/1", "gone"), send(1, 2, 0, 1)]);
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_surplus_worker_that_waits_for_its_restart_is_not_launched() {
    let mut stage = Stage::ready(1);
    stage.exit(w(0), "gone");
    assert_eq!(stage.tell(Event::SetDesired(0)), []);
    assert_eq!(stage.pool.next_deadline(), None);
    assert_eq!(stage.tell(Event::SetDesired(1)), [launch(0, 2)], "launch numbers go on");
}

#[test]
fn shutdown_stops_every_process_and_ends_every_task() {
    let mut stage = Stage::ready(1);
    stage.tell(Event::SetDesired(2));
    for task in 1..=4 {
        stage.submit(task, 0);
    }
    stage.tell(Event::CancelTask(t(2)));
    let actions = stage.tell(Event::Shutdown);
    let ended = |task, action: &Action| match action {
        Action::FailTask { task: id, kind, .. } => *id == t(task) && *kind == FailKind::Shutdown,
        _ => false,
    };
    assert!(ended(1, &actions[0]) && ended(3, &actions[2]) && ended(4, &actions[3]), "{actions:?}");
    assert_eq!(actions[1], cancelled(2));
    let why = "the session was shut down";
    assert_eq!(actions[4..], [stop(0, 1, why), disconnect(0, 1), stop(1, 1, why)]);
    assert!(stage.pool.is_shut_down());
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn after_shutdown_nothing_happens_but_a_new_task_fails_at_once() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::Shutdown);
    assert_eq!(stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: vec![] }), []);
    assert_eq!(stage.tell(Event::SetDesired(3)), []);
    assert_eq!(stage.exit(w(0), "stopped"), []);
    assert_eq!(stage.tell(Event::Shutdown), []);
    let (task, kind, _) = failure(&stage.submit(2, 0));
    assert_eq!((task, kind), (t(2), FailKind::Shutdown));
}

#[test]
fn the_phases_read_as_words() {
    let words = [WorkerPhase::Starting, WorkerPhase::GivenUp].map(|phase| phase.to_string());
    assert_eq!(words, ["starting", "given up"]);
}
