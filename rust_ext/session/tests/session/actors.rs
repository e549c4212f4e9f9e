//! Actors: constructed and stopped as the core decides, called by other workers.

use std::{
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use bytes::Bytes;
use daft_k8s_core::{ActorFailure, ActorId, ActorNews, ActorPoolId, ActorRequest, Resources, WorkerId};

use crate::fixture::{Asked, LONG, Session, Settings, TestWorker};

type Started = Receiver<Result<Vec<ActorId>, ActorFailure>>;

fn call(caller: &TestWorker, address: String, payload: Bytes) -> Result<Bytes, String> {
    let (sender, answers) = channel();
    let reply = Box::new(move |answer| sender.send(answer).unwrap());
    caller.worker.call_peer(address, "pool-1/0".to_owned(), payload, reply);
    answers.recv_timeout(LONG).unwrap()
}

pub(crate) fn start(session: &Session, count: u32, specs: &[&'static [u8]]) -> (ActorPoolId, Started) {
    let request = ActorRequest {
        name: "UDF f".into(),
        count,
        need: Resources::of_actor(0.5, 0.0, 0.0).unwrap(),
        start_timeout: LONG,
        is_stateless: true,
        shares_cpus: true,
    };
    let (sender, started) = channel();
    let on_start = Box::new(move |result| {
        // Fails if the test has ended, which does not look at the answer.
        let _ = sender.send(result);
    });
    let specs = specs.iter().map(|spec| Bytes::from_static(spec)).collect();
    (session.driver.start_actors(request, specs, on_start).unwrap(), started)
}

fn ready(session: &Session, actor: ActorId, generation: u32) {
    let news = ActorNews::Ready { address: "h:7777".into() };
    session.driver.actor_news(WorkerId(0), actor, generation, news);
}

#[test]
fn a_ready_worker_is_told_to_start_each_actor_with_its_own_parts_and_to_stop_it() {
    let (session, workers) = Session::with_workers(Settings::default());
    let (pool, started) = start(&session, 2, &[b"first", b"second"]);
    let mut told: Vec<(String, Asked)> = (0..2).map(|_| workers[0].next_actor()).collect();
    told.sort_by(|one, other| one.0.cmp(&other.0));
    let of = |payload| Asked::Start { payload: Bytes::from_static(payload), generation: 1, gpu_devices: vec![] };
    assert_eq!(told, [("pool-1/0".to_owned(), of(b"first")), ("pool-1/1".to_owned(), of(b"second"))]);
    assert!(started.try_recv().is_err());
    let actors: Vec<ActorId> = (0..2).map(|number| ActorId { pool, number }).collect();
    actors.iter().for_each(|actor| ready(&session, *actor, 1));
    assert_eq!(started.recv_timeout(LONG).unwrap(), Ok(actors.clone()));
    assert_eq!(session.driver.ready_actors(pool), Some(actors));
    session.driver.end_actors(pool);
    let mut stopped: Vec<Asked> = (0..2).map(|_| workers[0].next_actor().1).collect();
    stopped.dedup();
    assert_eq!(stopped, [Asked::Stop { generation: 1 }]);
    assert_eq!(session.driver.ready_actors(pool), None);
}

#[test]
fn one_spec_is_for_all_actors() {
    let (session, workers) = Session::with_workers(Settings::default());
    let (_, _started) = start(&session, 2, &[b"all"]);
    for _ in 0..2 {
        let Asked::Start { payload, .. } = workers[0].next_actor().1 else { panic!("no start") };
        assert_eq!(payload, "all");
    }
}

#[test]
fn a_call_is_told_where_its_actor_is_once_it_is_ready() {
    let (session, workers) = Session::with_workers(Settings::default());
    let (pool, _started) = start(&session, 1, &[b"all"]);
    workers[0].next_actor();
    let (sender, routes) = channel();
    let on_route = Box::new(move |route| sender.send(route).unwrap());
    session.driver.find_actor(pool, Some(0), vec![], on_route);
    assert!(routes.recv_timeout(Duration::from_millis(100)).is_err());
    let actor = ActorId { pool, number: 0 };
    ready(&session, actor, 1);
    let route = routes.recv_timeout(LONG).unwrap().unwrap();
    assert_eq!((route.actor, route.generation, &*route.address), (actor, 1, "h:7777"));
    assert!(session.driver.is_actor_at(actor, 1));
    session.driver.end_query("another");
    session.driver.end_actors(pool);
}

#[test]
fn starts_and_calls_that_wait_are_answered_when_the_session_ends() {
    let session = Session::new(Settings::default());
    let (pool, started) = start(&session, 1, &[b"all"]);
    let (sender, routes) = channel();
    session.driver.find_actor(pool, None, vec![], Box::new(move |route| sender.send(route).unwrap()));
    session.driver.shutdown();
    assert_eq!(started.recv_timeout(LONG).unwrap(), Err(ActorFailure::Closed));
    assert!(routes.recv_timeout(LONG).unwrap().is_err());
    let (_, late) = start(&session, 1, &[b"all"]);
    assert_eq!(late.recv_timeout(LONG).unwrap(), Err(ActorFailure::Closed));
    let kept = session.driver.status().kept;
    assert_eq!((kept["actor_pools"], kept["actor_calls"]), (0, 0));
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
