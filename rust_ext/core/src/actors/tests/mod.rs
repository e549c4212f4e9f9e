//! Pools of actors as events in virtual time, in a session whose workers do what a test says: `starts` (room,
//! constructors), `losses` (workers, places, routes), `ends` (queries, the last task), random histories (`histories`).
//! Does not cover the session around actors, the placement by amounts (`placement`), and anything that does I/O.

mod ends;
mod histories;
mod losses;
mod starts;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::ids::{Incarnation, RouteId};
use crate::{Addresses, Event, ExitCause, PoolConfig, Session, WorkerPhase};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn w(index: u32) -> WorkerId {
    WorkerId(index)
}

const fn p(number: u64) -> ActorPoolId {
    ActorPoolId(number)
}

/// One `Construct`.
#[derive(Debug, Clone, PartialEq)]
struct Construct {
    actor: ActorId,
    generation: u32,
    worker: WorkerId,
    devices: Vec<u32>,
}

/// A session of two CPUs a worker, with a clock that stands still until it is told to go on.
struct Stage {
    session: Session,
    now: Duration,
    incarnations: u32,
    constructs: Vec<Construct>,
    /// Actor number, generation and worker of each stop.
    stops: Vec<(u32, u32, WorkerId)>,
    /// The answers to starts: the numbers of the actors.
    started: BTreeMap<ActorPoolId, Vec<u32>>,
    failed: BTreeMap<ActorPoolId, ActorFailure>,
    ended: Vec<ActorPoolId>,
    /// Answers to calls: actor number and generation.
    routes: BTreeMap<RouteId, Result<(u32, u32), String>>,
    asked: u64,
    warnings: Vec<String>,
    launches: Vec<u32>,
}

impl Stage {
    fn new(gpus: f64) -> Self {
        let worker_resources = Resources::of_worker(2.0, gpus, 1 << 30).unwrap();
        let config = PoolConfig { worker_resources, max_worker_restarts: 100, ..PoolConfig::default() };
        Self {
            session: Session::new(config),
            now: Duration::ZERO,
            incarnations: 0,
            constructs: Vec::new(),
            stops: Vec::new(),
            started: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: Vec::new(),
            routes: BTreeMap::new(),
            asked: 0,
            warnings: Vec::new(),
            launches: Vec::new(),
        }
    }

    /// A session that wants two workers, of which so many are ready.
    fn with_workers(ready: u32) -> Self {
        Self::with_gpus(ready, 0.0)
    }

    fn with_gpus(ready: u32, gpus: f64) -> Self {
        let mut stage = Self::new(gpus);
        stage.tell(Event::SetDesired(2));
        (0..ready).for_each(|index| stage.come_up(index));
        stage
    }

    fn tell(&mut self, event: Event) {
        for action in self.session.handle(event, self.now) {
            match action {
                Action::Launch { worker, .. } => self.launches.push(worker.0),
                Action::Actor(action) => self.note(action),
                _ => {}
            }
        }
    }

    fn actor(&mut self, event: ActorEvent) {
        self.tell(Event::Actor(event));
    }

    fn note(&mut self, action: ActorAction) {
        match action {
            ActorAction::Construct { actor, generation, worker, launch, devices } => {
                assert_eq!(self.session.worker(worker).unwrap().launch, launch);
                self.constructs.push(Construct { actor, generation, worker, devices });
            }
            ActorAction::Stop { actor, generation, worker, .. } => self.stops.push((actor.number, generation, worker)),
            ActorAction::Started { pool, actors } => {
                let numbers = actors.into_iter().map(|actor| actor.number).collect();
                assert_eq!(self.started.insert(pool, numbers), None, "started twice");
            }
            ActorAction::NotStarted { pool, failure } => {
                assert_eq!(self.failed.insert(pool, failure), None, "failed twice");
            }
            ActorAction::Ended(pool) => self.ended.push(pool),
            ActorAction::Route { route, to } => {
                let known = self.session.worker(to.worker).unwrap();
                assert_eq!(&*to.address, format!("{}:7777", known.worker));
                assert!(self.routes.insert(route, Ok((to.actor.number, to.generation))).is_none());
            }
            ActorAction::NoRoute { route, message } => {
                assert!(self.routes.insert(route, Err(message)).is_none());
            }
            ActorAction::Warn(message) => self.warnings.push(message),
        }
    }

    /// Lets time pass to that moment, with every deadline before it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.now = due;
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    /// A worker starts, or starts again, and is ready.
    fn come_up(&mut self, index: u32) {
        while self.session.worker(w(index)).unwrap().phase == WorkerPhase::Restarting {
            self.now = self.session.next_deadline().unwrap();
            self.tell(Event::Tick);
        }
        let (worker, launch) = (w(index), self.session.worker(w(index)).unwrap().launch);
        let host = |port: u16| format!("{worker}:{port}").into();
        let addresses = Addresses { control: host(7777), data: host(7778), peer: host(7778) };
        self.tell(Event::Started { worker, launch, addresses });
        self.incarnations += 1;
        let incarnation = Incarnation::from(self.incarnations.to_string());
        self.tell(Event::Connected { worker, launch, incarnation });
    }

    fn lose_by(&mut self, index: u32, cause: ExitCause) {
        let (worker, launch) = (w(index), self.session.worker(w(index)).unwrap().launch);
        self.tell(Event::Exited { worker, launch, reason: "it was killed".to_owned(), restartable: true, cause });
    }

    fn lose(&mut self, index: u32) {
        self.lose_by(index, ExitCause::Crash);
    }

    fn start(&mut self, pool: u64, request: ActorRequest) {
        self.actor(ActorEvent::Start { pool: p(pool), request });
    }

    /// Starts a pool; all its actors that have room come up.
    fn started(&mut self, pool: u64, request: ActorRequest) -> Vec<u32> {
        self.start(pool, request);
        self.all_ready();
        self.started[&p(pool)].clone()
    }

    fn news(&mut self, of: &Construct, news: ActorNews) {
        let Construct { actor, generation, worker, .. } = *of;
        self.actor(ActorEvent::News { actor, generation, worker, news });
    }

    fn ready(&mut self, of: &Construct) {
        let address = format!("{}:7777", of.worker).into();
        self.news(of, ActorNews::Ready { address });
    }

    fn kill(&mut self, of: &Construct) {
        self.news(of, ActorNews::Killed { reason: "it was killed by SIGKILL".into() });
    }

    fn fail(&mut self, of: &Construct, reason: &str) {
        self.news(of, ActorNews::Failed { reason: reason.into(), error: [].into() });
    }

    fn all_ready(&mut self) {
        for construct in self.constructs.clone() {
            self.ready(&construct);
        }
    }

    fn last(&self) -> Construct {
        self.constructs.last().unwrap().clone()
    }

    /// A call of an actor; answered in `routes`.
    fn call(&mut self, pool: u64, number: u32, failed: &[(u32, u32)]) -> RouteId {
        self.asked += 1;
        let route = RouteId(self.asked);
        let failed = failed
            .iter()
            .map(|(number, generation)| (ActorId { pool: p(pool), number: *number }, *generation))
            .collect();
        self.actor(ActorEvent::Find { route, pool: p(pool), wanted: Some(number), failed });
        route
    }

    /// The answer to a call, which must be there at once.
    fn route(&mut self, pool: u64, number: u32, failed: &[(u32, u32)]) -> Result<(u32, u32), String> {
        let route = self.call(pool, number, failed);
        self.routes.get(&route).unwrap_or_else(|| panic!("no answer: {:?}", self.session)).clone()
    }

    fn begin_query(&mut self, query: &str) {
        self.tell(Event::QueryBegan(query.into()));
    }

    fn end_query(&mut self, query: &str) {
        self.tell(Event::QueryEnded(query.into()));
    }

    /// A task of the query uses the pool.
    fn bind(&mut self, query: &str, pool: u64) {
        self.actor(ActorEvent::Bind { query: query.into(), pools: vec![p(pool)] });
    }

    fn release(&mut self, pool: u64) {
        self.actor(ActorEvent::Release(vec![p(pool)]));
    }

    fn retire(&mut self, pool: u64) {
        self.actor(ActorEvent::Retire(p(pool)));
    }

    fn workers_of(&self, constructs: &[Construct]) -> Vec<u32> {
        constructs.iter().map(|construct| construct.worker.0).collect()
    }

    fn holds(&self, index: u32) -> u64 {
        self.session.worker(w(index)).unwrap().holds
    }

    fn failure(&self, pool: u64) -> String {
        match &self.failed[&p(pool)] {
            ActorFailure::Constructor { actor, worker, reason, .. } => {
                format!("{actor} on {}: {reason}", worker.map_or_else(String::new, |worker| worker.to_string()))
            }
            ActorFailure::NotStarted(message) | ActorFailure::Ended(message) => message.clone(),
            ActorFailure::Closed => "closed".to_owned(),
        }
    }
}

fn request(count: u32) -> ActorRequest {
    ActorRequest {
        name: "UDF f".into(),
        count,
        need: Resources::of_actor(1.0, 0.0, 0.0).unwrap(),
        start_timeout: secs(10),
        is_stateless: true,
        shares_cpus: true,
    }
}

fn with_need(count: u32, cpus: f64, gpus: f64) -> ActorRequest {
    ActorRequest { need: Resources::of_actor(cpus, gpus, 0.0).unwrap(), ..request(count) }
}

fn with_state(count: u32) -> ActorRequest {
    ActorRequest { is_stateless: false, ..request(count) }
}
