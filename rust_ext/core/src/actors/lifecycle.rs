//! The life of pools of actors: their starts, their owners, their retirement and their ends.

use super::pool::{Actor, ActorState, Phase, Place, Pool};
use super::{ActorAction, ActorFailure, ActorRequest, Actors};
use crate::Action;
use crate::fleet::Fleet;
use crate::ids::{ActorPoolId, QueryId};
use crate::session::turn::{Timer, Turn};

impl Actors {
    pub(super) fn start(&mut self, turn: &mut Turn, fleet: &Fleet, id: ActorPoolId, request: ActorRequest) {
        if self.pools.contains_key(&id) {
            return;
        }
        let (capacity, most_workers) = (&turn.config.worker_resources, fleet.max());
        let count = match request.admit(capacity, most_workers) {
            Ok(count) => count,
            Err(refusal) => {
                let failure = ActorFailure::NotStarted(refusal.to_string());
                turn.push(Action::Actor(ActorAction::NotStarted { pool: id, failure }));
                turn.push(Action::Actor(ActorAction::Ended(id)));
                return;
            }
        };
        if count < request.count {
            let message = request.reduced(capacity, most_workers, count);
            turn.push(Action::Actor(ActorAction::Warn(message)));
        }
        let deadline = turn.after(request.start_timeout);
        turn.set_timer(deadline, Timer::ActorPool(id));
        self.pools.insert(id, Pool::new(id, request, count, deadline));
        self.owners.add(id);
        self.changed.insert(id);
        self.may_have_room = true;
    }

    /// Ends the start of a pool, if that is decided by now.
    pub(super) fn conclude_start(&mut self, turn: &mut Turn, id: ActorPoolId) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let Phase::Starting { deadline } = pool.phase else { return };
        if let Some(actor) = pool.actors.iter().find(|actor| actor.is_failed()) {
            let failure = pool.failure_of(actor);
            return self.end(turn, id, Some(failure));
        }
        let ready = pool.actors.iter().filter(|actor| actor.is_ready()).count();
        if ready < pool.actors.len() && turn.now < deadline {
            return;
        }
        if ready == 0 {
            let failure = format!(
                "UDF actors failed to start within {} seconds: {}; if they are only slow, call \
                 daft.set_execution_config(actor_udf_ready_timeout=...)",
                pool.request.start_timeout.as_secs_f64(),
                pool.reasons()
            );
            return self.end(turn, id, Some(ActorFailure::NotStarted(failure)));
        }
        if ready < pool.actors.len() {
            turn.push(Action::Actor(ActorAction::Warn(format!(
                "{} goes on with {ready} of {} actors; after {} s {}",
                pool.request.name,
                pool.request.count,
                pool.request.start_timeout.as_secs_f64(),
                pool.reasons()
            ))));
        }
        turn.clear_timer(deadline, Timer::ActorPool(id));
        pool.phase = Phase::Running;
        let (kept, late): (Vec<Actor>, Vec<Actor>) = pool.actors.drain(..).partition(Actor::is_ready);
        pool.actors = kept;
        let actors = pool.actors.iter().map(|actor| actor.id).collect();
        for actor in late {
            self.take_down(turn, &actor);
        }
        turn.push(Action::Actor(ActorAction::Started { pool: id, actors }));
    }

    /// Fails the starts of pools none of whose actors has a place, as no worker can come up any more.
    pub(crate) fn fail_unplaced(&mut self, turn: &mut Turn, message: &str) {
        let is_hopeless = |pool: &&Pool| pool.is_starting() && pool.has_no_place();
        let failure = |pool: &Pool| format!("no actor of {} could be started: {message}", pool.request.name);
        let hopeless = self.pools.values().filter(is_hopeless).map(|pool| (pool.id, failure(pool)));
        for (pool, failure) in hopeless.collect::<Vec<_>>() {
            self.end(turn, pool, Some(ActorFailure::NotStarted(failure)));
        }
    }

    pub(super) fn bind(&mut self, turn: &mut Turn, query: &QueryId, pools: &[ActorPoolId]) {
        let known: Vec<ActorPoolId> = pools.iter().copied().filter(|pool| self.pools.contains_key(pool)).collect();
        if !self.owners.bind(query, &known) {
            for pool in known {
                self.end(turn, pool, None);
            }
            return;
        }
        for pool in known {
            if let Some(record) = self.pools.get_mut(&pool) {
                record.unfinished_tasks += 1;
            }
        }
    }

    /// Stops the actors of a pool that Daft is done with, once no task is left to call them. With LIMIT, Daft drops a
    /// pool while tasks are still in calls.
    pub(super) fn retire_if_unused(&mut self, turn: &mut Turn, id: ActorPoolId) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        if pool.is_retired() || !pool.dropped || pool.unfinished_tasks > 0 {
            return;
        }
        if pool.is_starting() || !pool.request.is_stateless {
            return self.end(turn, id, None);
        }
        pool.phase = Phase::Retired;
        let mut actors = std::mem::take(&mut pool.actors);
        for actor in &mut actors {
            self.take_down(turn, actor);
            actor.state = ActorState::Waiting;
        }
        if let Some(pool) = self.pools.get_mut(&id) {
            pool.actors = actors;
        }
        self.changed.insert(id);
    }

    /// Ends a pool for good. `failure`: the answer to its owner, if that waits for its start and its query has not ended.
    pub(super) fn end(&mut self, turn: &mut Turn, id: ActorPoolId, failure: Option<ActorFailure>) {
        self.owners.remove(id);
        let Some(pool) = self.pools.remove(&id) else { return };
        if let Phase::Starting { deadline } = pool.phase {
            turn.clear_timer(deadline, Timer::ActorPool(id));
            let failure = failure.unwrap_or_else(|| ended(&pool));
            turn.push(Action::Actor(ActorAction::NotStarted { pool: id, failure }));
        }
        for actor in &pool.actors {
            self.take_down(turn, actor);
        }
        turn.push(Action::Actor(ActorAction::Ended(id)));
        self.changed.insert(id);
    }

    pub(super) fn take_down(&mut self, turn: &mut Turn, actor: &Actor) {
        if let Some(Place { worker, launch }) = actor.place() {
            let (id, generation) = (actor.id, actor.generation);
            turn.push(Action::Actor(ActorAction::Stop { actor: id, generation, worker, launch }));
            self.release(turn, worker, id);
        }
    }
}

fn ended(pool: &Pool) -> ActorFailure {
    ActorFailure::Ended(format!("the query of {} has ended", pool.request.name))
}
