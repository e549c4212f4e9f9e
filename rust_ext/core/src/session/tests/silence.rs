//! Silence: the failure detector, and the verdicts on partitions that could not be read.

use super::*;
use crate::ids::Generation;
use crate::{FetchId, SlotRead};

fn heard(stage: &mut Stage, worker: u32) -> Vec<Action> {
    let launch = stage.launch(w(worker));
    stage.tell(Event::Heard(vec![(w(worker), launch)]))
}

fn unanswered(stage: &mut Stage, worker: u32) -> Vec<Action> {
    let launch = stage.launch(w(worker));
    stage.tell(Event::Unanswered { worker: w(worker), launch, problem: "no answer".to_owned() })
}

/// Two workers; task 1 left a slot at worker-1, which task 2 reads at worker-0.
fn reading() -> Stage {
    let mut stage = Stage::ready(2);
    read(&mut stage);
    stage
}

fn read(stage: &mut Stage) {
    stage.submit(1, 1);
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(1) });
    stage.tell(unrepeatable(t(2), w(0), "r", vec![s(1, 0)]));
}

fn missing(stage: &mut Stage, gone: bool) -> Vec<Action> {
    let (worker, launch, attempt) = stage.place(2);
    let message = "connection refused".to_owned();
    stage.tell(Event::InputsMissing { task: t(2), worker, launch, attempt, slots: vec![s(1, 0)], gone, message })
}

fn fetch_failed(slot: SlotId, generation: Option<Generation>) -> Event {
    Event::FetchFailed { fetch: FetchId(7), reads: vec![SlotRead { slot, generation }] }
}

fn fetch_fails(stage: &mut Stage) -> Vec<Action> {
    stage.tell(fetch_failed(s(1, 0), Some(Generation::first(Attempt(1)))))
}

fn judged(lost: Option<&str>) -> Action {
    Action::FetchVerdict { fetch: FetchId(7), lost: lost.map(Into::into) }
}

fn is_waiting_again(stage: &Stage) -> bool {
    matches!(stage.pool.task(t(2)).unwrap().phase, TaskPhase::BackingOff { .. })
}

#[test]
fn a_worker_that_does_not_answer_is_lost_once_it_was_not_heard_for_the_timeout() {
    let mut stage = Stage::ready(1);
    stage.now = secs(15);
    heard(&mut stage, 0);
    assert_eq!(stage.pool.next_deadline(), None, "nothing waits while it answers");
    stage.now = secs(18);
    assert_eq!(unanswered(&mut stage, 0), []);
    assert_eq!(stage.pool.next_deadline(), Some(secs(35)));
    let reason = "the worker could not be reached: it has not answered for 20 s (no answer)";
    assert!(stage.tick().contains(&lost(0, 1, "worker-0/1", reason)));
}

#[test]
fn a_worker_that_is_heard_in_time_is_not_lost() {
    let mut stage = Stage::ready(1);
    unanswered(&mut stage, 0);
    stage.now = secs(19);
    assert_eq!((heard(&mut stage, 0), stage.pool.next_deadline()), (vec![], None));
    stage.now = secs(38);
    assert_eq!(unanswered(&mut stage, 0), []);
    assert_eq!(stage.pool.next_deadline(), Some(secs(41)), "the next call may be answered");
    stage.now = ms(39_500);
    assert!(unanswered(&mut stage, 0).iter().any(|action| matches!(action, Action::WorkerLost { .. })));
}

#[test]
fn a_worker_that_was_heard_before_its_timeout_was_looked_at_is_not_lost() {
    let mut stage = Stage::ready(1);
    unanswered(&mut stage, 0);
    stage.now = stage.pool.next_deadline().unwrap();
    let launch = stage.launch(w(0));
    let events = [Event::Read(vec![s(1, 0)]), Event::Heard(vec![(w(0), launch)]), Event::CancelTask(t(7))];
    assert_eq!(stage.pool.handle_all(events, stage.now), []);
    assert_eq!((stage.phase(w(0)), stage.pool.next_deadline()), (WorkerPhase::Ready, None));
}

#[test]
fn news_of_an_old_process_is_neither_a_sign_of_life_nor_of_silence() {
    let mut stage = Stage::ready(1);
    stage.exit(w(0), "gone");
    stage.come_up_again(w(0));
    stage.tell(Event::Unanswered { worker: w(0), launch: LaunchId(1), problem: "no answer".to_owned() });
    assert_eq!(stage.pool.next_deadline(), None);
    unanswered(&mut stage, 0);
    stage.tell(Event::Heard(vec![(w(0), LaunchId(1))]));
    assert!(stage.pool.next_deadline().is_some());
}

#[test]
fn a_task_whose_inputs_are_missing_waits_for_news_of_a_death_and_is_then_tried_again() {
    let mut stage = reading();
    assert_eq!(missing(&mut stage, false), []);
    assert!(!is_waiting_again(&stage));
    assert_eq!(stage.pool.next_deadline(), Some(secs(2)));
    assert_eq!(stage.tick(), []);
    assert!(is_waiting_again(&stage));
}

#[test]
fn a_task_whose_holder_is_lost_meanwhile_fails_with_the_reason() {
    let mut stage = reading();
    missing(&mut stage, false);
    stage.now = ms(700);
    let (task, kind, message) = failure(&stage.exit(w(1), "out of memory"));
    assert_eq!((task, kind), (t(2), FailKind::InputsLost));
    assert!(message.contains("out of memory"), "{message}");
    assert!(stage.pool.next_deadline().is_none_or(|due| due < secs(2)), "the restart, and no verdict");
}

#[test]
fn a_cancelled_task_whose_inputs_are_missing_is_over_for_its_worker() {
    let mut stage = reading();
    stage.tell(Event::CancelTask(t(2)));
    assert_eq!(missing(&mut stage, false), [cancelled(2)]);
    assert_eq!(stage.pool.next_deadline(), None, "no cancel is waited for, and no verdict");
}

#[test]
fn a_task_that_waits_for_a_verdict_is_cancelled_at_once() {
    let mut stage = reading();
    missing(&mut stage, false);
    assert_eq!(stage.tell(Event::CancelTask(t(2))), [cancelled(2)]);
    assert_eq!(stage.tick(), []);
    assert_eq!((stage.now, stage.pool.next_deadline()), (secs(2), None), "the verdict, and no patience with a cancel");
}

#[test]
fn a_task_that_waits_for_a_verdict_takes_no_slot() {
    let mut stage = reading();
    missing(&mut stage, false);
    assert_eq!(stage.pool.worker(w(0)).unwrap().tasks, 0);
    assert_eq!(stage.submit(3, 0), [send(3, 1, 0, 1)]);
    assert_eq!(stage.submit(4, 0), [send(4, 1, 1, 1)]);
}

#[test]
fn a_task_that_waits_for_a_verdict_is_not_charged_for_the_death_of_its_reader() {
    let mut stage = Stage::ready_with(PoolConfig { max_task_attempts: 1, ..small() }, 2);
    read(&mut stage);
    missing(&mut stage, false);
    let actions = stage.exit(w(0), "out of memory");
    assert!(!actions.iter().any(|action| matches!(action, Action::FailTask { .. })), "{actions:?}");
    assert!(actions.contains(&send(2, 2, 1, 1)), "another may read what this one could not: {actions:?}");
    stage.now = secs(2);
    assert_eq!(stage.tell(Event::Tick), [launch(0, 2)], "the verdict is for an attempt that no longer counts");
}

#[test]
fn an_input_that_its_living_holder_does_not_have_fails_the_task() {
    let mut stage = reading();
    missing(&mut stage, true);
    let (task, kind, message) = failure(&stage.tick());
    assert_eq!((task, kind), (t(2), FailKind::InputsLost));
    assert_eq!(message, "worker-0 could not read its inputs of worker-1: connection refused; run the query again");
}

#[test]
fn readers_of_a_silent_worker_wait_until_it_is_heard_or_lost() {
    for is_heard in [true, false] {
        let mut stage = reading();
        stage.now = secs(4);
        heard(&mut stage, 0);
        unanswered(&mut stage, 1);
        missing(&mut stage, false);
        assert_eq!(fetch_fails(&mut stage), []);
        stage.now = secs(10);
        assert_eq!(stage.tell(Event::Tick), []);
        assert!(!is_waiting_again(&stage));
        if is_heard {
            assert_eq!(heard(&mut stage, 1), [judged(None)]);
            assert!(is_waiting_again(&stage));
        } else {
            let actions = stage.tick();
            assert_eq!((stage.now, failure(&actions).0), (secs(20), t(2)));
            let judged = |action: &&Action| matches!(action, Action::FetchVerdict { lost: Some(_), .. });
            assert_eq!(actions.iter().filter(judged).count(), 1);
        }
    }
}

#[test]
fn a_verdict_that_is_due_with_the_next_question_is_given() {
    let mut stage = reading();
    fetch_fails(&mut stage);
    stage.now = ms(2500);
    assert_eq!(missing(&mut stage, false), [judged(None)]);
    assert_eq!(stage.pool.next_deadline(), Some(ms(4500)));
}

#[test]
fn a_fetch_is_judged_at_once_if_a_slot_is_lost_or_no_worker_holds_any() {
    let mut stage = reading();
    assert_eq!(stage.tell(fetch_failed(s(9, 0), None)), [judged(None)]);
    stage.exit(w(1), "out of memory");
    assert!(matches!(&*fetch_fails(&mut stage), [Action::FetchVerdict { lost: Some(_), .. }]));
}

#[test]
fn a_fetch_is_judged_though_its_slot_is_dropped_and_its_holder_released_meanwhile() {
    let mut stage = reading();
    stage.now = secs(4);
    stage.succeed(2);
    fetch_fails(&mut stage);
    stage.tell(Event::Drop(vec![s(1, 0)]));
    let actions = stage.tell(Event::SetDesired(1));
    assert!(actions.iter().any(|action| matches!(action, Action::FetchVerdict { lost: Some(_), .. })), "{actions:?}");
}

#[test]
fn a_fetch_ends_with_the_session() {
    let mut stage = reading();
    fetch_fails(&mut stage);
    let judged =
        |action: &Action| matches!(action, Action::FetchVerdict { lost: Some(why), .. } if why.contains("shut down"));
    assert!(stage.tell(Event::Shutdown).iter().any(judged));
    assert!(fetch_fails(&mut stage).iter().all(judged));
}
