//! Reasons to keep a worker of an elastic pool, and those that are none.

use std::{thread, time::Duration};

use daft_k8s_core::WorkerId;

use crate::actors;
use crate::fixture::{Session, Settings, numbers, rows, until};

const IDLE: Duration = Duration::from_millis(200);

fn elastic() -> Settings {
    Settings { idle_timeout: Some(IDLE), ..Settings::default() }
}

#[test]
fn to_drop_a_partition_of_the_driver_releases_nothing_at_the_worker_that_was_given_it() {
    let (session, workers) = Session::with_workers(elastic());
    let ending = session.submit(1, vec![]);
    workers[0].finish(&workers[0].next_run().key, [numbers(0..10_000)]);
    let kept = ending.partitions();
    let given = session.driver.put(numbers(0..3));
    let reader = session.submit(2, vec![given.clone()]);
    workers[0].finish(&workers[0].next_run().key, []);
    assert!(reader.partitions().is_empty());
    drop(given);
    until(|| workers[0].partitions() == 1, "the upload was not dropped");
    assert_eq!(session.holds(WorkerId(0)), 1);
    thread::sleep(3 * IDLE);
    assert_eq!(rows(&session.fetch(&kept).unwrap()), [10_000], "the worker was let go");
    drop(kept);
    assert!(session.outside.stops.recv_timeout(Duration::from_secs(15)).is_ok(), "the worker is kept for nothing");
}

#[test]
fn to_drop_a_partition_of_the_driver_does_not_let_go_of_a_worker_with_an_actor() {
    let (session, workers) = Session::with_workers(elastic());
    let (pool, _started) = actors::start(&session, 1, &[b"actor"]);
    workers[0].next_actor();
    let given = session.driver.put(numbers(0..3));
    let reader = session.submit(2, vec![given.clone()]);
    workers[0].finish(&workers[0].next_run().key, []);
    assert!(reader.partitions().is_empty());
    drop(given);
    until(|| workers[0].partitions() == 0, "the upload was not dropped");
    assert_eq!(session.holds(WorkerId(0)), 1);
    session.driver.end_actors(pool);
    session.driver.end_actors(pool);
    assert_eq!(session.holds(WorkerId(0)), 0);
}
