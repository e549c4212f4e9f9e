//! Outputs that come with the news of their task's end: they belong to the driver, and serve as inputs from there.

use std::{thread, time::Duration};

use daft_k8s_core::{ExitCause, LaunchId, WorkerId};
use daft_k8s_ipc::PartitionData;
use daft_k8s_session::driver::{Partition, TaskSpec};

use crate::fixture::{LONG, Session, Settings, TestWorker, numbers, rows, spec, until};

fn write(task: u64) -> TaskSpec {
    TaskSpec { name: "PhysicalScan->Project->PhysicalWrite".into(), ..spec("q", task, b"plan", b"payload", vec![]) }
}

fn made_by(session: &Session, worker: &TestWorker, spec: TaskSpec, outputs: Vec<PartitionData>) -> Vec<Partition> {
    let ending = session.submit_spec(0, spec);
    worker.finish(&worker.next_run().key, outputs);
    ending.partitions()
}

#[test]
fn a_tiny_output_keeps_no_worker_and_outlives_it() {
    let idle_timeout = Some(Duration::from_millis(200));
    let (session, workers) = Session::with_workers(Settings { idle_timeout, ..Settings::default() });
    let kept = made_by(&session, &workers[0], spec("q", 1, b"plan", b"", vec![]), vec![numbers(0..2)]);
    assert_eq!((workers[0].partitions(), session.holds(WorkerId(0))), (0, 0));
    session.outside.stops.recv_timeout(LONG).expect("the worker is kept");
    assert_eq!(rows(&session.fetch(&kept).unwrap()), [2]);
}

#[test]
fn a_tiny_output_is_read_by_tasks_after_its_maker_was_lost() {
    let (session, workers) = Session::with_workers(Settings { workers: 2, ..Settings::default() });
    let ending = session.submit_to(1, 1, vec![]);
    workers[1].finish(&workers[1].next_run().key, [numbers(0..2)]);
    let tiny = ending.partitions();
    session.driver.worker_exited(WorkerId(1), LaunchId(1), "out of memory".into(), true, ExitCause::OutOfMemory);
    let reader = session.submit_to(0, 2, vec![tiny[0].clone(), session.driver.put(numbers(0..3)), tiny[0].clone()]);
    let delivery = workers[0].next_run();
    assert_eq!(rows(&delivery.inputs[0].1), [2, 3, 2]);
    workers[0].finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
}

#[test]
fn outputs_of_a_task_with_effects_come_inline_up_to_a_mebibyte_in_all() {
    let (session, workers) = Session::with_workers(Settings::default());
    let written = made_by(&session, &workers[0], write(1), vec![numbers(0..10_000), numbers(0..20_000)]);
    assert_eq!(workers[0].partitions(), 0);
    assert_eq!(rows(&session.fetch(&written).unwrap()), [10_000, 20_000]);
    let large = made_by(&session, &workers[0], write(2), vec![numbers(0..70_000), numbers(0..70_000)]);
    assert_eq!(workers[0].partitions(), 2);
    assert_eq!(rows(&session.fetch(&large).unwrap()), [70_000, 70_000]);
    drop(large);
    until(|| workers[0].partitions() == 0, "they were not dropped");
}

#[test]
fn inline_inputs_that_a_message_cannot_carry_are_sent_ahead_and_dropped_with_their_references() {
    for (max_message_bytes, sent_ahead) in [(64 << 20, 1), (1 << 20, 6)] {
        let settings = Settings { max_message_bytes, ..Settings::default() };
        send_more_than_a_message_carries(settings, sent_ahead);
    }
}

fn send_more_than_a_message_carries(settings: Settings, sent_ahead: usize) {
    let (session, workers) = Session::with_workers(settings);
    let paths: Vec<_> =
        (1..7).flat_map(|task| made_by(&session, &workers[0], write(task), vec![numbers(0..100_000)])).collect();
    assert!(session.inline_bytes() > 4 << 20, "the driver holds them");
    let commit = session.submit(7, paths.clone());
    let delivery = workers[0].next_run();
    assert_eq!(rows(&delivery.inputs[0].1), [100_000; 6]);
    assert_eq!(workers[0].partitions(), sent_ahead);
    workers[0].finish(&delivery.key, []);
    assert!(commit.partitions().is_empty());
    drop(paths);
    until(|| workers[0].partitions() == 0 && session.inline_bytes() == 0, "something is left");
    thread::sleep(Duration::from_millis(100));
    assert_eq!(session.holds(WorkerId(0)), 0);
}
