//! Requests of the driver whose answers nothing waits for: one that fails does not hold up others.

use std::time::{Duration, Instant};

use crate::fixture::{POISONED_QUERY, Session, Settings, numbers, until};

#[test]
fn a_request_that_always_fails_holds_up_no_other() {
    let (session, workers) = Session::with_workers(Settings::default());
    let ending = session.submit(1, vec![]);
    workers[0].finish(&workers[0].next_run().key, [numbers(0..3)]);
    let partitions = ending.partitions();
    // More than there are calls at once.
    for _ in 0..40 {
        session.driver.end_query(POISONED_QUERY);
    }
    drop(partitions);
    until(|| workers[0].partitions() == 0, "the drop waits for ever");
    let started = Instant::now();
    session.driver.end_query(POISONED_QUERY);
    let second = session.submit(2, vec![]);
    let key = workers[0].next_run().key;
    session.driver.cancel(second.task);
    assert_eq!(workers[0].next_cancel(), key);
    workers[0].worker.cancelled(&key);
    assert!(second.is_cancelled());
    assert!(started.elapsed() < Duration::from_secs(5));
}
