//! Slots as the session's tasks read them: losses fail the tasks and queries that need them, once.

use super::*;

fn published(stage: &mut Stage, task: u64, query: &str, prefer: u32, count: u64) {
    stage.tell(unrepeatable(t(task), w(prefer), query, vec![]));
    let (worker, launch, attempt) = stage.place(task);
    assert_eq!(worker, w(prefer));
    let outputs = outputs(count);
    stage.tell(Event::Succeeded { task: t(task), worker, launch, attempt, outputs });
}

fn reader(stage: &mut Stage, task: u64, query: &str, prefer: u32, inputs: Vec<SlotId>) -> Vec<Action> {
    stage.tell(unrepeatable(t(task), w(prefer), query, inputs))
}

#[test]
fn a_slot_is_located_at_the_worker_that_published_it_and_is_lost_with_its_process() {
    let mut stage = Stage::ready(2);
    published(&mut stage, 1, "q", 1, 2);
    assert_eq!(stage.pool.location(s(1, 1)), Some(&Location::At(w(1))));
    assert_eq!((stage.pool.location(s(1, 2)), stage.pool.slot_count()), (None, 2));
    stage.exit(w(1), "out of memory");
    assert!(matches!(stage.pool.location(s(1, 0)), Some(Location::Lost(loss)) if &*loss.reason == "out of memory"));
    stage.tell(Event::Drop(vec![s(1, 0), s(1, 1)]));
    assert_eq!(stage.pool.slot_count(), 0);
}

#[test]
fn a_process_that_is_restarted_in_place_has_lost_its_slots() {
    let mut stage = Stage::ready(1);
    published(&mut stage, 1, "q", 0, 1);
    stage.connect(w(0), "new");
    assert!(matches!(stage.pool.location(s(1, 0)), Some(Location::Lost(_))));
    published(&mut stage, 2, "q", 0, 1);
    assert_eq!(stage.pool.location(s(2, 0)), Some(&Location::At(w(0))), "the new process is no old loss");
}

#[test]
fn a_task_whose_input_is_lost_fails_when_it_is_submitted_or_as_soon_as_the_loss_is_known() {
    let mut stage = Stage::ready_with(PoolConfig { queue_ahead: 0, ..small() }, 2);
    published(&mut stage, 1, "before", 1, 1);
    for task in [2, 3] {
        stage.submit(task, 0);
    }
    assert_eq!(reader(&mut stage, 4, "q", 0, vec![s(1, 0)]), [], "it waits");
    let (task, kind, message) = failure(&stage.exit(w(1), "out of memory"));
    assert_eq!((task, kind), (t(4), FailKind::InputsLost));
    assert!(message.starts_with("an input of it was lost: worker-1 was lost") && message.contains("out of memory"));
    assert_eq!(failure(&reader(&mut stage, 5, "q", 0, vec![s(1, 0)])).0, t(5));
}

#[test]
fn a_task_that_is_at_a_worker_may_have_its_inputs_and_fails_only_when_it_is_to_be_sent_again() {
    let mut stage = Stage::ready(2);
    published(&mut stage, 1, "before", 1, 1);
    reader(&mut stage, 2, "q", 0, vec![s(1, 0)]);
    let actions = stage.exit(w(1), "out of memory");
    assert!(!actions.iter().any(|action| matches!(action, Action::FailTask { .. })), "{actions:?}");
    stage.come_up_again(w(1));
    stage.bounce(2);
    let (task, kind, _) = failure(&stage.tick());
    assert_eq!((task, kind), (t(2), FailKind::InputsLost));
}

#[test]
fn a_query_that_has_not_read_what_is_lost_fails_by_one_task() {
    let mut stage = Stage::ready_with(PoolConfig { queue_ahead: 0, ..small() }, 3);
    published(&mut stage, 1, "q", 1, 2);
    published(&mut stage, 2, "other", 2, 1);
    for task in [3, 4] {
        reader(&mut stage, task, "q", 0, vec![]);
    }
    reader(&mut stage, 5, "other", 2, vec![]);
    let (task, _, message) = failure(&stage.exit(w(1), "out of memory"));
    assert!([t(3), t(4)].contains(&task));
    assert!(message.starts_with("its query cannot end well: worker-1 was lost"));
}

#[test]
fn data_that_was_read_or_has_no_rows_is_not_missed() {
    let mut stage = Stage::ready(2);
    published(&mut stage, 1, "q", 1, 2);
    stage.tell(Event::Read(vec![s(1, 0)]));
    reader(&mut stage, 2, "other", 0, vec![s(1, 1)]);
    stage.tell(submission(t(3), w(1)));
    let (worker, launch, attempt) = stage.place(3);
    let without_rows = vec![Output { slot: 0, num_rows: 0, fingerprint: None, is_stored: true }];
    stage.tell(Event::Succeeded { task: t(3), worker, launch, attempt, outputs: without_rows });
    reader(&mut stage, 4, "q", 0, vec![]);
    let actions = stage.exit(w(1), "out of memory");
    assert!(!actions.iter().any(|action| matches!(action, Action::FailTask { .. })), "{actions:?}");
}

#[test]
fn outputs_of_a_cancelled_task_are_not_published() {
    let mut stage = Stage::ready(1);
    stage.submit(1, 0);
    let (worker, launch, attempt) = stage.place(1);
    stage.tell(Event::CancelTask(t(1)));
    stage.tell(Event::Succeeded { task: t(1), worker, launch, attempt, outputs: outputs(2) });
    assert_eq!((stage.pool.slot_count(), stage.pool.worker(w(0)).unwrap().holds), (0, 0));
}
