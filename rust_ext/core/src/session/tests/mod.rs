//! Covers every rule of the session's tables by a sentence, and its invariants under random events. Workers:
//! `lifecycle`, `addresses`, `mending` (given up and tried again), `stuck` (their slots are held), `postponed` (without
//! room), `scaling` (their number; some of it in a `world` where starts and tasks take time), `silence` (the failure
//! detector). Tasks: `attempts`, `refusals`. Partitions: `slots`, and `recovery` of lost ones, in `recovered_graphs` with
//! random data and losses. Random events: `properties`, checked by an `observer`, and what they leave in the `journal`.
//! Does not cover anything that does I/O.

mod addresses;
mod attempts;
mod journal;
mod lifecycle;
mod mending;
mod observed_slots;
mod observed_state;
mod observer;
mod postponed;
mod properties;
mod recovered_graphs;
mod recovery;
mod refusals;
mod scaling;
mod silence;
mod slots;
mod stuck;
mod world;

use std::time::Duration;

use super::*;
use crate::actors::Share;
use crate::ids::{Attempt, Incarnation, LaunchId};
use crate::{ActorAction, ActorEvent, ActorId, ActorNews, ActorPoolId, ActorRequest, Resources};
use crate::{Addresses, Determinism, Kept, Location, Output, SlotId, TaskPhase, WorkerPhase};

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn w(index: u32) -> WorkerId {
    WorkerId(index)
}

const fn s(task: u64, slot: u32) -> SlotId {
    SlotId { task: t(task), slot }
}

const fn t(number: u64) -> TaskId {
    TaskId(number)
}

/// A task of the one query, which reads nothing.
fn submission(task: TaskId, prefer: WorkerId) -> Event {
    unrepeatable(task, prefer, "q", vec![])
}

/// A task that is never run again for its outputs.
fn unrepeatable(task: TaskId, prefer: WorkerId, query: &str, inputs: Vec<SlotId>) -> Event {
    let determinism = Determinism::Unrepeatable;
    Event::Submit { task, prefer, query: query.into(), inputs: inputs.into(), determinism, kept: Kept::own(0) }
}

/// A pool of actors with 1 CPU each, which is all that a worker of `small()` has.
fn actors_of(pool: u64, count: u32) -> Event {
    let request = ActorRequest {
        name: "UDF f".into(),
        count,
        need: Resources { cpus: Share::ONE, ..Resources::default() },
        start_timeout: secs(100_000),
        is_stateless: true,
        shares_cpus: true,
    };
    Event::Actor(ActorEvent::Start { pool: ActorPoolId(pool), request })
}

/// So many outputs in the worker's store, which have rows.
fn outputs(count: u64) -> Vec<Output> {
    (0..u32::try_from(count).unwrap())
        .map(|slot| Output { slot, num_rows: 1, fingerprint: None, is_stored: true })
        .collect()
}

/// The addresses of a worker on this host.
fn at(host: &str) -> Addresses {
    let (control, data) = (format!("{host}:7777").into(), format!("{host}:7778").into());
    Addresses { control, data, peer: format!("{host}.peers:7778").into() }
}

fn small() -> PoolConfig {
    PoolConfig {
        slots_per_worker: 1,
        queue_ahead: 1,
        start_timeout: secs(60),
        max_task_attempts: 3,
        max_worker_restarts: 2,
        ..PoolConfig::default()
    }
}

/// A session with a clock that stands still until it is told to go on.
struct Stage {
    pool: Session,
    now: Duration,
}

impl Stage {
    fn new(config: PoolConfig) -> Self {
        Self { pool: Session::new(config), now: Duration::ZERO }
    }

    /// A session of `small()` whose `count` workers are ready.
    fn ready(count: u32) -> Self {
        Self::ready_with(small(), count)
    }

    fn ready_with(config: PoolConfig, count: u32) -> Self {
        let mut stage = Self::new(config);
        stage.tell(Event::SetDesired(count));
        for index in 0..count {
            stage.come_up(w(index));
        }
        stage
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.pool.handle(event, self.now)
    }

    /// Lets time pass to the next deadline, which must be there.
    fn tick(&mut self) -> Vec<Action> {
        self.now = self.pool.next_deadline().expect("something is due");
        self.tell(Event::Tick)
    }

    fn launch(&self, worker: WorkerId) -> LaunchId {
        self.pool.worker(worker).expect("a known worker").launch
    }

    fn phase(&self, worker: WorkerId) -> WorkerPhase {
        self.pool.worker(worker).expect("a known worker").phase
    }

    fn start(&mut self, worker: WorkerId) -> Vec<Action> {
        let launch = self.launch(worker);
        let addresses = at(&format!("{worker}"));
        self.tell(Event::Started { worker, launch, addresses })
    }

    fn connect(&mut self, worker: WorkerId, incarnation: &str) -> Vec<Action> {
        let launch = self.launch(worker);
        self.tell(Event::Connected { worker, launch, incarnation: incarnation.into() })
    }

    fn come_up(&mut self, worker: WorkerId) -> Vec<Action> {
        self.start(worker);
        let incarnation = format!("{worker}/{}", self.launch(worker));
        self.connect(worker, &incarnation)
    }

    /// Lets a worker that restarts come up.
    fn come_up_again(&mut self, worker: WorkerId) {
        while self.phase(worker) == WorkerPhase::Restarting {
            self.tick();
        }
        self.come_up(worker);
    }

    fn exit(&mut self, worker: WorkerId, reason: &str) -> Vec<Action> {
        self.exit_by(worker, reason, ExitCause::Crash)
    }

    fn exit_by(&mut self, worker: WorkerId, reason: &str, cause: ExitCause) -> Vec<Action> {
        let launch = self.launch(worker);
        self.tell(Event::Exited { worker, launch, reason: reason.to_owned(), restartable: true, cause })
    }

    fn unreachable(&mut self, worker: WorkerId, reason: &str) -> Vec<Action> {
        let (launch, reason) = (self.launch(worker), reason.to_owned());
        self.tell(Event::Unreachable { worker, launch, reason })
    }

    /// The allocator says that another start would not help.
    fn refuse_start(&mut self, worker: WorkerId, reason: &str) -> Vec<Action> {
        let (launch, reason, cause) = (self.launch(worker), reason.to_owned(), ExitCause::NeverStarted);
        self.tell(Event::Exited { worker, launch, reason, restartable: false, cause })
    }

    fn submit(&mut self, task: u64, prefer: u32) -> Vec<Action> {
        self.tell(submission(t(task), w(prefer)))
    }

    /// The place of a task, which must be at a worker.
    fn place(&self, task: u64) -> (WorkerId, LaunchId, Attempt) {
        match self.pool.task(t(task)).expect("a task that is not over").phase {
            TaskPhase::Sent { worker, launch, attempt, .. } => (worker, launch, attempt),
            other => panic!("task {task} is {other:?}"),
        }
    }

    fn succeed(&mut self, task: u64) -> Vec<Action> {
        let (worker, launch, attempt) = self.place(task);
        self.tell(Event::Succeeded { task: t(task), worker, launch, attempt, outputs: vec![] })
    }

    fn bounce(&mut self, task: u64) -> Vec<Action> {
        let (worker, launch, attempt) = self.place(task);
        let reason = "memory at 97 %".to_owned();
        self.tell(Event::Bounced { task: t(task), worker, launch, attempt, reason })
    }

    fn start_actors(&mut self, pool: u64, count: u32) -> Vec<Action> {
        self.tell(actors_of(pool, count))
    }

    /// As [`Self::start_actors`]; there is room for all, and they come up.
    fn host_actors(&mut self, pool: u64, count: u32) {
        for action in self.start_actors(pool, count) {
            if let Action::Actor(ActorAction::Construct { actor, generation, worker, .. }) = action {
                let news = ActorNews::Ready { address: "h:7777".into() };
                self.tell(Event::Actor(ActorEvent::News { actor, generation, worker, news }));
            }
        }
        assert_eq!(self.pool.ready_actors(ActorPoolId(pool)).map(|actors| actors.len()), Some(count as usize));
    }

    fn end_actors(&mut self, pool: u64) -> Vec<Action> {
        self.tell(Event::Actor(ActorEvent::End(ActorPoolId(pool))))
    }

    fn worker_cancels(&mut self, task: u64) -> Vec<Action> {
        let (worker, launch, attempt) = self.place(task);
        self.tell(Event::TaskCancelled { task: t(task), worker, launch, attempt })
    }
}

fn send(task: u64, attempt: u32, worker: u32, launch: u64) -> Action {
    let (worker, launch) = (w(worker), LaunchId(launch));
    Action::Send { task: t(task), attempt: Attempt(attempt), worker, launch }
}

fn launch(worker: u32, launch: u64) -> Action {
    Action::Launch { worker: w(worker), launch: LaunchId(launch) }
}

fn stop(worker: u32, launch: u64, reason: &str) -> Action {
    Action::Stop { worker: w(worker), launch: LaunchId(launch), force: false, reason: reason.into() }
}

fn disconnect(worker: u32, launch: u64) -> Action {
    Action::Disconnect { worker: w(worker), launch: LaunchId(launch) }
}

fn lost(worker: u32, launch: u64, incarnation: &str, reason: &str) -> Action {
    let incarnation = Incarnation::from(incarnation);
    let (worker, launch) = (w(worker), LaunchId(launch));
    Action::WorkerLost { worker, launch, incarnation, reason: reason.into(), orderly: false, partitions: 0 }
}

/// The session releases a worker.
fn released(worker: u32, launch: u64, incarnation: &str, reason: &str) -> Action {
    let incarnation = Incarnation::from(incarnation);
    let (worker, launch) = (w(worker), LaunchId(launch));
    Action::WorkerLost { worker, launch, incarnation, reason: reason.into(), orderly: true, partitions: 0 }
}

fn ready(worker: u32, launch: u64, incarnation: &str) -> Action {
    let incarnation = Incarnation::from(incarnation);
    Action::WorkerReady { worker: w(worker), launch: LaunchId(launch), incarnation }
}

fn cancelled(task: u64) -> Action {
    Action::Cancelled { task: t(task) }
}

/// The one failure among the actions.
fn failure(actions: &[Action]) -> (TaskId, FailKind, String) {
    let mut failures = actions.iter().filter_map(|action| match action {
        Action::FailTask { task, kind, message } => Some((*task, *kind, message.to_string())),
        _ => None,
    });
    let failure = failures.next().expect("a failed task");
    assert_eq!(failures.next(), None, "only one failed task");
    failure
}

/// The workers that are launched by the actions.
fn launched(actions: &[Action]) -> Vec<u32> {
    actions
        .iter()
        .filter_map(|action| if let Action::Launch { worker, .. } = action { Some(worker.0) } else { None })
        .collect()
}
