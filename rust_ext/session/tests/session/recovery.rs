//! Outputs that were lost with their worker, and are recomputed by another one.

use std::thread;

use daft_k8s_core::{Determinism, ExitCause, LaunchId, WorkerId};
use daft_k8s_ipc::PartitionData;
use daft_k8s_session::{
    driver::{FetchFailure, Partition, TaskSpec},
    worker::Delivery,
};

use crate::fixture::{Session, Settings, TestWorker, numbers, rows, spec, until};

/// Too large to come along with the news of its task's end.
fn large() -> PartitionData {
    numbers(0..10_000)
}

fn deterministic(query: &str, inputs: Vec<Partition>) -> TaskSpec {
    TaskSpec { determinism: Determinism::Deterministic, ..spec(query, 1, b"plan", b"", inputs) }
}

/// Three workers. The second has made this output, and is lost.
fn lost_output(inputs: impl FnOnce(&Session) -> Vec<Partition>) -> (Session, Vec<TestWorker>, Vec<Partition>) {
    let settings = Settings { workers: 3, slots: 1, queue_ahead: 0, ..Settings::default() };
    let (session, workers) = Session::with_workers(settings);
    let inputs = inputs(&session);
    let ending = session.submit_spec(1, deterministic("q", inputs));
    workers[1].finish(&workers[1].next_run().key, [large()]);
    let partitions = ending.partitions();
    session.driver.end_query("q");
    session.driver.worker_exited(WorkerId(1), LaunchId(1), "evicted".into(), true, ExitCause::Infrastructure);
    (session, workers, partitions)
}

/// Fetches beside the test, which plays the workers.
fn fetching(session: &Session, of: &[Partition]) -> thread::JoinHandle<Result<Vec<PartitionData>, FetchFailure>> {
    let (driver, runtime, of) = (session.driver.clone(), session.runtime.handle().clone(), of.to_vec());
    thread::spawn(move || runtime.block_on(driver.fetch(&of)))
}

fn next_run_of_any<'a>(workers: &[&'a TestWorker]) -> (&'a TestWorker, Delivery) {
    let mut found = None;
    until(
        || {
            found = workers.iter().find_map(|worker| Some((*worker, worker.posted_task()?)));
            found.is_some()
        },
        "no task came",
    );
    found.expect("a task")
}

#[test]
fn all_workers_that_took_part_in_a_recovery_forget_it() {
    let (session, workers, lost) = lost_output(|_| vec![]);
    let fetch = fetching(&session, &lost);
    let others = [&workers[0], &workers[2]];
    let (first, delivery) = next_run_of_any(&others);
    assert_eq!(delivery.key, "q~1.1/1.1");
    first.worker.begin_drain();
    first.worker.cancelled(&delivery.key);
    let (second, delivery) = next_run_of_any(&others);
    assert!(delivery.key.starts_with("q~1.1/1.") && delivery.key != "q~1.1/1.1", "{}", delivery.key);
    assert!(!std::ptr::eq(first, second), "a worker that leaves takes no tasks");
    second.finish(&delivery.key, [large()]);
    assert_eq!(rows(&fetch.join().unwrap().unwrap()), [10_000]);
    until(|| others.iter().all(|worker| worker.worker.seen_queries() == 0), "one was not told of its end");
}

#[test]
fn an_output_made_from_data_that_the_driver_has_dropped_is_not_recomputed() {
    let (session, workers, lost) = lost_output(|session| vec![session.driver.put(numbers(0..10))]);
    for _ in 0..2 {
        let Err(FetchFailure::Gone(reason)) = fetching(&session, &lost).join().unwrap() else {
            panic!("it was fetched");
        };
        assert!(reason.contains("data of the driver that it was made from has been dropped"), "{reason}");
        assert!(lost[0].is_lost(), "it is not tried again");
    }
    assert!([&workers[0], &workers[2]].iter().all(|worker| worker.posted_task().is_none()));
}
