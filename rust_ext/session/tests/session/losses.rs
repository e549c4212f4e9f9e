//! Workers that die, restart, or lose what they held.

use std::{sync::atomic::Ordering, thread, time::Duration};

use bytes::Bytes;
use daft_k8s_core::{ExitCause, FailKind, LaunchId, WorkerId};
use daft_k8s_ipc::PartitionData;
use daft_k8s_session::driver::{Outcome, Partition};

use crate::{
    fixture::{LONG, Session, Settings, TestWorker, numbers, rows, spec, until},
    proxy::Proxy,
};

#[test]
fn a_task_of_a_worker_that_died_runs_again_on_the_next_one() {
    let (session, mut workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    assert_eq!(workers[0].next_run().key, "q/1.1");
    drop(workers.remove(0));
    session.driver.worker_exited(WorkerId(0), LaunchId(1), "out of memory".into(), true, ExitCause::OutOfMemory);
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    session.started(id, launch, worker.control(), worker.data());
    let delivery = worker.next_run();
    assert_eq!(delivery.key, "q/1.2");
    worker.finish(&delivery.key, [numbers(0..2)]);
    assert_eq!(rows(&session.fetch(&ending.partitions()).unwrap()), [2]);
}

#[test]
fn a_lost_partition_fails_its_fetch_and_its_readers_with_the_reason() {
    let (session, workers) = Session::with_workers(Settings { workers: 2, ..Settings::default() });
    let ending = session.submit_to(1, 1, vec![]);
    workers[1].finish(&workers[1].next_run().key, [large()]);
    let partitions = ending.partitions();
    assert!(!partitions[0].is_lost());
    session.driver.worker_exited(WorkerId(1), LaunchId(1), "out of memory".into(), true, ExitCause::OutOfMemory);
    assert!(session.fetch(&partitions).unwrap_err().contains("out of memory"));
    assert!(partitions[0].is_lost());
    let reader = spec("q", 2, b"plan", b"payload", partitions);
    let sent = reader.sent.clone();
    match session.submit_spec(0, reader).outcome() {
        Outcome::Lost { kind: FailKind::InputsLost, message } => {
            assert!(message.contains("out of memory"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    assert!(!sent.load(Ordering::Acquire), "no worker was given it");
}

#[test]
fn a_task_says_that_a_worker_was_given_it() {
    let (session, workers) = Session::with_workers(Settings::default());
    let task = spec("q", 1, b"plan", b"payload", vec![]);
    let sent = task.sent.clone();
    let ending = session.submit_spec(0, task);
    let key = workers[0].next_run().key;
    assert!(sent.load(Ordering::Acquire));
    workers[0].finish(&key, [numbers(0..2)]);
    assert_eq!(ending.partitions().len(), 1);
}

/// Two workers with one slot each. The second has made this output, and is lost by [`lose_the_second`].
fn two_workers() -> (Session, Vec<TestWorker>) {
    Session::with_workers(Settings { workers: 2, slots: 1, queue_ahead: 0, ..Settings::default() })
}

fn made_by_the_second(
    session: &Session,
    workers: &[TestWorker],
    query: &str,
    outputs: Vec<PartitionData>,
) -> Vec<Partition> {
    let ending = session.submit_spec(1, spec(query, 1, b"plan", b"", vec![]));
    workers[1].finish(&workers[1].next_run().key, outputs);
    ending.partitions()
}

fn lose_the_second(session: &Session) {
    session.driver.worker_exited(WorkerId(1), LaunchId(1), "out of memory".into(), true, ExitCause::OutOfMemory);
}

#[test]
fn a_task_that_waits_fails_as_soon_as_its_input_is_lost_and_one_that_is_submitted_later_at_once() {
    let (session, workers) = two_workers();
    let made = made_by_the_second(&session, &workers, "p", vec![large()]);
    let busy: Vec<_> = (1..3).map(|task| session.submit_to(task - 1, u64::from(task), vec![])).collect();
    workers[0].next_run();
    workers[1].next_run();
    let waiting = session.submit(3, made.clone());
    lose_the_second(&session);
    assert!(waiting.lost().contains("an input of it was lost: worker-1 was lost"));
    let late = session.submit(4, made);
    assert!(late.lost().contains("out of memory"));
    assert!(busy[0].ended.try_recv().is_err(), "what does not need it goes on");
}

#[test]
fn a_query_fails_when_data_is_lost_that_none_of_its_tasks_has_read_yet() {
    let (session, workers) = two_workers();
    let _made = made_by_the_second(&session, &workers, "q", vec![large()]);
    let other = session.submit_to(0, 2, vec![]);
    workers[0].next_run();
    let lost = session.submit_to(0, 3, vec![]);
    workers[1].next_run();
    let waiting = session.submit_to(0, 4, vec![]);
    lose_the_second(&session);
    assert!(lost.lost().contains("its query cannot end well: worker-1 was lost"));
    assert!(other.ended.try_recv().is_err() && waiting.ended.try_recv().is_err(), "one failure is enough");
}

#[test]
fn the_loss_of_data_that_a_query_does_not_need_any_more_fails_none_of_its_tasks() {
    let (session, workers) = two_workers();
    let read = made_by_the_second(&session, &workers, "q", vec![large()]);
    let reader = session.submit_to(0, 2, read.clone());
    workers[0].finish(&workers[0].next_run().key, []);
    assert!(reader.partitions().is_empty());
    let of_another_query = made_by_the_second(&session, &workers, "before", vec![large()]);
    let without_rows = made_by_the_second(&session, &workers, "empty", vec![numbers(0..0), numbers(0..0)]);
    let fetched = made_by_the_second(&session, &workers, "fetched", vec![large()]);
    session.fetch(&fetched).unwrap();
    drop(made_by_the_second(&session, &workers, "dropped", vec![large()]));
    let queries = ["q", "empty", "fetched", "dropped"];
    let others = queries.map(|query| session.submit_spec(0, spec(query, 9, b"plan", b"", vec![])));
    let first = workers[0].next_run().key;
    workers[1].next_run();
    lose_the_second(&session);
    // One after the other ends well on the worker that is left.
    workers[0].finish(&first, []);
    for _ in 1..queries.len() {
        workers[0].finish(&workers[0].next_run().key, []);
    }
    assert!(others.iter().all(|other| other.partitions().is_empty()));
    drop((read, of_another_query, without_rows, fetched));
}

/// Too large to come along with the news of its task's end.
fn large() -> PartitionData {
    numbers(0..10_000)
}

#[test]
fn lost_inputs_are_reported_though_every_slot_is_busy() {
    let session = Session::new(Settings { workers: 2, slots: 1, queue_ahead: 1, ..Settings::default() });
    let mut workers = [None, None];
    for _ in 0..2 {
        let (id, launch) = session.next_launch();
        let worker = session.worker(id);
        // Nobody listens where worker-1's data is said to be.
        let data = if id.0 == 1 { "127.0.0.1:9".into() } else { worker.data() };
        session.started(id, launch, worker.control(), data);
        workers[id.0 as usize] = Some(worker);
    }
    session.until_ready(2);
    let [Some(first), Some(second)] = workers else { panic!() };
    let ending = session.submit_to(1, 1, vec![]);
    second.finish(&second.next_run().key, [large()]);
    let partitions = ending.partitions();
    let _busy = session.submit_to(0, 2, vec![]);
    first.next_run();
    let reader = session.submit_to(0, 3, partitions);
    session.driver.worker_exited(WorkerId(1), LaunchId(1), "out of memory".into(), true, ExitCause::Crash);
    assert!(reader.lost().contains("out of memory"));
}

#[test]
fn who_needs_what_a_silent_worker_holds_waits_until_it_is_lost_and_does_not_try_again() {
    let settings = Settings { workers: 3, unreachable_timeout: Duration::from_secs(8), ..Settings::default() };
    let session = Session::new(settings);
    let mut workers = [None, None, None];
    let handle = session.runtime.handle();
    let mut ways = None;
    for _ in 0..3 {
        let (id, launch) = session.next_launch();
        let worker = session.worker(id);
        let (mut control, mut data) = (worker.control(), worker.data());
        if id.0 == 1 {
            let (calls, reads) = (Proxy::start(handle, &control), Proxy::start(handle, "127.0.0.1:9"));
            (control, data) = (calls.address.clone(), reads.address.clone());
            ways = Some((calls, reads));
        }
        session.started(id, launch, control, data);
        workers[id.0 as usize] = Some(worker);
    }
    session.until_ready(3);
    let ([Some(_first), Some(second), Some(_third)], Some((calls, reads))) = (workers, ways) else { panic!() };
    let ending = session.submit_to(1, 1, vec![]);
    second.finish(&second.next_run().key, [large()]);
    let partitions = ending.partitions();
    calls.hold();
    calls.cut();
    // Until there is doubt: a worker that lives is heard every 2 s.
    thread::sleep(Duration::from_millis(3500));
    let readers: Vec<_> = (2..8).map(|task| session.submit_to(0, task, partitions.clone())).collect();
    until(|| reads.connections() > 0, "somebody reads");
    // All have tried; who tries again waits 2 s for news of a death first.
    thread::sleep(Duration::from_secs(1));
    let tried = reads.connections();
    assert!(readers.iter().all(|reader| reader.lost().contains("has not answered for")));
    assert_eq!(reads.connections(), tried);
}

#[test]
fn news_of_lost_inputs_of_an_old_attempt_is_stale() {
    let session = Session::new(Settings { workers: 2, ..Settings::default() });
    let mut workers = [None, None];
    let stranger = session.worker(WorkerId(1));
    for _ in 0..2 {
        let (id, launch) = session.next_launch();
        let worker = session.worker(id);
        // Others ask for worker-1's partitions at a store that has never heard of them.
        let data = if id.0 == 1 { stranger.data() } else { worker.data() };
        session.started(id, launch, worker.control(), data);
        workers[id.0 as usize] = Some(worker);
    }
    session.until_ready(2);
    let [Some(first), Some(second)] = workers else { panic!() };
    let ending = session.submit_to(1, 1, vec![]);
    second.finish(&second.next_run().key, [large()]);
    let partitions = ending.partitions();
    let reader = session.submit_to(0, 2, partitions);
    until(|| first.worker.unfinished_tasks() == 0, "the inputs were found");
    thread::sleep(Duration::from_millis(500));
    session.driver.worker_exited(WorkerId(0), LaunchId(1), "out of memory".into(), true, ExitCause::OutOfMemory);
    // Where the partition really is, the second attempt finds it.
    let delivery = second.next_run();
    assert_eq!(delivery.key, "q/2.2");
    assert!(reader.ended.recv_timeout(Duration::from_secs(3)).is_err(), "the task was ended by stale news");
    second.finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
}

#[test]
fn a_worker_restarted_in_place_is_a_new_one_to_the_driver() {
    let session = Session::new(Settings::default());
    let (id, launch) = session.next_launch();
    let old = session.worker(id);
    let control = Proxy::start(session.runtime.handle(), &old.control());
    let data = Proxy::start(session.runtime.handle(), &old.data());
    session.started(id, launch, control.address.clone(), data.address.clone());
    let given = session.driver.put(numbers(0..3));
    let first = session.submit(1, vec![given.clone()]);
    old.finish(&old.next_run().key, []);
    assert!(first.partitions().is_empty());
    assert_eq!(ask(&session, &old, b"1"), b"1");
    let second = session.submit(2, vec![given]);
    old.next_run();

    let new = session.worker(id);
    control.lead_to(&new.control());
    data.lead_to(&new.data());
    drop(old);
    // It has been given nothing yet, and its calls are counted from 1 again.
    let delivery = new.next_run();
    assert_eq!(delivery.key, "q/2.2");
    assert_eq!(rows(&delivery.inputs[0].1), [3]);
    assert_eq!(ask(&session, &new, b"2"), b"2");
    new.finish(&delivery.key, []);
    assert!(second.partitions().is_empty());
}

/// Calls the driver, which echoes.
fn ask(session: &Session, worker: &crate::fixture::TestWorker, payload: &'static [u8]) -> Vec<u8> {
    let (sender, answers) = std::sync::mpsc::channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    worker.worker.call_driver("limit/1".into(), Bytes::from_static(payload), reply);
    if let Ok(call) = session.outside.calls.recv_timeout(Duration::from_secs(3)) {
        (call.answer)(Ok(call.payload));
    }
    answers.recv_timeout(LONG).unwrap().unwrap().to_vec()
}
