//! Actors: started and stopped by the driver, called by other workers.

use std::sync::mpsc::channel;

use bytes::Bytes;
use daft_k8s_core::WorkerId;

use crate::fixture::{LONG, Posted, Session, Settings, TestWorker};

fn call(caller: &TestWorker, address: String, payload: Bytes) -> Result<Bytes, String> {
    let (sender, answers) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    caller.worker.call_peer(address, "pool/0".to_owned(), payload, reply);
    answers.recv_timeout(LONG).unwrap()
}

#[test]
fn a_ready_worker_is_told_to_start_and_to_stop_an_actor() {
    let (session, workers) = Session::with_workers(Settings::default());
    let worker = WorkerId(0);
    let asked = || {
        let Ok(Posted::Actor(actor_id, asked)) = workers[0].posted.recv_timeout(LONG) else { panic!("no news") };
        assert_eq!(actor_id, "pool/0");
        asked
    };
    assert!(session.driver.start_actor(worker, "pool/0", Bytes::from_static(b"what")));
    assert_eq!(asked(), Ok(Bytes::from_static(b"what")));
    // Asked for together, either may come first; the generation tells them apart.
    session.driver.stop_actor(worker, "pool/0", 3);
    assert_eq!(asked(), Err(3));
}

#[test]
fn a_worker_that_is_not_ready_starts_no_actor() {
    let session = Session::new(Settings::default());
    assert!(!session.driver.start_actor(WorkerId(0), "pool/0", Bytes::new()));
}

#[test]
fn a_call_between_workers_may_be_larger_than_a_message() {
    let settings = Settings { workers: 2, max_message_bytes: 2 << 20, ..Settings::default() };
    let (_session, workers) = Session::with_workers(settings);
    for size in [0, 1, 5 << 20] {
        let payload = Bytes::from(vec![7; size]);
        assert_eq!(call(&workers[0], workers[1].control(), payload.clone()).unwrap(), payload);
    }
}

#[test]
fn a_call_of_a_worker_that_is_gone_fails_and_a_later_one_succeeds() {
    let (_session, workers) = Session::with_workers(Settings { workers: 2, ..Settings::default() });
    assert!(call(&workers[0], "127.0.0.1:9".to_owned(), Bytes::new()).is_err());
    assert!(call(&workers[0], workers[1].control(), Bytes::new()).is_ok());
}
