//! Workers that are short of memory.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use daft_k8s_session::driver::Outcome;
use parking_lot::Mutex;

use crate::fixture::{LONG, LogHook, Session, Settings, TestWorker, numbers, until};

/// A session with a worker whose store does not go on before `gate` is free; tells when it has come so far.
fn with_a_store_that_stands_still(gate: Arc<Mutex<()>>) -> (Session, Vec<TestWorker>, mpsc::Receiver<()>) {
    // The host's log is held back while the store reports on its spilling.
    let (entered, has_entered) = mpsc::channel();
    let entered = Mutex::new(entered);
    let hook: LogHook = Arc::new(move |line| {
        if line.contains("cannot spill") {
            let _ = entered.lock().send(());
            drop(gate.lock());
        }
    });
    let settings = Settings { store_memory_bytes: 1 << 20, slots: 2, on_worker_log: hook, ..Settings::default() };
    let (session, workers) = Session::with_workers(settings);
    std::fs::write(workers[0].spill.path().join("spill"), "a file stands where the folder should be").unwrap();
    (session, workers, has_entered)
}

#[test]
fn the_host_never_waits_for_a_spill_when_a_task_ends() {
    let gate = Arc::new(Mutex::new(()));
    let hold = gate.lock();
    let (session, workers, has_entered) = with_a_store_that_stands_still(gate.clone());
    let (large, small) = (session.submit(1, vec![]), session.submit(2, vec![]));
    let keys = [workers[0].next_run().key, workers[0].next_run().key];
    workers[0].finish(&keys[0], [numbers(0..1_000_000)]);
    has_entered.recv_timeout(LONG).expect("nothing was spilled");
    let (worker, key) = (workers[0].worker.clone(), keys[1].clone());
    let (sender, finished) = mpsc::channel();
    let caller = thread::spawn(move || {
        worker.put_output(&key, numbers(0..100));
        worker.finish(&key, bytes::Bytes::new());
        sender.send(()).unwrap();
    });
    let waited = finished.recv_timeout(LONG / 5);
    drop(hold);
    waited.expect("the host waited for the store");
    caller.join().unwrap();
    assert_eq!((large.partitions().len(), small.partitions().len()), (1, 1));
}

#[test]
fn a_task_that_is_cancelled_while_its_outputs_wait_for_memory_ends_at_once() {
    let gate = Arc::new(Mutex::new(()));
    let hold = gate.lock();
    let (session, workers, has_entered) = with_a_store_that_stands_still(gate.clone());
    let ending = session.submit(1, vec![]);
    let key = workers[0].next_run().key;
    workers[0].finish(&key, [numbers(0..1_000_000)]);
    has_entered.recv_timeout(LONG).expect("nothing was spilled");
    session.driver.cancel(ending.task);
    let ended = ending.ended.recv_timeout(LONG / 5);
    drop(hold); // or a failure would leave the store's thread waiting
    assert!(matches!(ended, Ok(Outcome::Cancelled)), "{ended:?}");
    until(|| workers[0].partitions() == 0, "the output was not dropped");
}
