//! Code that panics behind a link or in a worker: a task still has an end, and the reason is told.
//!
//! Panics print their traces to stderr, which is what they should do.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use daft_k8s_session::worker::Delivery;

use crate::fixture::{LONG, Session, Settings, numbers, spec};

/// Long before a worker that is silent counts as lost.
const AT_ONCE: Duration = Duration::from_secs(4);

fn patient() -> Settings {
    Settings { workers: 1, unreachable_timeout: LONG, ..Settings::default() }
}

#[test]
fn a_panic_while_ends_are_taken_in_is_a_loss_of_the_worker() {
    let (session, workers) = Session::with_workers(patient());
    let plan = spec("q", 1, b"plan", b"payload", vec![]);
    session.driver.submit(daft_k8s_core::WorkerId(0), plan, Box::new(|_| panic!("the poll trips")));
    let second = session.submit(2, vec![]);
    let runs = [workers[0].next_run(), workers[0].next_run()];
    let first_key = |run: &&Delivery| run.key == "q/1.1";
    workers[0].finish(&runs.iter().find(first_key).unwrap().key, []);
    let (_, _, reason) = session.outside.stops.recv_timeout(AT_ONCE).expect("the link stays silent");
    assert!(reason.contains("panicked") && reason.contains("the poll trips"), "{reason}");
    assert!(session.errors.lock().unwrap().iter().any(|line| line.contains("the poll trips")));
    let (id, launch) = session.next_launch();
    let renewed = session.worker(id);
    session.started(id, launch, renewed.control(), renewed.data());
    renewed.finish(&renewed.next_run().key, [numbers(0..3)]);
    assert_eq!(second.partitions().len(), 1);
}

#[test]
fn a_panic_while_a_call_of_the_worker_is_handed_over_is_a_loss_of_the_worker() {
    let (session, workers) = Session::with_workers(patient());
    let (sender, answered) = mpsc::channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    workers[0].worker.call_driver(crate::fixture::POISONED_TARGET.into(), bytes::Bytes::new(), reply);
    let (_, _, reason) = session.outside.stops.recv_timeout(AT_ONCE).expect("the link stays silent");
    assert!(reason.contains("panicked"), "{reason}");
    drop(answered);
}

#[test]
fn a_panic_while_outputs_are_published_fails_the_task() {
    let hook: crate::fixture::LogHook = Arc::new(|line| assert!(!line.starts_with("spilled"), "the log trips"));
    let settings = Settings { store_memory_bytes: 1 << 20, on_worker_log: hook, ..patient() };
    let (session, workers) = Session::with_workers(settings);
    for (task, rows) in [(1, 1_000_000), (2, 100)] {
        let ending = session.submit(task, vec![]);
        workers[0].finish(&workers[0].next_run().key, [numbers(0..rows), numbers(0..rows)]);
        if task == 1 {
            let message = ending.failed();
            assert!(message.contains("publish") && message.contains("the log trips"), "{message}");
        } else {
            assert_eq!(ending.partitions().len(), 2, "the worker is of no use any more");
        }
    }
    assert_eq!(workers[0].worker.unfinished_tasks(), 0);
}
