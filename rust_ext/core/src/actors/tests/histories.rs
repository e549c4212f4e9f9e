//! Random histories: workers come, drain, leave and go, constructors succeed, fail and are killed, pools and queries end
//! at any time, news is late or repeated. An observer that keeps its own books, from events and actions alone, checks that
//! no actor is at two places, that no worker is promised twice, that holds are the actors that are placed, and that every
//! request is answered once.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::actors::resources::Share;
use crate::ids::LaunchId;

/// An actor as the observer knows it.
#[derive(Debug, Default)]
struct Seen {
    generation: u32,
    at: Option<(WorkerId, LaunchId)>,
    devices: Vec<u32>,
    is_ready: bool,
}

#[derive(Debug)]
struct Known {
    request: ActorRequest,
    is_answered: bool,
    has_ended: bool,
    tasks: u32,
}

struct Observer {
    session: Session,
    capacity: Resources,
    now: Duration,
    incarnations: u32,
    actors: BTreeMap<ActorId, Seen>,
    pools: BTreeMap<ActorPoolId, Known>,
    queries: BTreeSet<u64>,
    begun: u64,
    calls: BTreeSet<RouteId>,
    asked: u64,
    is_closed: bool,
}

const WORKERS: u32 = 3;

impl Observer {
    fn new(elastic: bool) -> Self {
        let worker_resources = Resources::of_worker(2.0, 1.5, 1 << 20).unwrap();
        let config = PoolConfig { worker_resources, max_worker_restarts: 1000, ..PoolConfig::default() };
        let mut observer = Self {
            session: Session::new(config),
            capacity: worker_resources,
            now: Duration::ZERO,
            incarnations: 0,
            actors: BTreeMap::new(),
            pools: BTreeMap::new(),
            queries: BTreeSet::new(),
            begun: 0,
            calls: BTreeSet::new(),
            asked: 0,
            is_closed: false,
        };
        observer.tell(if elastic {
            Event::SetRange { min: 0, start: 1, max: WORKERS }
        } else {
            Event::SetDesired(WORKERS)
        });
        observer
    }

    fn actor(&mut self, event: ActorEvent) {
        self.tell(Event::Actor(event));
    }

    fn tell(&mut self, event: Event) {
        if let Event::Actor(ActorEvent::News { actor, generation, worker, news }) = &event {
            self.book(*actor, *generation, *worker, news);
        }
        for action in self.session.handle(event, self.now) {
            self.check(action);
        }
        self.check_rest();
    }

    fn book(&mut self, actor: ActorId, generation: u32, worker: WorkerId, news: &ActorNews) {
        let seen = self.actors.get_mut(&actor);
        if let Some(seen) =
            seen.filter(|seen| seen.generation == generation && seen.at.is_some_and(|at| at.0 == worker))
        {
            seen.is_ready |= matches!(news, ActorNews::Ready { .. });
        }
    }

    fn check(&mut self, action: Action) {
        match action {
            Action::WorkerLost { worker, launch, orderly, .. } => {
                let here = self.actors.values_mut().filter(|seen| seen.at == Some((worker, launch)));
                for seen in here {
                    assert!(!orderly, "{worker} was released with an actor");
                    (seen.at, seen.is_ready) = (None, false);
                }
            }
            Action::Actor(action) => self.check_actor(action),
            Action::Defect { message } => panic!("{message}"),
            _ => {}
        }
    }

    fn check_actor(&mut self, action: ActorAction) {
        match action {
            ActorAction::Construct { actor, generation, worker, launch, devices } => {
                let view = self.session.worker(worker).unwrap();
                assert_eq!(view.launch, launch);
                assert!(!self.pools[&actor.pool].has_ended && !self.is_closed);
                let shares = !self.actors.iter().any(|(id, seen)| id.pool == actor.pool && seen.at.is_some());
                let seen = self.actors.entry(actor).or_default();
                assert_eq!((seen.at, seen.generation + 1), (None, generation), "{actor} is at two places");
                *seen = Seen { generation, at: Some((worker, launch)), devices, is_ready: false };
                self.check_capacity(worker, shares);
            }
            ActorAction::Stop { actor, generation, .. } => {
                if let Some(seen) = self.actors.get_mut(&actor).filter(|seen| seen.generation == generation) {
                    (seen.at, seen.is_ready) = (None, false);
                }
            }
            ActorAction::Started { pool, actors } => {
                let known = self.pools.get_mut(&pool).unwrap();
                assert!(!std::mem::replace(&mut known.is_answered, true), "{pool} was answered twice");
                assert!(!actors.is_empty() && actors.iter().all(|actor| self.actors[actor].is_ready));
                let here = self.actors.iter().filter(|(id, seen)| id.pool == pool && seen.at.is_some());
                assert!(here.count() == actors.len(), "those that are late are stopped");
            }
            ActorAction::NotStarted { pool, .. } => {
                let known = self.pools.get_mut(&pool).unwrap();
                assert!(!std::mem::replace(&mut known.is_answered, true), "{pool} was answered twice");
            }
            ActorAction::Ended(pool) => {
                let known = self.pools.get_mut(&pool).unwrap();
                assert!(known.is_answered && !std::mem::replace(&mut known.has_ended, true), "{pool} ended twice");
            }
            ActorAction::Route { route, to } => {
                assert!(self.calls.remove(&route), "answered twice");
                let seen = &self.actors[&to.actor];
                assert!(seen.is_ready && seen.generation == to.generation);
                assert_eq!(seen.at.map(|at| at.0), Some(to.worker));
            }
            ActorAction::NoRoute { route, .. } => assert!(self.calls.remove(&route), "answered twice"),
            ActorAction::Warn(_) => {}
        }
    }

    fn check_capacity(&self, worker: WorkerId, shares: bool) {
        let here: Vec<(&Resources, &Seen)> = self
            .actors
            .iter()
            .filter(|(_, seen)| seen.at.is_some_and(|at| at.0 == worker))
            .map(|(id, seen)| (&self.pools[&id.pool].request.need, seen))
            .collect();
        let sum = |amounts: Vec<Share>| amounts.into_iter().fold(Share::ZERO, Share::plus);
        let cpus = sum(here.iter().map(|(need, _)| need.cpus).collect());
        assert!(shares || cpus <= self.capacity.cpus, "{worker} has too many CPUs promised");
        let memory: u64 = here.iter().map(|(need, _)| need.memory_bytes).sum();
        assert!(memory <= self.capacity.memory_bytes, "{worker} has too much memory promised");
        for (device, all) in (0..).zip(self.capacity.devices()) {
            let of_device = here.iter().filter(|(_, seen)| seen.devices.contains(&device));
            let promised = sum(of_device.map(|(need, _)| need.gpus.min(Share::ONE)).collect());
            assert!(promised <= all, "{worker} has GPU {device} promised twice");
        }
        for (need, seen) in here {
            let count = if need.gpus == Share::ZERO { 0 } else { need.gpus.whole().max(1) };
            assert_eq!(seen.devices.len() as u64, count);
        }
    }

    fn check_rest(&mut self) {
        assert!(self.is_closed || self.session.next_deadline().is_none_or(|due| due > self.now), "overdue");
        if self.is_closed {
            return;
        }
        for worker in (0..WORKERS).map(w) {
            let here = self.actors.values().filter(|seen| seen.at.is_some_and(|at| at.0 == worker)).count();
            let view = self.session.worker(worker).unwrap();
            assert_eq!(view.holds, here as u64, "holds of {worker}");
            let is_idle = view.phase == WorkerPhase::Ready && here == 0;
            let waits = self.session.actors().pools.values().any(|pool| pool.waiting() > 0);
            assert!(!(is_idle && waits), "{worker} is empty while actors wait");
        }
        let [pools, placed, _, calls] = self.session.actor_counts();
        assert_eq!(pools, self.pools.values().filter(|known| !known.has_ended).count());
        assert_eq!(placed, self.actors.values().filter(|seen| seen.at.is_some()).count());
        assert_eq!(calls, self.calls.len());
    }

    /// The next good step of a worker.
    fn step(&mut self, worker: WorkerId) {
        let view = self.session.worker(worker).unwrap();
        let (launch, phase) = (view.launch, view.phase);
        match phase {
            WorkerPhase::Starting => {
                let host = |port: u16| format!("{worker}:{port}").into();
                let addresses = Addresses { control: host(7777), data: host(7778), peer: host(7778) };
                self.tell(Event::Started { worker, launch, addresses });
            }
            WorkerPhase::Connecting => self.connect(worker, launch),
            WorkerPhase::Leaving => self.exit(worker, ExitCause::Infrastructure),
            _ => {}
        }
    }

    fn connect(&mut self, worker: WorkerId, launch: LaunchId) {
        self.incarnations += 1;
        let incarnation = Incarnation::from(self.incarnations.to_string());
        self.tell(Event::Connected { worker, launch, incarnation });
    }

    fn exit(&mut self, worker: WorkerId, cause: ExitCause) {
        let launch = self.session.worker(worker).unwrap().launch;
        self.tell(Event::Exited { worker, launch, reason: "a blow".to_owned(), restartable: true, cause });
    }

    fn start(&mut self, a: u8, b: u8) {
        let gpus = [0.0, 0.0, 0.5, 0.25, 1.0, 2.0][usize::from(b % 6)];
        let need = Resources::of_actor([0.0, 0.5, 1.0, 2.0][usize::from(a % 4)], gpus, f64::from(a) * 1000.0).unwrap();
        let request = ActorRequest {
            count: u32::from(b / 6 % 5) + 1,
            need,
            start_timeout: secs(u64::from(a % 60) + 1),
            is_stateless: !b.is_multiple_of(5),
            shares_cpus: !a.is_multiple_of(3),
            ..request(1)
        };
        let pool = p(self.pools.len() as u64);
        self.pools.insert(pool, Known { request: request.clone(), is_answered: false, has_ended: false, tasks: 0 });
        self.actor(ActorEvent::Start { pool, request });
    }

    /// News of an actor: of its present place, or of an old one.
    fn tell_news(&mut self, kind: u8, which: u8, back: u32) {
        let count = self.actors.len().max(1);
        let Some((actor, seen)) = self.actors.iter().nth(usize::from(which) % count) else { return };
        let (actor, generation) = (*actor, seen.generation.saturating_sub(back));
        let worker = seen.at.map_or(w(u32::from(which) % WORKERS), |at| at.0);
        let reason: Arc<str> = "so it was".into();
        let news = match kind % 8 {
            0..=3 => ActorNews::Ready { address: "h:7777".into() },
            4 | 5 => ActorNews::Killed { reason },
            6 => ActorNews::Late { reason },
            _ => ActorNews::Failed { reason, error: [].into() },
        };
        self.actor(ActorEvent::News { actor, generation, worker, news });
    }

    fn act(&mut self, (kind, a, b, wait): (u8, u8, u8, u16)) {
        self.now += Duration::from_millis(u64::from(wait));
        let worker = w(u32::from(a) % WORKERS);
        let pool = p(u64::from(b) % (self.pools.len() as u64 + 1));
        let query = || format!("q{}", u64::from(a) % 4);
        match kind % 32 {
            0..=2 => self.start(a, b),
            3..=8 => self.step(worker),
            9..=14 => self.tell_news(a, b, u32::from(a > 230)),
            15 => {
                let causes = [ExitCause::Crash, ExitCause::OutOfMemory, ExitCause::Infrastructure];
                self.exit(worker, causes[usize::from(b % 3)]);
            }
            16 => {
                let launch = self.session.worker(worker).unwrap().launch;
                self.tell(Event::Leaving { worker, launch });
            }
            17 if b > 200 => {
                let view = self.session.worker(worker).unwrap();
                if view.phase == WorkerPhase::Ready {
                    let launch = view.launch;
                    self.connect(worker, launch);
                }
            }
            17 if b > 100 => self.tell(Event::SetDesired(WORKERS - u32::from(b) % 2)),
            17 => self.tell(Event::SetDesired(WORKERS)),
            18 => {
                self.begun += 1;
                self.queries.insert(u64::from(a) % 4);
                self.tell(Event::QueryBegan(query().as_str().into()));
            }
            19 => {
                self.queries.remove(&(u64::from(a) % 4));
                self.tell(Event::QueryEnded(query().as_str().into()));
            }
            20 | 21 => {
                if let Some(known) = self.pools.get_mut(&pool).filter(|known| !known.has_ended) {
                    known.tasks += 1;
                }
                self.actor(ActorEvent::Bind { query: query().as_str().into(), pools: vec![pool] });
            }
            22 | 23 => {
                if let Some(known) = self.pools.get_mut(&pool).filter(|known| known.tasks > 0) {
                    known.tasks -= 1;
                    self.actor(ActorEvent::Release(vec![pool]));
                }
            }
            24 => self.actor(ActorEvent::Retire(pool)),
            25 if b > 128 => self.actor(ActorEvent::End(pool)),
            26 | 27 => {
                self.asked += 1;
                let route = RouteId(self.asked);
                self.calls.insert(route);
                let wanted = Some(u32::from(a % 4)).filter(|_| a > 20);
                let failed = if b > 128 { vec![(ActorId { pool, number: u32::from(a % 4) }, 1)] } else { vec![] };
                self.actor(ActorEvent::Find { route, pool, wanted, failed });
            }
            _ => {
                self.now = self.session.next_deadline().unwrap_or(self.now).max(self.now);
                self.tell(Event::Tick);
            }
        }
    }

    /// Lets time pass until nothing is due any more, or as long as that.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.next_deadline().filter(|due| *due <= end) {
            self.now = due;
            self.tell(Event::Tick);
        }
        self.now = end;
    }

    fn assert_all_is_answered(&self) {
        assert!(self.pools.values().all(|known| known.is_answered), "starts wait for ever");
        assert!(self.calls.is_empty(), "calls wait for ever");
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0u16..400), 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_request_is_answered_in_time_whatever_happens_and_no_hold_is_left(steps in steps(), elastic: bool) {
        let mut observer = Observer::new(elastic);
        for step in steps {
            observer.act(step);
        }
        observer.pass(secs(200));
        observer.assert_all_is_answered();
        for pool in observer.pools.keys().copied().collect::<Vec<_>>() {
            observer.actor(ActorEvent::End(pool));
        }
        for query in 0..4 {
            observer.tell(Event::QueryEnded(format!("q{query}").as_str().into()));
        }
        prop_assert!(observer.pools.values().all(|known| known.has_ended));
        prop_assert_eq!(observer.session.actor_counts(), [0; 4]);
        for worker in (0..WORKERS).map(w) {
            prop_assert_eq!(observer.session.worker(worker).unwrap().holds, 0);
        }
    }

    #[test]
    fn all_actors_that_fit_start_when_all_goes_well_at_last(steps in steps(), elastic: bool) {
        let mut observer = Observer::new(elastic);
        for step in steps {
            observer.act(step);
        }
        for pool in observer.pools.keys().copied().collect::<Vec<_>>() {
            observer.actor(ActorEvent::End(pool));
        }
        observer.tell(Event::SetDesired(WORKERS));
        let pool = p(observer.pools.len() as u64);
        let request = ActorRequest { start_timeout: secs(1000), ..with_need(5, 1.0, 0.25) };
        observer.pools.insert(pool, Known { request: request.clone(), is_answered: false, has_ended: false, tasks: 0 });
        observer.actor(ActorEvent::Start { pool, request });
        for _ in 0..100 {
            if observer.pools[&pool].is_answered {
                break;
            }
            (0..WORKERS).for_each(|index| observer.step(w(index)));
            let placed: Vec<(ActorId, u32, WorkerId)> = observer
                .actors
                .iter()
                .filter_map(|(actor, seen)| Some((*actor, seen.generation, seen.at?.0)))
                .collect();
            for (actor, generation, worker) in placed {
                let news = ActorNews::Ready { address: "h:7777".into() };
                observer.actor(ActorEvent::News { actor, generation, worker, news });
            }
            observer.pass(Duration::from_millis(500));
        }
        prop_assert_eq!(observer.session.ready_actors(pool).map(|actors| actors.len()), Some(5));
    }

    #[test]
    fn every_request_is_answered_once_at_shutdown(steps in steps(), late in steps()) {
        let mut observer = Observer::new(false);
        for step in steps {
            observer.act(step);
        }
        observer.is_closed = true;
        observer.tell(Event::Shutdown);
        observer.assert_all_is_answered();
        for (_, a, b, _) in late {
            observer.start(a, b);
            observer.tell_news(a, b, 0);
        }
        observer.assert_all_is_answered();
        prop_assert!(observer.pools.values().all(|known| known.has_ended));
    }
}
