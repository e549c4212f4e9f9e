//! Addresses that lead to another worker's process than before, as those of Pods do that are dealt anew.

use crate::{
    fixture::{LONG, Session, Settings, numbers, rows, until},
    proxy::Proxy,
};

#[test]
fn a_process_that_answers_at_the_address_of_a_lost_worker_keeps_its_own_name_and_its_ends() {
    let session = Session::new(Settings { workers: 2, slots: 1, queue_ahead: 0, ..Settings::default() });
    let (first, first_launch) = session.next_launch();
    let (second, second_launch) = session.next_launch();
    let gone = session.worker(first);
    let control = Proxy::start(session.runtime.handle(), &gone.control());
    let data = Proxy::start(session.runtime.handle(), &gone.data());
    session.started(first, first_launch, control.address.clone(), data.address.clone());
    session.until_ready(1);
    let ending = session.submit_to(0, 1, vec![]);
    assert_eq!(gone.next_run().key, "q/1.1");
    // Its Pod is deleted. Nobody tells the driver, which hears of the next Pod at the same address.
    drop(gone);
    let worker = session.worker(second);
    control.lead_to(&worker.control());
    data.lead_to(&worker.data());
    session.started(second, second_launch, control.address.clone(), data.address.clone());
    let (stopped, launch, reason) = session.outside.stops.recv_timeout(LONG).expect("worker-0 is not lost");
    assert_eq!((stopped, launch), (first, first_launch));
    assert!(reason.contains("another one answers at its address (this is worker-1, not worker-0)"), "{reason}");
    assert_eq!(session.next_launch().0, first);
    let delivery = worker.next_run();
    assert_eq!(delivery.key, "q/1.2");
    worker.finish(&delivery.key, [numbers(0..10_000)]);
    assert_eq!(rows(&session.fetch(&ending.partitions()).unwrap()), [10_000]);
    for task in 2..20 {
        let ending = session.submit_to(0, task, vec![]);
        worker.finish(&worker.next_run().key, []);
        assert!(ending.partitions().is_empty(), "the end of a task went to another link");
    }
}

#[test]
fn a_start_whose_address_is_another_workers_by_now_is_made_again() {
    let session = Session::new(Settings { workers: 2, ..Settings::default() });
    let (first, first_launch) = session.next_launch();
    let (second, second_launch) = session.next_launch();
    let other = session.worker(second);
    session.started(second, second_launch, other.control(), other.data());
    session.started(first, first_launch, other.control(), other.data());
    let (stopped, _, reason) = session.outside.stops.recv_timeout(LONG).expect("worker-0 is not lost");
    assert!(stopped == first && reason.contains("another worker answers at its address"), "{reason}");
    let (again, launch) = session.next_launch();
    assert_eq!((again, launch.0), (first, 2));
    let worker = session.worker(first);
    session.started(first, launch, worker.control(), worker.data());
    session.until_ready(2);
}

#[test]
fn that_another_worker_lacks_a_partition_does_not_mean_that_it_is_gone() {
    let session = Session::new(Settings { workers: 2, ..Settings::default() });
    let mut workers = Vec::new();
    let mut ways = Vec::new();
    for _ in 0..2 {
        let (id, launch) = session.next_launch();
        let worker = session.worker(id);
        let data = Proxy::start(session.runtime.handle(), &worker.data());
        session.started(id, launch, worker.control(), data.address.clone());
        workers.push(worker);
        ways.push(data);
    }
    session.until_ready(2);
    let ending = session.submit_to(1, 1, vec![]);
    workers[1].finish(&workers[1].next_run().key, [numbers(0..10_000)]);
    let made = ending.partitions();
    ways[1].lead_to(&workers[0].data());
    ways[1].cut();
    let failure = session.fetch(&made).unwrap_err();
    assert!(failure.starts_with("Connection") && failure.contains("this is worker-0, not worker-1"), "{failure}");
    // Refused, it is tried again, here or there.
    let reader = session.submit_to(0, 2, made);
    ways[1].lead_to(&workers[1].data());
    let (worker, delivery) = until_found(|| workers.iter().find_map(|worker| Some((worker, worker.posted_task()?))));
    assert_eq!(rows(&delivery.inputs[0].1), [10_000]);
    worker.finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
}

fn until_found<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(
        || {
            found = find();
            found.is_some()
        },
        "nothing was found",
    );
    found.unwrap()
}
