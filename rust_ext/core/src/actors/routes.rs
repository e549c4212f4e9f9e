//! Routes of calls: to the wanted actor, to another one of its pool, or to none any more.
//!
//! A worker that a task runs on asks for a route, and waits for the answer. Places that it has tried for this call are not
//! named again, unless there is no other: then the connection broke, perhaps, and the actor is well.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pool::{Actor, ActorState, Pool};
use super::{ActorAction, ActorRoute};
use crate::Action;
use crate::ids::{ActorId, ActorPoolId, RouteId};
use crate::session::turn::{Timer, Turn};

/// A place that a worker could not reach is named to it again after this time, twice as long after each try.
const UNREACHED: Duration = Duration::from_secs(1);
const LONGEST_UNREACHED: Duration = Duration::from_secs(30);

/// A call that waits for a route.
#[derive(Debug)]
pub(super) struct Request {
    pub pool: ActorPoolId,
    /// The wanted actor; another one will do if the pool is stateless.
    pub wanted: Option<u32>,
    /// The places, as actor and generation, that the caller has tried for this call.
    pub failed: Vec<(ActorId, u32)>,
    /// The time from which on places that were tried are named again.
    unreached_until: Duration,
    /// The end of the wait; set when the wait begins.
    deadline: Option<Duration>,
    /// The time of the timer that is set.
    timer: Option<Duration>,
}

/// The calls that wait for a route.
#[derive(Debug, Default)]
pub(super) struct Routes {
    waiting: BTreeMap<RouteId, Request>,
}

/// The verdict on a request for a route.
enum Verdict {
    Found(ActorRoute),
    None(String),
    /// Another look is due then, if nothing changes before.
    Wait {
        deadline: Duration,
        until: Duration,
    },
}

impl Routes {
    pub fn add(
        &mut self,
        turn: &Turn,
        route: RouteId,
        pool: ActorPoolId,
        wanted: Option<u32>,
        failed: Vec<(ActorId, u32)>,
    ) {
        let tries = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let pause = UNREACHED.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_UNREACHED);
        let unreached_until = turn.after(pause);
        let request = Request { pool, wanted, failed, unreached_until, deadline: None, timer: None };
        self.waiting.insert(route, request);
    }

    pub fn pool_of(&self, route: RouteId) -> Option<ActorPoolId> {
        self.waiting.get(&route).map(|request| request.pool)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_any_for(&self, pool: ActorPoolId) -> bool {
        self.waiting.values().any(|request| request.pool == pool)
    }

    /// Answers the requests for a pool that can be answered by now; `None`: the pool has ended.
    pub fn answer(&mut self, turn: &mut Turn, id: ActorPoolId, mut pool: Option<&mut Pool>) {
        let of_pool: Vec<RouteId> =
            self.waiting.iter().filter(|(_, request)| request.pool == id).map(|(route, _)| *route).collect();
        for route in of_pool {
            let Some(request) = self.waiting.get_mut(&route) else { continue };
            let verdict = match pool.as_deref_mut() {
                None => Verdict::None("the query of this actor has ended".to_owned()),
                Some(pool) => choose(turn.now, request, pool),
            };
            if let Some(timer) = request.timer.take() {
                turn.clear_timer(timer, Timer::ActorRoute(route));
            }
            match verdict {
                Verdict::Wait { deadline, until } => {
                    (request.deadline, request.timer) = (Some(deadline), Some(until));
                    turn.set_timer(until, Timer::ActorRoute(route));
                    continue;
                }
                Verdict::Found(to) => turn.push(Action::Actor(ActorAction::Route { route, to })),
                Verdict::None(message) => turn.push(Action::Actor(ActorAction::NoRoute { route, message })),
            }
            self.waiting.remove(&route);
        }
    }

    /// Ends the session: every call is told that there is no route.
    pub fn shut_down(&mut self, turn: &mut Turn) {
        for route in std::mem::take(&mut self.waiting).into_keys() {
            let message = super::SHUT_DOWN.to_owned();
            turn.push(Action::Actor(ActorAction::NoRoute { route, message }));
        }
    }
}

fn choose(now: Duration, request: &Request, pool: &mut Pool) -> Verdict {
    if pool.is_retired() {
        // Left behind by a cancelled task on its worker, say: nothing would stop the actors again.
        return Verdict::None(format!("the tasks that use {} have ended", pool.request.name));
    }
    let wanted = request.wanted.and_then(|number| pool.find(number));
    let is_stateless = pool.request.is_stateless;
    if !is_stateless && wanted.is_none_or(Actor::is_failed) {
        let reason = wanted.map_or("", |actor| &*actor.reason);
        return Verdict::None(format!("{} is incomplete: {reason}; run the query again", pool.request.name));
    }
    if pool.actors.iter().all(Actor::is_failed) {
        return Verdict::None(format!("no actor of {} is left: {}", pool.request.name, pool.reasons()));
    }
    let wanted = wanted.map(|actor| actor.id);
    let ready = pool.actors.iter().filter(|actor| actor.is_ready() && (is_stateless || Some(actor.id) == wanted));
    let ready: Vec<&Actor> = ready.collect();
    let untried = ready.iter().filter(|actor| !request.failed.contains(&(actor.id, actor.generation)));
    let mut choice: Vec<&Actor> = untried.copied().collect();
    if choice.is_empty() && now >= request.unreached_until {
        choice.clone_from(&ready);
    }
    let chosen = choice.iter().find(|actor| Some(actor.id) == wanted);
    if let Some(chosen) = chosen.or_else(|| choice.get(pool.routed % choice.len().max(1)))
        && let ActorState::Ready { place, address } = &chosen.state
    {
        let to = ActorRoute {
            actor: chosen.id,
            generation: chosen.generation,
            worker: place.worker,
            address: address.clone(),
        };
        pool.routed = pool.routed.wrapping_add(1);
        return Verdict::Found(to);
    }
    let timeout = pool.request.start_timeout;
    let deadline = request.deadline.unwrap_or_else(|| now.saturating_add(timeout));
    if now >= deadline {
        let reasons = Some(pool.reasons()).filter(|reasons| !reasons.is_empty());
        let reasons =
            reasons.unwrap_or_else(|| "they are ready, but their workers do not answer each other".to_owned());
        let (name, seconds) = (&pool.request.name, timeout.as_secs_f64());
        return Verdict::None(format!("no actor of {name} could be reached for {seconds} s: {reasons}"));
    }
    let until = if ready.is_empty() { deadline } else { deadline.min(request.unreached_until) };
    Verdict::Wait { deadline, until }
}
