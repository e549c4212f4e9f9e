//! The actors of a session: pools of them, their places at workers, and the routes of calls to them.
//!
//! The actors read of the [`Fleet`] only which workers are ready, and their present launch. A worker that hosts an actor is
//! held, as by a partition in use, and an elastic pool of workers grows for actors that wait for room; the
//! [`Session`](crate::Session) passes on both. A start that reaches a worker, and the constructor there, are the worker's.
//!
//! # Actors
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | waiting | `Start`; a lost place below the cap | room at a ready worker: `Construct` → starting |
//! | starting | `Construct` | `Ready` → ready; killed, or its worker lost to a crash or for memory → waiting, or failed at the cap; its worker lost otherwise → waiting; `Failed`, `Late` after the start of the pool → failed |
//! | ready | `Ready` | its worker lost → waiting, or failed at the cap; `Failed` → failed |
//! | failed | | its pool retires and comes back: waiting |
//!
//! Each place of an actor has a generation. News of an older one is ignored, and a copy that comes up with an older one
//! is stopped (`Stop`). A worker that is drained or preempted, or whose node is lost, is no fault of a constructor that ran
//! there: such a loss is free of charge. An actor of a pool that has a state of its own (not `is_stateless`) is replaced
//! only while the pool starts.
//!
//! # Pools
//!
//! | phase | entered by | left by |
//! |---|---|---|
//! | starting | `Start` | all actors ready, or the time-out with at least one: `Started` → running; an actor failed, the time-out with none, no worker can come up: `NotStarted` → ended |
//! | running | `Started` | `Retire`, and the last task that uses it ends → retired, or ended if it cannot come back |
//! | retired | all its actors were stopped | a call of a task: → running, all actors are placed anew |
//! | ended | its query ended, `End`, or a failed start: `Stop` for each actor, `Ended` | |
//!
//! Invariant: an actor has a place if and only if it is starting or ready, and then holds the worker of that place.
//!
//! Invariant: every `Start` is answered by one `Started` or `NotStarted`, every `Find` by one `Route` or `NoRoute`.

mod event;
mod lifecycle;
mod owners;
mod placement;
mod pool;
mod request;
mod resources;
mod routes;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::fleet::{ExitCause, Fleet};
use crate::ids::{ActorId, ActorPoolId, QueryId, WorkerId};
use crate::session::turn::{Timer, Turn};
use crate::{Action, PoolConfig};
use owners::Owners;
use placement::{Candidate, Placement, most_per_worker};
use pool::{Actor, ActorState, MAX_CONSTRUCTIONS_AGAIN, Place, Pool};
use routes::Routes;

pub use event::{ActorAction, ActorEvent, ActorNews, ActorRoute};
pub use request::{ActorFailure, ActorRequest, NeverFits};
pub use resources::{InvalidResources, Resources, Share};

const SHUT_DOWN: &str = "the session was shut down, and with it all actors are gone";

/// All actors of a session.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    /// In the order in which they were asked for, which is that in which they get room.
    pools: BTreeMap<ActorPoolId, Pool>,
    placement: Placement,
    owners: Owners,
    routes: Routes,
    /// Pools of which something changed that may end their start, or answer a call.
    changed: BTreeSet<ActorPoolId>,
    /// True if there may be room for actors that had none.
    may_have_room: bool,
    /// The state of the fleet that was looked at last.
    seen: u64,
}

impl Actors {
    /// The number of actors at the worker's present process.
    pub fn held_at(&self, worker: WorkerId) -> u64 {
        self.placement.count_at(worker) as u64
    }

    /// The numbers of pools, of placed actors, of queries and of calls that wait, for the tests of growth.
    pub fn sizes(&self) -> [usize; 4] {
        [self.pools.len(), self.placement.len(), self.owners.len(), self.routes.len()]
    }

    /// The number of pools that start, each of which has a timer.
    #[cfg(test)]
    pub fn starting(&self) -> usize {
        self.pools.values().filter(|pool| pool.is_starting()).count()
    }

    /// The actors of a pool that take calls; `None` if the pool has ended.
    pub fn ready(&self, pool: ActorPoolId) -> Option<Vec<ActorId>> {
        let pool = self.pools.get(&pool)?;
        Some(pool.actors.iter().filter(|actor| actor.is_ready()).map(|actor| actor.id).collect())
    }

    /// True if the actor takes calls and still is at the place of this generation.
    pub fn is_at(&self, actor: ActorId, generation: u32) -> bool {
        let actor = self.pools.get(&actor.pool).and_then(|pool| pool.find(actor.number));
        actor.is_some_and(|actor| actor.is_ready() && actor.generation == generation)
    }

    /// A query begins, to which pools that start from now on may belong.
    pub fn begin_query(&mut self, query: &QueryId) {
        self.owners.begin(query.clone());
    }

    /// A query has ended, and its pools with it.
    pub fn end_query(&mut self, turn: &mut Turn, query: &QueryId) {
        for pool in self.owners.end(query) {
            self.end(turn, pool, None);
        }
    }

    pub fn handle(&mut self, turn: &mut Turn, fleet: &Fleet, event: &ActorEvent) {
        match *event {
            ActorEvent::Start { pool, ref request } => self.start(turn, fleet, pool, request.clone()),
            ActorEvent::News { actor, generation, worker, ref news } => {
                self.take_news(turn, fleet, actor, generation, worker, news.clone());
            }
            ActorEvent::Find { route, pool, wanted, ref failed } => {
                self.routes.add(turn, route, pool, wanted, failed.clone());
                self.changed.insert(pool);
            }
            ActorEvent::Bind { ref query, ref pools } => self.bind(turn, query, pools),
            ActorEvent::Release(ref pools) => {
                for &pool in pools {
                    if let Some(record) = self.pools.get_mut(&pool) {
                        record.unfinished_tasks = record.unfinished_tasks.saturating_sub(1);
                        self.retire_if_unused(turn, pool);
                    }
                }
            }
            ActorEvent::Retire(pool) => {
                if let Some(record) = self.pools.get_mut(&pool) {
                    record.dropped = true;
                    self.retire_if_unused(turn, pool);
                }
            }
            ActorEvent::End(pool) => self.end(turn, pool, None),
        }
    }

    /// A timer of a pool or of a call.
    pub fn due(&mut self, timer: Timer) {
        match timer {
            Timer::ActorPool(pool) => self.changed.extend(Some(pool)),
            Timer::ActorRoute(route) => self.changed.extend(self.routes.pool_of(route)),
            _ => {}
        }
    }

    /// The worker's present process is lost, and its actors with it.
    pub fn lose_worker(&mut self, turn: &mut Turn, worker: WorkerId, reason: &Arc<str>, cause: ExitCause) {
        for id in self.placement.remove_worker(worker) {
            let Some(pool) = self.pools.get_mut(&id.pool) else { continue };
            let may_move = pool.is_starting() || pool.request.is_stateless;
            let Some(actor) = pool.find_mut(id.number) else { continue };
            let reason: Arc<str> = format!("{worker} was lost: {reason}").into();
            match actor.state {
                // With its container, perhaps, for what it took itself.
                ActorState::Starting(_) if cause.charges() => killed(turn, pool, id.number, reason),
                ActorState::Starting(_) => actor.interrupted(reason),
                _ => actor.moved(reason, may_move),
            }
            self.changed.insert(id.pool);
            self.may_have_room = true;
        }
    }

    /// Places actors that wait, ends starts and answers calls, as far as that can be done by now.
    pub fn settle(&mut self, turn: &mut Turn, fleet: &Fleet) {
        if self.seen != fleet.changes() {
            self.seen = fleet.changes();
            self.may_have_room = true;
        }
        loop {
            if std::mem::take(&mut self.may_have_room) {
                self.place_waiting(turn, fleet);
            }
            match self.changed.pop_first() {
                Some(pool) => {
                    self.conclude_start(turn, pool);
                    self.answer_calls(turn, pool);
                }
                None if self.may_have_room => {}
                None => break,
            }
        }
    }

    /// True if [`Self::settle`] would do nothing.
    pub fn is_settled(&self, fleet: &Fleet) -> bool {
        self.pools.is_empty() || (self.seen == fleet.changes() && !self.may_have_room && self.changed.is_empty())
    }

    /// The number of workers that there must be for the actors that wait as well; 0 if none waits. There is no room for
    /// them on those that are ready.
    pub fn workers_needed(&self, config: &PoolConfig, fleet: &Fleet) -> u32 {
        let more = |pool: &Pool| {
            let waiting = u32::try_from(pool.waiting()).unwrap_or(u32::MAX);
            let each = most_per_worker(&config.worker_resources, &pool.request.need, waiting);
            if each == 0 { 0 } else { waiting.div_ceil(each) }
        };
        let more = self.pools.values().map(more).fold(0, u32::saturating_add);
        let ready = || u32::try_from(fleet.ready_workers().count()).unwrap_or(u32::MAX);
        if more == 0 { 0 } else { ready().saturating_add(more) }
    }

    /// Ends the session: every start and every call is answered. The actors end with their workers.
    pub fn shut_down(&mut self, turn: &mut Turn) {
        self.placement = Placement::default();
        self.owners = Owners::default();
        self.changed.clear();
        for (id, pool) in std::mem::take(&mut self.pools) {
            if pool.is_starting() {
                turn.push(Action::Actor(ActorAction::NotStarted { pool: id, failure: ActorFailure::Closed }));
            }
            turn.push(Action::Actor(ActorAction::Ended(id)));
        }
        self.routes.shut_down(turn);
    }

    /// The answer to an event that comes after the end of the session.
    pub fn after_shutdown(turn: &mut Turn, event: &ActorEvent) {
        match event {
            ActorEvent::Start { pool, .. } => {
                turn.push(Action::Actor(ActorAction::NotStarted { pool: *pool, failure: ActorFailure::Closed }));
                turn.push(Action::Actor(ActorAction::Ended(*pool)));
            }
            ActorEvent::Find { route, .. } => {
                let message = SHUT_DOWN.to_owned();
                turn.push(Action::Actor(ActorAction::NoRoute { route: *route, message }));
            }
            _ => {}
        }
    }

    fn take_news(
        &mut self,
        turn: &mut Turn,
        fleet: &Fleet,
        id: ActorId,
        generation: u32,
        worker: WorkerId,
        news: ActorNews,
    ) {
        let pool = self.pools.get_mut(&id.pool);
        let is_here = |actor: &&Actor| {
            actor.generation == generation && actor.place().is_some_and(|place| place.worker == worker)
        };
        let Some(pool) = pool.filter(|pool| pool.find(id.number).as_ref().is_some_and(is_here)) else {
            if matches!(news, ActorNews::Ready { .. }) {
                // Its start reached the next process of a worker before the news came that the one before was lost. The
                // actor is elsewhere now, or not wanted at all, and nothing else would stop this copy.
                stop(turn, fleet, id, generation, worker);
            }
            return;
        };
        let is_starting = pool.is_starting();
        let Some(actor) = pool.find_mut(id.number) else { return };
        match news {
            ActorNews::Ready { address } => {
                if let ActorState::Starting(place) = actor.state {
                    actor.state = ActorState::Ready { place, address };
                }
            }
            // The pool's own time-out is about to tell what that means.
            ActorNews::Late { reason } if is_starting => actor.reason = reason,
            ActorNews::Killed { reason } => {
                stop(turn, fleet, id, generation, worker);
                killed(turn, pool, id.number, reason);
                self.release(turn, worker, id);
            }
            ActorNews::Late { reason } => {
                stop(turn, fleet, id, generation, worker);
                (actor.state, actor.reason) = (ActorState::Failed, reason);
                self.release(turn, worker, id);
            }
            ActorNews::Failed { reason, error } => {
                stop(turn, fleet, id, generation, worker);
                (actor.state, actor.reason, actor.error) = (ActorState::Failed, reason, error);
                self.release(turn, worker, id);
            }
        }
        self.changed.insert(id.pool);
    }

    /// Gives room to actors that wait, pools in the order in which they came.
    fn place_waiting(&mut self, turn: &mut Turn, fleet: &Fleet) {
        if self.pools.values().all(|pool| pool.waiting() == 0) {
            return;
        }
        let capacity = turn.config.worker_resources;
        let candidate = |(worker, is_stuck)| Candidate { worker, capacity, is_last: is_stuck };
        let ready: Vec<Candidate> = fleet.ready_workers().map(candidate).collect();
        for pool in self.pools.values_mut().filter(|pool| !pool.is_retired()) {
            for index in 0..pool.actors.len() {
                if !pool.actors[index].is_waiting() {
                    continue;
                }
                let placed = place(&mut self.placement, &ready, pool, index);
                let Some((worker, devices)) = placed else {
                    // The others of the pool need as much.
                    break;
                };
                let launch = fleet.launch_of(worker);
                let actor = &mut pool.actors[index];
                actor.generation += 1;
                actor.last_worker = Some(worker);
                actor.state = ActorState::Starting(Place { worker, launch });
                let (actor, generation) = (actor.id, actor.generation);
                turn.push(Action::Actor(ActorAction::Construct { actor, generation, worker, launch, devices }));
                turn.touch(worker);
            }
        }
    }

    fn answer_calls(&mut self, turn: &mut Turn, id: ActorPoolId) {
        if !self.routes.is_any_for(id) {
            return;
        }
        let pool = self.pools.get_mut(&id);
        if let Some(pool) = pool.filter(|pool| pool.is_retired() && pool.unfinished_tasks > 0) {
            pool.revive();
            self.may_have_room = true;
            self.changed.insert(id);
        }
        self.routes.answer(turn, id, self.pools.get_mut(&id));
    }

    fn release(&mut self, turn: &mut Turn, worker: WorkerId, actor: ActorId) {
        if !self.placement.release(worker, actor) {
            let message = format!("{actor} was released at {worker}, which does not host it");
            turn.push(Action::Defect { message: message.into() });
        }
        self.may_have_room = true;
        turn.touch(worker);
    }
}

/// Finds a place for an actor of the pool and takes it.
fn place(placement: &mut Placement, ready: &[Candidate], pool: &Pool, index: usize) -> Option<(WorkerId, Vec<u32>)> {
    let (actor, need) = (&pool.actors[index], &pool.request.need);
    let avoided: Vec<Candidate>;
    let candidates = match actor.avoided {
        None => ready,
        Some(worker) => {
            let is_last = |candidate: &Candidate| candidate.is_last || candidate.worker == worker;
            avoided = ready.iter().map(|candidate| Candidate { is_last: is_last(candidate), ..*candidate }).collect();
            &avoided
        }
    };
    let own = placement.place(candidates, actor.id, need, false);
    if own.is_some() || !pool.request.shares_cpus || !pool.has_no_place() {
        return own;
    }
    // A pool without any actor might wait for ever for one that waits for it: two UDFs of one plan. CPUs are shared with
    // tasks in any case, so the first actor may share them with other actors.
    placement.place(candidates, actor.id, need, true)
}

/// An actor, or its worker, was killed in its constructor.
fn killed(turn: &mut Turn, pool: &mut Pool, number: u32, reason: Arc<str>) {
    let Some(actor) = pool.find_mut(number) else { return };
    if actor.killed(reason.clone())
        && let Some(actor) = pool.find(number)
    {
        let (label, kills) = (pool.label(actor), actor.kills());
        let message = format!("{label} is started again ({kills} of {MAX_CONSTRUCTIONS_AGAIN}): {reason}");
        turn.push(Action::Actor(ActorAction::Warn(message)));
    }
}

/// Has the worker's present process stop this generation of an actor, or an earlier one.
fn stop(turn: &mut Turn, fleet: &Fleet, actor: ActorId, generation: u32, worker: WorkerId) {
    if fleet.get(worker).is_some_and(|record| record.link().is_some()) {
        let launch = fleet.launch_of(worker);
        turn.push(Action::Actor(ActorAction::Stop { actor, generation, worker, launch }));
    }
}
