//! Cancelling tasks and ending queries.

use std::{collections::HashSet, thread, time::Duration};

use crate::{
    fixture::{Posted, Session, Settings, numbers, spec, until},
    proxy::Proxy,
};

#[test]
fn a_running_task_is_cancelled_by_its_host() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    let delivery = workers[0].next_run();
    session.driver.cancel(ending.task);
    assert_eq!(workers[0].next_cancel(), delivery.key);
    workers[0].worker.cancelled(&delivery.key);
    assert!(ending.is_cancelled());
}

#[test]
fn a_task_that_waits_for_a_slot_is_cancelled_at_once() {
    let (session, workers) = Session::with_workers(Settings { slots: 1, queue_ahead: 2, ..Settings::default() });
    let running = session.submit(1, vec![]);
    let delivery = workers[0].next_run();
    let waiting = session.submit(2, vec![]);
    session.driver.cancel(waiting.task);
    assert!(waiting.is_cancelled());
    workers[0].finish(&delivery.key, []);
    assert!(running.partitions().is_empty());
    assert_eq!(workers[0].worker.unfinished_tasks(), 0);
}

#[test]
fn a_result_that_comes_after_the_cancel_is_dropped_where_it_lies() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    let delivery = workers[0].next_run();
    session.driver.cancel(ending.task);
    workers[0].finish(&delivery.key, [numbers(0..10_000)]);
    assert!(ending.is_cancelled());
    until(|| workers[0].partitions() == 0, "the output was not dropped");
}

#[test]
fn a_cancel_right_after_the_submission_is_never_lost() {
    let (session, mut workers) = Session::with_workers(Settings { slots: 64, queue_ahead: 64, ..Settings::default() });
    let worker = workers.remove(0);
    // As in Python: a task runs until it is cancelled, and a cancel of what does not run is ignored.
    thread::spawn(move || {
        let mut running = HashSet::new();
        for posted in worker.posted {
            match posted {
                Posted::Run(delivery) => drop(running.insert(delivery.key)),
                Posted::Cancel(key) if running.remove(&key) => worker.worker.cancelled(&key),
                Posted::Cancel(_) | Posted::Actor(..) => {}
            }
        }
    });
    for task in 0..300 {
        let ending = session.submit(task, vec![]);
        if task % 3 == 0 {
            thread::sleep(Duration::from_micros(10 * task));
        }
        session.driver.cancel(ending.task);
        assert!(ending.is_cancelled());
    }
}

#[test]
fn a_task_is_cancelled_while_its_partition_is_still_sent_and_leaves_nothing_behind() {
    let session = Session::new(Settings::default());
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    let proxy = Proxy::start(session.runtime.handle(), &worker.data());
    proxy.hold();
    session.started(id, launch, worker.control(), proxy.address.clone());
    let ending = session.submit(1, vec![session.driver.put(numbers(0..1000))]);
    thread::sleep(Duration::from_millis(300));
    session.driver.cancel(ending.task);
    assert!(ending.is_cancelled());
    // The last reference is gone; now the upload goes through.
    thread::sleep(Duration::from_millis(300));
    proxy.release();
    thread::sleep(Duration::from_millis(300));
    until(|| worker.partitions() == 0, "the partition was left behind");
    assert!(worker.is_left_alone());
}

#[test]
fn the_end_of_a_query_cancels_its_tasks_and_no_others() {
    let (session, workers) = Session::with_workers(Settings { slots: 2, queue_ahead: 1, ..Settings::default() });
    let other = session.submit_spec(0, spec("other", 0, b"plan", b"", vec![]));
    let of_other = workers[0].next_run();
    let endings: Vec<_> = (0..20).map(|task| session.submit(task, vec![])).collect();
    let running = workers[0].next_run().key;
    session.driver.end_query("q");
    assert_eq!(workers[0].next_cancel(), running);
    workers[0].worker.cancelled(&running);
    // One that waited may have got the slot before its own cancel came, which then goes to the host as well.
    let is_over = || {
        for posted in workers[0].posted.try_iter() {
            if let Posted::Cancel(key) = posted {
                workers[0].worker.cancelled(&key);
            }
        }
        workers[0].worker.unfinished_tasks() == 1
    };
    until(is_over, "tasks of the query are still there");
    for ending in &endings {
        assert!(ending.is_cancelled());
    }
    workers[0].finish(&of_other.key, []);
    assert!(other.partitions().is_empty());
}
