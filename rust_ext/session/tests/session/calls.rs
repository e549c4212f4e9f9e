//! Calls of workers to their driver.

use std::{sync::mpsc::channel, time::Duration};

use bytes::Bytes;

use crate::{
    fixture::{LONG, Session, Settings, until},
    proxy::Proxy,
};

#[test]
fn a_call_is_made_once_and_answered_though_its_stream_breaks() {
    let session = Session::new(Settings::default());
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    let proxy = Proxy::start(session.runtime.handle(), &worker.control());
    session.started(id, launch, proxy.address.clone(), worker.data());
    session.until_ready(1);
    for round in 0..5 {
        let (sender, answers) = channel();
        let reply = Box::new(move |answer| sender.send(answer).unwrap());
        worker.worker.call_driver("limit/1".into(), Bytes::from(format!("{round}")), reply);
        let call = session.outside.calls.recv_timeout(LONG).unwrap();
        proxy.cut();
        (call.answer)(Ok(call.payload));
        assert_eq!(answers.recv_timeout(LONG).unwrap().unwrap(), format!("{round}"));
    }
    assert!(session.outside.calls.recv_timeout(Duration::from_millis(300)).is_err(), "a call was made twice");
}

#[test]
fn a_call_that_the_host_drops_is_answered_with_an_error() {
    let (session, workers) = Session::with_workers(Settings::default());
    let (sender, answers) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    workers[0].worker.call_driver("limit/1".into(), Bytes::new(), reply);
    drop(session.outside.calls.recv_timeout(LONG).unwrap());
    assert!(answers.recv_timeout(LONG).unwrap().is_err());
}

#[test]
fn what_was_dropped_while_the_connection_was_broken_is_dropped_later() {
    let session = Session::new(Settings::default());
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    let proxy = Proxy::start(session.runtime.handle(), &worker.control());
    session.started(id, launch, proxy.address.clone(), worker.data());
    let ending = session.submit(1, vec![]);
    worker.finish(&worker.next_run().key, [crate::fixture::numbers(0..10_000)]);
    let partitions = ending.partitions();
    proxy.lead_to("127.0.0.1:9");
    drop(partitions);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(worker.partitions(), 1);
    proxy.lead_to(&worker.control());
    until(|| worker.partitions() == 0, "the partition was never dropped");
}
