//! Actors: what the core decides about them is passed on to workers, to the owners of pools and to callers.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use daft_k8s_control::proto::StartActorRequest;
use daft_k8s_core::{
    ActorAction, ActorEvent, ActorFailure, ActorId, ActorNews, ActorPoolId, ActorRequest, ActorRoute, Event, RouteId,
    WorkerId, actors::NeverFits,
};

use super::{Driver, Inner, State, link::Link};

/// Takes the actors with which a pool goes on, or the reason why it did not start.
pub type PoolStarted = Box<dyn FnOnce(Result<Vec<ActorId>, ActorFailure>) + Send>;

/// Takes the place that a call goes to, or the reason why there is none, for people.
pub type CallRouted = Box<dyn FnOnce(Result<ActorRoute, String>) + Send>;

/// A pool of actors that has not ended.
struct Pool {
    /// The parts of each actor, or one for all, as Python has pickled them.
    specs: Vec<Bytes>,
    /// Set while its owner waits for its start.
    on_start: Option<PoolStarted>,
}

/// The owners and callers that wait, and what workers need to construct actors.
#[derive(Default)]
pub(super) struct Actors {
    pools: HashMap<ActorPoolId, Pool>,
    calls: HashMap<RouteId, CallRouted>,
    last_pool: u64,
    last_call: u64,
}

impl Actors {
    pub(super) fn pools(&self) -> usize {
        self.pools.len()
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.len()
    }

    fn spec_of(&self, actor: ActorId) -> Option<Bytes> {
        let specs = &self.pools.get(&actor.pool)?.specs;
        specs.get(actor.number as usize).or_else(|| specs.first()).cloned()
    }
}

impl Driver {
    /// Starts a pool of actors. `specs`: the parts of each actor, or one for all. `on_start` is called once, and must neither
    /// block nor call back into the driver.
    ///
    /// # Errors
    ///
    /// No worker could ever host a single one; `on_start` is not called.
    pub fn start_actors(
        &self,
        request: ActorRequest,
        specs: Vec<Bytes>,
        on_start: PoolStarted,
    ) -> Result<ActorPoolId, NeverFits> {
        let mut state = self.inner.state.lock();
        if !state.closed {
            state.core.admit_actors(&request)?;
        }
        state.actors.last_pool += 1;
        let pool = ActorPoolId(state.actors.last_pool);
        state.actors.pools.insert(pool, Pool { specs, on_start: Some(on_start) });
        self.inner.act(&mut state, Event::Actor(ActorEvent::Start { pool, request }), &mut None);
        Ok(pool)
    }

    /// A worker tells of one of its actors.
    pub fn actor_news(&self, worker: WorkerId, actor: ActorId, generation: u32, news: ActorNews) {
        self.inner.feed(Event::Actor(ActorEvent::News { actor, generation, worker, news }));
    }

    /// A task on a worker looks for an actor to call. `on_route` is called once, and must neither block nor call back into
    /// the driver.
    pub fn find_actor(
        &self,
        pool: ActorPoolId,
        wanted: Option<u32>,
        failed: Vec<(ActorId, u32)>,
        on_route: CallRouted,
    ) {
        let mut state = self.inner.state.lock();
        state.actors.last_call += 1;
        let route = RouteId(state.actors.last_call);
        state.actors.calls.insert(route, on_route);
        self.inner.act(&mut state, Event::Actor(ActorEvent::Find { route, pool, wanted, failed }), &mut None);
    }

    /// True if the actor takes calls and still is at the place of this generation.
    pub fn is_actor_at(&self, actor: ActorId, generation: u32) -> bool {
        self.inner.state.lock().core.is_actor_at(actor, generation)
    }

    /// The actors of a pool that take calls; `None` if the pool has ended.
    pub fn ready_actors(&self, pool: ActorPoolId) -> Option<Vec<ActorId>> {
        self.inner.state.lock().core.ready_actors(pool)
    }

    /// A task of the query uses these pools, until [`Self::release_actors`].
    pub fn bind_actors(&self, query_id: &str, pools: Vec<ActorPoolId>) {
        self.inner.feed(Event::Actor(ActorEvent::Bind { query: query_id.into(), pools }));
    }

    /// A task that used these pools has ended.
    pub fn release_actors(&self, pools: Vec<ActorPoolId>) {
        self.inner.feed(Event::Actor(ActorEvent::Release(pools)));
    }

    /// Daft is done with a pool: its actors make room for others once no task is left to call them.
    pub fn retire_actors(&self, pool: ActorPoolId) {
        self.inner.feed(Event::Actor(ActorEvent::Retire(pool)));
    }

    /// Ends a pool for good.
    pub fn end_actors(&self, pool: ActorPoolId) {
        self.inner.feed(Event::Actor(ActorEvent::End(pool)));
    }
}

impl Inner {
    pub(super) fn perform_actor(self: &Arc<Self>, state: &mut State, action: ActorAction) {
        match action {
            ActorAction::Construct { actor, generation, worker, launch, devices } => {
                let link = state.links.get(&worker).filter(|link| link.process.launch == launch);
                if let (Some(link), Some(payload)) = (link, state.actors.spec_of(actor)) {
                    let actor_id = actor.to_string();
                    link.start_actor(StartActorRequest { actor_id, payload, generation, gpu_devices: devices });
                }
            }
            ActorAction::Stop { actor, generation, worker, launch } => {
                let is_its = |link: &&Link| link.process.launch == launch;
                if let Some(link) = state.links.get(&worker).filter(is_its) {
                    link.stop_actor(actor.to_string(), generation);
                }
            }
            ActorAction::Started { pool, actors } => answer(state, pool, Ok(actors)),
            ActorAction::NotStarted { pool, failure } => answer(state, pool, Err(failure)),
            ActorAction::Ended(pool) => drop(state.actors.pools.remove(&pool)),
            ActorAction::Route { route, to } => {
                if let Some(on_route) = state.actors.calls.remove(&route) {
                    on_route(Ok(to));
                }
            }
            ActorAction::NoRoute { route, message } => {
                if let Some(on_route) = state.actors.calls.remove(&route) {
                    on_route(Err(message));
                }
            }
            ActorAction::Warn(message) => tracing::warn!("{message}"),
        }
    }
}

fn answer(state: &mut State, pool: ActorPoolId, result: Result<Vec<ActorId>, ActorFailure>) {
    if let Some(on_start) = state.actors.pools.get_mut(&pool).and_then(|pool| pool.on_start.take()) {
        on_start(result);
    }
}
