//! A session over TLS, and what happens to those who do not belong to it.

use std::time::Duration;

use daft_k8s_control::{
    CONNECT_TIMEOUT, ClientError, PROTOCOL_VERSION, connect_lazily, handshake,
    proto::{DrainRequest, HandshakeRequest},
};
use daft_k8s_core::WorkerId;
use daft_k8s_net::tls::{Identity, Issued, Pem, issue};

use crate::{
    fixture::{LONG, Session, Settings, TOKEN, numbers, rows},
    proxy::Proxy,
};

fn encrypted() -> (Issued, Settings) {
    let issued = || issue("s").unwrap();
    (issued(), Settings { tls: Some(issued()), workers: 2, ..Settings::default() })
}

fn greeting() -> HandshakeRequest {
    HandshakeRequest {
        protocol_version: PROTOCOL_VERSION,
        session_id: "s".into(),
        worker_id: "worker-0".into(),
        daft_version: "1".into(),
        python_version: "3".into(),
    }
}

#[test]
fn tasks_read_from_other_workers_and_from_the_driver() {
    let (_, settings) = encrypted();
    let (session, workers) = Session::with_workers(settings);
    let uploaded = session.driver.put(numbers(0..3));
    let maker = session.submit_to(1, 1, vec![]);
    workers[1].finish(&workers[1].next_run().key, [numbers(0..10_000)]);
    let made = maker.partitions();
    let reader = session.submit_to(0, 2, vec![made[0].clone(), uploaded]);
    let delivery = workers[0].next_run();
    assert_eq!(rows(&delivery.inputs[0].1), [10_000, 3]);
    workers[0].finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
    assert_eq!(rows(&session.fetch(&made).unwrap()), [10_000]);
}

/// As between two machines that are busy: what takes long and is begun anew would never end.
#[test]
fn connections_that_take_longer_than_five_seconds_come_up_where_a_worker_may_be_silent_for_longer() {
    let (_, settings) = encrypted();
    let session = Session::new(Settings { workers: 1, unreachable_timeout: Duration::from_secs(30), ..settings });
    let (id, launch) = session.next_launch();
    let worker = session.worker(id);
    let [control, data] = [worker.control(), worker.data()].map(|address| {
        let proxy = Proxy::start(session.runtime.handle(), &address);
        proxy.delay(Duration::from_secs(6));
        proxy
    });
    session.started(id, launch, control.address.clone(), data.address.clone());
    session.until_ready(1);
    let task = session.submit(1, vec![]);
    worker.finish(&worker.next_run().key, [numbers(0..10_000)]);
    assert_eq!(rows(&session.fetch(&task.partitions()).unwrap()), [10_000]);
}

#[test]
fn a_worker_of_another_session_is_given_up_with_that_reason() {
    let (other, settings) = encrypted();
    let mut session = Session::new(settings);
    session.settings.tls = Some(other);
    let mut stopped = Vec::new();
    let task = session.submit(1, vec![]);
    let mut workers = Vec::new();
    for _ in 0..2 {
        let (id, launch) = session.next_launch();
        let worker = session.worker(id);
        session.started(id, launch, worker.control(), worker.data());
        workers.push(worker);
    }
    for _ in 0..2 {
        stopped.push(session.outside.stops.recv_timeout(LONG).unwrap());
    }
    assert!(stopped.iter().all(|stop| stop.2.contains("it presented a certificate of another session")), "{stopped:?}");
    assert!(task.lost().contains("it presented a certificate of another session"));
}

/// The result of a caller's call to the control server of a worker.
fn call(session: &Session, address: &str, token: &str, caller: Option<&Pem>) -> Result<(), ClientError> {
    let tls = caller.map(|pem| Identity::from_pem(pem).unwrap().client().unwrap());
    session.runtime.block_on(async {
        let mut client = connect_lazily(address, token, tls, CONNECT_TIMEOUT)?;
        handshake(&mut client, greeting()).await?;
        let drained = client.drain(DrainRequest { reason: "a stranger".into() }).await;
        drained.map(drop).map_err(|status| ClientError::Call(status.to_string()))
    })
}

#[test]
fn only_the_driver_gives_orders() {
    let (other, settings) = encrypted();
    let session = Session::new(settings);
    let Some(issued) = &session.settings.tls else { panic!() };
    let worker = session.worker(WorkerId(0));
    let forged = Pem { authority: issued.driver.authority.clone(), ..other.driver };
    for (caller, reason) in [(&issued.worker, "only the session's driver"), (&forged, "it refused our certificate")] {
        // The connection may be found closed before the reason is read; the driver tries again as well.
        let mut tries = (0..50).map(|_| call(&session, &worker.control(), TOKEN, Some(caller)).unwrap_err());
        let error = tries.find(|error| !matches!(error, ClientError::Call(_))).unwrap();
        assert!(matches!(&error, ClientError::Refused(text) if text.contains(reason)), "{error:?}");
    }
    assert!(matches!(call(&session, &worker.control(), TOKEN, None), Err(ClientError::Call(_))));
    let without_token = call(&session, &worker.control(), "wrong", Some(&issued.driver));
    assert!(matches!(without_token, Err(ClientError::Refused(text)) if text.contains("token")));
    assert!(worker.is_left_alone());
    call(&session, &worker.control(), TOKEN, Some(&issued.driver)).unwrap();
}

#[test]
fn the_port_for_probes_answers_nothing_but_health() {
    let (_, settings) = encrypted();
    let session = Session::new(settings);
    let worker = session.worker(WorkerId(0));
    let address = worker.worker.health_address().unwrap().to_string();
    let error = call(&session, &address, TOKEN, None).unwrap_err();
    assert!(error.to_string().contains("not implemented") || error.to_string().contains("Unimplemented"), "{error}");
}
