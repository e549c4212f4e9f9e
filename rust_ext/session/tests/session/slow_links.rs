//! A healthy worker behind a slow connection is not lost, however long an answer takes.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    fixture::{Session, Settings},
    proxy::Proxy,
};

#[test]
fn an_answer_that_takes_longer_than_a_worker_may_be_silent_is_waited_for_while_it_comes() {
    let session = Session::new(Settings { unreachable_timeout: Duration::from_secs(3), ..Settings::default() });
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    let calls = Proxy::start(session.runtime.handle(), &worker.control());
    session.started(id, launch, calls.address.clone(), worker.data());
    session.until_ready(1);
    let ending = session.submit(1, vec![]);
    let key = worker.next_run().key;
    let started = Instant::now();
    calls.slow_down(200 << 10);
    worker.worker.fail(&key, Bytes::from(vec![7; 1 << 20]), "a long story".into());
    assert_eq!(ending.failed(), "a long story");
    assert!(started.elapsed() > Duration::from_secs(4), "the test is too fast to show anything");
    assert!(session.outside.stops.try_recv().is_err());
}
