//! The ends of tasks.

use std::{thread, time::Duration};

use bytes::Bytes;
use daft_k8s_session::driver::Outcome;

use crate::fixture::{LONG, Posted, Session, Settings, numbers, rows, spec, until};

#[test]
fn a_task_runs_and_its_outputs_can_be_fetched_until_they_are_dropped() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    let delivery = workers[0].next_run();
    assert_eq!(
        (delivery.key.as_str(), &delivery.plan[..], &delivery.payload[..]),
        ("q/1.1", &b"plan"[..], &b"payload"[..])
    );
    workers[0].finish(&delivery.key, [numbers(0..3), numbers(0..5)]);
    let partitions = ending.partitions();
    assert_eq!(rows(&session.fetch(&partitions).unwrap()), [3, 5]);
    drop(partitions);
    until(|| workers[0].partitions() == 0, "the outputs were not dropped");
}

#[test]
fn the_error_of_a_task_comes_back_as_the_worker_gave_it() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    let delivery = workers[0].next_run();
    workers[0].worker.put_output(&delivery.key, numbers(0..3));
    workers[0].worker.fail(&delivery.key, Bytes::from_static(b"pickle"), "ValueError: 1".into());
    let Outcome::Failed { error, message, .. } = ending.outcome() else { panic!("it did not fail") };
    assert_eq!((&error[..], message.as_str()), (&b"pickle"[..], "ValueError: 1"));
    assert_eq!(workers[0].partitions(), 0);
}

#[test]
fn a_task_is_given_partitions_of_both_workers_in_order() {
    let (session, workers) = Session::with_workers(Settings { workers: 2, ..Settings::default() });
    let mut inputs = Vec::new();
    for (index, worker) in workers.iter().enumerate() {
        let ending = session.submit_to(index as u32, index as u64, vec![]);
        worker.finish(&worker.next_run().key, [numbers(0..index as i64 + 1)]);
        inputs.extend(ending.partitions());
    }
    inputs.reverse();
    let ending = session.submit(9, inputs);
    let delivery = workers[0].next_run();
    assert_eq!(delivery.inputs[0].0, 7);
    assert_eq!(rows(&delivery.inputs[0].1), [2, 1]);
    workers[0].finish(&delivery.key, []);
    assert!(ending.partitions().is_empty());
}

#[test]
fn every_end_is_heard_though_many_threads_report_them_at_once() {
    let (session, mut workers) = Session::with_workers(Settings { slots: 8, queue_ahead: 8, ..Settings::default() });
    let worker = workers.remove(0);
    thread::spawn(move || {
        for posted in worker.posted {
            let native = worker.worker.clone();
            let Posted::Run(delivery) = posted else { panic!("nothing is cancelled here") };
            thread::spawn(move || native.finish(&delivery.key, Bytes::new()));
        }
    });
    let endings: Vec<_> = (0..2000).map(|task| session.submit(task, vec![])).collect();
    for ending in endings {
        assert!(ending.partitions().is_empty());
    }
}

#[test]
fn a_task_whose_number_is_taken_in_its_query_ends_at_once_and_disturbs_nobody() {
    let (session, workers) = Session::with_workers(Settings::default());
    let first = session.submit(1, vec![]);
    let second = session.submit(1, vec![]);
    assert!(second.lost().contains("twice"));
    workers[0].finish(&workers[0].next_run().key, []);
    assert!(first.partitions().is_empty());
}

#[test]
fn a_task_with_an_unusable_query_id_ends() {
    let (session, _workers) = Session::with_workers(Settings::default());
    let ending = session.submit_spec(0, spec("", 1, b"plan", b"", vec![]));
    assert!(ending.failed().contains("task key"));
}

#[test]
fn a_task_that_the_host_cannot_start_fails() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    (workers[0].next_run().refuse)("no memory".into());
    assert_eq!(ending.failed(), "no memory");
    assert_eq!(workers[0].worker.unfinished_tasks(), 0);
}

#[test]
fn a_launch_that_the_host_cannot_make_is_a_loss_with_its_reason() {
    let session = Session::new(Settings { max_worker_restarts: 1, ..Settings::default() });
    let waiting = session.submit(1, vec![]);
    for _ in 0..2 {
        let (_, _, failed) = session.outside.launches.recv_timeout(LONG).expect("nothing was launched");
        failed("no space left".into());
    }
    assert!(waiting.lost().contains("no space left"));
    let readiness = session.driver.readiness();
    assert!(readiness.borrow().broken.as_ref().is_some_and(|reason| reason.contains("no space left")));
    session.driver.set_desired_workers(2);
    assert_eq!(readiness.borrow().broken, None);
}

#[test]
fn shutdown_ends_every_task_and_later_ones_too() {
    let (session, workers) = Session::with_workers(Settings::default());
    let done = session.submit(0, vec![]);
    workers[0].finish(&workers[0].next_run().key, [numbers(0..10_000)]);
    let partitions = done.partitions();
    let endings: Vec<_> = (1..9).map(|task| session.submit(task, vec![])).collect();
    workers[0].next_run();
    session.driver.shutdown();
    session.driver.shutdown();
    for ending in &endings {
        assert!(ending.lost().contains("shut down"));
    }
    assert!(session.submit(100, vec![]).lost().contains("shut down"));
    assert!(session.outside.stops.recv_timeout(Duration::from_secs(1)).is_ok());
    assert_eq!(session.driver.readiness().borrow().ready, 0);
    assert!(session.fetch(&partitions).unwrap_err().contains("shut down"));
    drop(partitions);
}

#[test]
fn shutdown_while_a_worker_is_being_connected_leaves_nothing_behind() {
    let session = Session::new(Settings::default());
    let (id, launch) = session.next_launch();
    let waiting = session.submit(1, vec![]);
    // A port at which nobody listens: the handshake is tried again and again.
    session.started(id, launch, "127.0.0.1:9".into(), "127.0.0.1:9".into());
    session.driver.shutdown();
    assert!(waiting.lost().contains("shut down"));
    let tasks = session.runtime.metrics();
    // The drop collector and the clock are all that may be left, until the driver itself is gone.
    until(|| tasks.num_alive_tasks() <= 2, "a task of the closed link is still alive");
}
