//! Tasks that are sent, end, are refused, are sent again or are cancelled.

use super::*;

#[test]
fn a_task_goes_to_the_worker_it_prefers_if_that_has_a_free_slot_or_nobody_has() {
    let mut stage = Stage::ready(3);
    assert_eq!(stage.submit(1, 2), [send(1, 1, 2, 1)]);
    assert_eq!(stage.submit(2, 0), [send(2, 1, 0, 1)]);
    assert_eq!(stage.submit(3, 1), [send(3, 1, 1, 1)]);
    assert_eq!(stage.submit(4, 2), [send(4, 1, 2, 1)], "it has to wait wherever it goes");
}

#[test]
fn a_task_whose_worker_is_full_or_not_ready_goes_to_the_least_loaded() {
    let mut stage = Stage::ready(3);
    for (task, prefer) in [(1, 2), (2, 0), (3, 1), (4, 2)] {
        stage.submit(task, prefer);
    }
    assert_eq!(stage.submit(5, 2), [send(5, 1, 0, 1)], "worker-2 is full");
    assert_eq!(stage.submit(6, 99), [send(6, 1, 1, 1)], "there is no worker-99");
}

#[test]
fn tasks_without_room_wait_and_are_served_in_order() {
    let mut stage = Stage::ready(1);
    for task in 1..=4 {
        stage.submit(task, 0);
    }
    assert_eq!(stage.pool.waiting().collect::<Vec<_>>(), [t(3), t(4)]);
    assert_eq!((stage.pool.queued_count(), stage.pool.sent_count()), (2, 2));
    let (worker, launch, attempt) = stage.place(2);
    let deliver = Action::Deliver { task: t(2), worker, launch, attempt, published: Some(0) };
    assert_eq!(stage.succeed(2), [deliver, send(3, 1, 0, 1)]);
    assert_eq!(stage.pool.tasks_at(w(0)).collect::<Vec<_>>(), [t(1), t(3)]);
}

#[test]
fn tasks_wait_while_no_worker_is_up() {
    let mut stage = Stage::new(small());
    assert_eq!(stage.submit(1, 0), []);
    stage.tell(Event::SetDesired(1));
    assert_eq!(stage.come_up(w(0)), [ready(0, 1, "worker-0/1"), send(1, 1, 0, 1)]);
}

#[test]
fn a_task_that_is_submitted_twice_runs_once() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    assert_eq!(stage.submit(1, 0), []);
    assert_eq!(stage.pool.sent_count(), 1);
}

#[test]
fn an_application_error_is_delivered_and_never_tried_again() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let (task, worker, launch, attempt) = (t(1), w(0), LaunchId(1), Attempt(1));
    assert_eq!(
        stage.tell(Event::TaskFailed { task, worker, launch, attempt }),
        [Action::Deliver { task, worker, launch, attempt, published: None }]
    );
    assert_eq!(stage.pool.task(task), None);
}

#[test]
fn a_task_ends_once_however_often_its_worker_says_so() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    stage.succeed(1);
    assert_eq!(stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: vec![] }), []);
    assert_eq!(stage.tell(Event::TaskFailed { task: t(1), worker, launch, attempt }), []);
}

#[test]
fn tasks_of_a_dead_worker_are_sent_again_before_all_that_wait() {
    let mut stage = Stage::ready(2);
    for task in 1..=6 {
        stage.submit(task, u32::from(task > 2));
    }
    assert_eq!(stage.place(1).0, w(0));
    assert_eq!(stage.exit(w(0), "gone").len(), 2, "lost, and no room elsewhere");
    assert_eq!(stage.pool.waiting().collect::<Vec<_>>(), [t(1), t(4), t(5), t(6)]);
    assert_eq!(stage.succeed(3)[1], send(1, 2, 1, 1));
}

#[test]
fn a_task_that_was_lost_too_often_fails_with_every_reason() {
    let mut stage = Stage::ready(3);
    stage.submit(7, 2);
    stage.exit(w(2), "OOM killed");
    stage.exit(w(0), "node gone");
    let actions = stage.exit(w(1), "evicted");
    let (task, kind, message) = failure(&actions);
    assert_eq!((task, kind), (t(7), FailKind::AttemptsLost(ExitCause::Crash)));
    for part in [
        "it was lost 3 times",
        "attempt 1 on worker-2 (launch 1): OOM killed;",
        "attempt 2 on worker-0 (launch 1): node gone;",
        "attempt 3 on worker-1 (launch 1): evicted;",
        "max_task_attempts",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(stage.pool.task(t(7)), None);
}

#[test]
fn a_task_that_was_lost_for_one_reason_tells_it_once_with_the_last_log() {
    let mut stage = Stage::ready(3);
    stage.submit(7, 2);
    stage.exit(w(2), "worker-2 (pid 32) died; last log lines:\n  a\n  b");
    stage.exit(w(0), "worker-0 (pid 30) died; last log lines:\n  c\n  d");
    let actions = stage.exit(w(1), "evicted");
    let (_, _, message) = failure(&actions);
    let told = "attempt 1 on worker-2 (launch 1): worker-2 (pid 32) died; attempt 2 on worker-0 (launch 1): the same; \
                attempt 3 on worker-1 (launch 1): evicted; no further";
    assert!(message.contains(told), "{message}");
    assert!(message.ends_with("raise max_task_attempts; last log lines:\n  c\n  d"), "{message}");
}

#[test]
fn a_task_that_only_waited_at_a_worker_that_died_is_not_charged() {
    let mut stage = Stage::new(PoolConfig { max_worker_restarts: 9, ..small() });
    stage.tell(Event::SetDesired(1));
    stage.come_up(w(0));
    stage.submit(1, 0);
    stage.submit(2, 0);
    for life in 1..=2 {
        stage.exit(w(0), "a crash");
        stage.tick();
        stage.come_up(w(0));
        assert_eq!((stage.place(1).2, stage.place(2).2), (Attempt(life + 1), Attempt(life + 1)));
    }
    let (task, _, message) = failure(&stage.exit(w(0), "a crash"));
    assert_eq!(task, t(1), "three times it ran; the other waited behind it: {message}");
    assert!(stage.pool.task(t(2)).is_some());
}

#[test]
fn what_never_runs_and_is_always_lost_ends_as_well() {
    let mut stage = Stage::new(PoolConfig { max_task_attempts: 100, max_worker_restarts: 100, ..small() });
    stage.tell(Event::SetDesired(1));
    stage.submit(1, 0);
    stage.submit(2, 0);
    for lives in 1.. {
        stage.come_up(w(0));
        let actions = stage.exit(w(0), "a crash");
        if actions.iter().any(|action| matches!(action, Action::FailTask { .. })) {
            let (task, _, message) = failure(&actions);
            assert_eq!((task, lives), (t(2), 16));
            assert!(message.contains("does not count: it only waited there"), "{message}");
            return;
        }
        stage.tick();
    }
}

#[test]
fn a_task_whose_worker_is_taken_away_has_lost_no_attempt() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    for life in 1..16 {
        let actions = match life % 3 {
            0 => stage.exit_by(w(0), "preempted", ExitCause::Infrastructure),
            1 => stage.exit_by(w(0), "it was told to stop (SIGTERM)", ExitCause::Infrastructure),
            _ => stage.unreachable(w(0), "no answer for 25 s"),
        };
        assert!(!actions.iter().any(|action| matches!(action, Action::FailTask { .. })), "{life}: {actions:?}");
        stage.tick();
        stage.come_up(w(0));
        assert_eq!(stage.place(1).2, Attempt(life + 1));
    }
    assert_eq!(stage.pool.worker(w(0)).unwrap().restarts, 0, "the task's own end bounds them");
    let (task, kind, message) = failure(&stage.exit_by(w(0), "preempted", ExitCause::Infrastructure));
    let taken_away = FailKind::AttemptsLost(ExitCause::Infrastructure);
    assert_eq!((task, kind), (t(1), taken_away), "it does not run without end");
    for part in ["it was lost 16 times", "does not count: the worker was taken away", "priority_class", "spot"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("max_task_attempts"), "which would not help: {message}");
}

#[test]
fn a_task_that_crashes_its_workers_ends_though_some_were_taken_away_in_between() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    for _ in 0..2 {
        for cause in [ExitCause::Infrastructure, ExitCause::Crash] {
            stage.exit_by(w(0), "gone", cause);
            stage.tick();
            stage.come_up(w(0));
        }
    }
    let (_, kind, message) = failure(&stage.exit(w(0), "gone"));
    assert_eq!(kind, FailKind::AttemptsLost(ExitCause::Crash));
    assert!(message.contains("max_task_attempts"), "{message}");
}

#[test]
fn a_task_that_runs_out_of_memory_runs_again_on_a_worker_of_its_own_and_then_fails_with_the_option_to_raise() {
    let mut stage = Stage::ready(2);
    for task in 1..=4 {
        stage.submit(task, u32::from(task > 2));
    }
    assert_eq!((stage.place(1).0, stage.place(2).0), (w(0), w(1)));
    let actions = stage.exit_by(w(0), "OOMKilled", ExitCause::OutOfMemory);
    assert!(!actions.iter().any(|action| matches!(action, Action::Send { .. })), "{actions:?}");
    assert_eq!(stage.pool.waiting_exclusive().collect::<Vec<_>>(), [t(1)]);
    assert_eq!(stage.submit(5, 1), [], "worker-1 is kept for task 1");
    stage.succeed(2);
    assert_eq!(stage.succeed(3).last(), Some(&send(1, 2, 1, 1)), "once nothing else is there");
    assert_eq!(stage.submit(6, 1), [], "and nothing else comes");
    let (task, kind, message) = failure(&stage.exit_by(w(1), "OOMKilled", ExitCause::OutOfMemory));
    assert_eq!((task, kind), (t(1), FailKind::AttemptsLost(ExitCause::OutOfMemory)));
    for part in ["needs more memory", "worker_memory", "max_oom_attempts", "attempt 2 on worker-1 (launch 1): the same"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_task_that_finds_no_worker_to_itself_does_not_hold_up_one_that_has_found_one() {
    let mut stage = Stage::ready(3);
    for (task, prefer) in [(1, 0), (2, 2), (4, 1), (5, 0)] {
        stage.submit(task, prefer);
    }
    stage.exit_by(w(2), "OOMKilled", ExitCause::OutOfMemory);
    stage.exit_by(w(0), "OOMKilled", ExitCause::OutOfMemory);
    assert_eq!(stage.pool.waiting_exclusive().collect::<Vec<_>>(), [t(1), t(2)], "worker-1 is kept for task 2");
    assert_eq!(stage.succeed(4)[1..], [send(2, 2, 1, 1)]);
}

#[test]
fn a_worker_that_was_kept_for_a_task_serves_all_again_once_that_has_ended() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    let actions = stage.exit_by(w(0), "OOMKilled", ExitCause::OutOfMemory);
    assert_eq!(actions.last(), Some(&send(1, 2, 1, 1)));
    assert_eq!(stage.submit(2, 1), []);
    assert_eq!(stage.succeed(1)[1..], [send(2, 1, 1, 1)]);
}

#[test]
fn a_task_that_is_cancelled_while_a_worker_is_kept_for_it_frees_that_worker() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    stage.submit(2, 1);
    stage.exit_by(w(0), "OOMKilled", ExitCause::OutOfMemory);
    assert_eq!(stage.submit(3, 1), []);
    assert_eq!(stage.tell(Event::CancelTask(t(1))), [cancelled(1), send(3, 1, 1, 1)]);
}

#[test]
fn a_worker_that_never_started_charges_nobody() {
    let mut stage = Stage::new(PoolConfig { max_worker_restarts: 9, ..small() });
    stage.tell(Event::SetDesired(1));
    stage.come_up(w(0));
    stage.submit(1, 0);
    for _ in 0..2 {
        stage.exit_by(w(0), "rejected by its node", ExitCause::NeverStarted);
        stage.tick();
        stage.come_up(w(0));
    }
    stage.exit(w(0), "gone");
    assert!(stage.pool.task(t(1)).is_some(), "one of three attempts is used up");
}

#[test]
fn late_news_of_an_old_attempt_is_ignored() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    stage.exit(w(0), "gone");
    let now_at = stage.place(1);
    assert_eq!(now_at, (w(1), LaunchId(1), Attempt(2)));
    let (task, worker, launch, attempt) = (t(1), w(0), LaunchId(1), Attempt(1));
    for event in [
        Event::Succeeded { task, worker, launch, attempt, outputs: vec![] },
        Event::TaskFailed { task, worker, launch, attempt },
        Event::TaskCancelled { task, worker, launch, attempt },
        Event::Bounced { task, worker, launch, attempt, reason: "late".to_owned() },
        Event::Succeeded { task, worker: w(1), launch, attempt, outputs: vec![] },
        Event::Succeeded { task, worker, launch, attempt: Attempt(2), outputs: vec![] },
    ] {
        assert_eq!(stage.tell(event.clone()), [], "{event:?}");
    }
    assert_eq!(stage.place(1), now_at);
}

#[test]
fn a_refused_task_is_tried_elsewhere_after_a_back_off() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    assert_eq!(stage.bounce(1), []);
    assert_eq!(stage.pool.task(t(1)).unwrap().phase, TaskPhase::BackingOff { until: ms(50) });
    assert_eq!(stage.tick(), [send(1, 2, 1, 1)], "though it prefers worker-0, which is idle again");
}

#[test]
fn a_refused_task_is_tried_on_the_same_worker_when_there_is_no_other() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.bounce(1);
    assert_eq!(stage.tick(), [send(1, 2, 0, 1)]);
    stage.bounce(1);
    assert_eq!(stage.pool.next_deadline(), Some(ms(150)), "the back-off doubles");
}

#[test]
fn a_worker_that_refused_a_task_is_offered_nothing_for_a_while() {
    let mut stage = Stage::ready(1);
    for task in 1..=4 {
        stage.submit(task, 0);
    }
    assert_eq!(stage.bounce(1), [], "task 3 would only be refused as well");
    assert_eq!(stage.bounce(2), []);
    assert!(stage.pool.worker(w(0)).unwrap().cooling);
    assert_eq!(stage.tick(), [send(1, 2, 0, 1), send(2, 2, 0, 1)]);
    stage.succeed(1);
    stage.bounce(2);
    assert_eq!(stage.pool.next_deadline(), Some(ms(100)), "a task that it ran ends the row");
}

#[test]
fn a_task_that_is_refused_for_too_long_fails_with_the_last_reason() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let mut refusals = 1;
    let mut actions = stage.bounce(1);
    while actions.is_empty() {
        assert_eq!(stage.tick().len(), 1);
        actions = stage.bounce(1);
        refusals += 1;
    }
    assert!(stage.now >= secs(120) && stage.now < secs(123), "{:?}", stage.now);
    assert!(refusals > 3, "refusals are not lost attempts");
    let (task, kind, message) = failure(&actions);
    assert_eq!((task, kind), (t(1), FailKind::Refused));
    assert!(message.contains("it was taken by no worker"), "{message}");
    assert!(message.contains("the last by worker-0: memory at 97 %"), "{message}");
}

#[test]
fn waiting_for_room_does_not_count_as_being_refused() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    stage.submit(2, 0);
    stage.bounce(1);
    stage.now = secs(1000);
    stage.tell(Event::Tick);
    assert_eq!(stage.bounce(1), [], "only 50 ms of a thousand seconds were back-off");
}

#[test]
fn a_task_that_was_taken_and_lost_with_its_worker_starts_a_new_row_of_refusals() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 0);
    for _ in 0..3 {
        stage.bounce(1);
        while stage.tick().is_empty() {}
    }
    let (worker, ..) = stage.place(1);
    stage.exit(worker, "gone");
    while stage.pool.task(t(1)).unwrap().phase == TaskPhase::Waiting {
        stage.tick();
    }
    stage.bounce(1);
    let until = stage.now + ms(50);
    assert_eq!(stage.pool.task(t(1)).unwrap().phase, TaskPhase::BackingOff { until });
}

#[test]
fn a_task_whose_inputs_are_lost_fails_wherever_it_is() {
    let mut stage = Stage::ready(1);
    for task in 1..=3 {
        stage.submit(task, 0);
    }
    stage.bounce(1);
    for task in [3, 2, 1] {
        let reason = "q/0.1:2 was on worker-1".to_owned();
        let actions = stage.tell(Event::InputsLost { task: t(task), reason });
        let (id, kind, message) = failure(&actions);
        assert_eq!((id, kind), (t(task), FailKind::InputsLost));
        assert!(message.contains("q/0.1:2 was on worker-1"));
        assert_eq!(matches!(actions[0], Action::CancelOnWorker { .. }), task == 2);
    }
    assert_eq!((stage.pool.sent_count(), stage.pool.queued_count()), (0, 0));
    stage.tick();
    assert_eq!(stage.pool.next_deadline(), None);
}

#[test]
fn a_task_that_waits_or_backs_off_is_cancelled_at_once() {
    let mut stage = Stage::ready(1);
    for task in 1..=3 {
        stage.submit(task, 0);
    }
    stage.bounce(1);
    assert_eq!(stage.tell(Event::CancelTask(t(1))), [cancelled(1)]);
    assert_eq!(stage.tell(Event::CancelTask(t(3))), [cancelled(3)]);
    assert_eq!(stage.tell(Event::CancelTask(t(3))), []);
    assert_eq!(stage.tick(), [], "the worker cools down; nothing is left to be sent");
}

#[test]
fn a_sent_task_is_cancelled_when_its_worker_says_so() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    assert_eq!(stage.tell(Event::CancelTask(t(1))), [Action::CancelOnWorker { task: t(1), worker, launch, attempt }]);
    assert_eq!(stage.tell(Event::CancelTask(t(1))), [], "asked once");
    assert_eq!(stage.pool.sent_count(), 1);
    assert_eq!(stage.worker_cancels(1), [cancelled(1)]);
    assert_eq!(stage.pool.sent_count(), 0);
}

#[test]
fn a_cancelled_task_is_never_sent_again_whatever_its_worker_does() {
    type End = fn(&mut Stage) -> Vec<Action>;
    let ends: [End; 4] = [
        |stage| stage.succeed(1),
        |stage| stage.bounce(1),
        |stage| stage.exit(w(0), "gone"),
        |stage| stage.tell(Event::InputsLost { task: t(1), reason: "gone".to_owned() }),
    ];
    for end in ends {
        let mut stage = Stage::ready(2);
        stage.submit(1, 0);
        stage.tell(Event::CancelTask(t(1)));
        let actions = end(&mut stage);
        assert_eq!(actions.last(), Some(&cancelled(1)), "{actions:?}");
        assert_eq!(stage.pool.task(t(1)), None);
    }
}

#[test]
fn a_worker_that_cancels_a_task_unasked_has_lost_an_attempt() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    assert_eq!(stage.worker_cancels(1), [send(1, 2, 0, 1)]);
    stage.worker_cancels(1);
    let (_, kind, message) = failure(&stage.worker_cancels(1));
    assert_eq!(kind, FailKind::AttemptsLost(ExitCause::Crash));
    assert!(message.contains("attempt 3 on worker-0"), "{message}");
}

#[test]
fn a_hundred_thousand_queued_tasks_are_worked_off_each_once() {
    const TASKS: u64 = 100_000;
    let mut stage = Stage::ready(50);
    let mut sent: Vec<Action> = Vec::new();
    for task in 0..TASKS {
        let prefer = u32::try_from(task % 50).unwrap();
        sent.extend(stage.submit(task, prefer));
    }
    let mut delivered = 0;
    while let Some(action) = sent.pop() {
        match action {
            Action::Send { task, worker, launch, attempt } => {
                sent.extend(stage.tell(Event::Succeeded { task, worker, launch, attempt, outputs: vec![] }));
            }
            Action::Deliver { .. } => delivered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(delivered, TASKS);
    assert_eq!(stage.pool.queued_count(), 0);
}

#[test]
fn a_task_goes_to_a_free_slot_rather_than_wait_behind_another_at_the_worker_it_prefers() {
    let mut stage = Stage::ready(2);
    assert!(stage.pool.config().queue_ahead > 0 && stage.pool.config().slots_per_worker == 1);
    stage.submit(0, 0);
    stage.submit(1, 0);
    assert_eq!((stage.place(0).0, stage.place(1).0), (w(0), w(1)));
}

#[test]
fn a_worker_that_was_kept_for_a_task_that_failed_with_the_pool_takes_others_again() {
    let mut stage = Stage::ready(2);
    stage.submit(1, 1);
    stage.submit(2, 0);
    stage.exit_by(w(0), "OOM killed", ExitCause::OutOfMemory);
    stage.tick();
    stage.start(w(0));
    stage.tell(Event::Refused { worker: w(0), launch: LaunchId(2), reason: "an old image".to_owned() });
    assert_eq!(stage.pool.waiting_exclusive().collect::<Vec<_>>(), [t(2)], "worker-1 is kept for it, and is busy");
    let (task, kind, _) = failure(&stage.tell(Event::SetDesired(1)));
    assert_eq!((task, kind), (t(2), FailKind::NoWorkers), "worker-0 was given up");
    stage.tell(Event::SetDesired(2));
    assert_eq!(stage.submit(3, 1), [send(3, 1, 1, 1)]);
}
