//! The events and actions that concern actors.

use std::sync::Arc;

use get_size2::GetSize;

use super::{ActorFailure, ActorRequest};
use crate::ids::{ActorId, ActorPoolId, LaunchId, QueryId, RouteId, WorkerId};

/// News for the actors of a session.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum ActorEvent {
    /// The driver: start a pool; answered by `Started` or `NotStarted`.
    Start {
        /// The new pool.
        pool: ActorPoolId,
        /// Its shape.
        request: ActorRequest,
    },
    /// A worker: news of one of its actors.
    News {
        /// The actor.
        actor: ActorId,
        /// The generation of its place.
        generation: u32,
        /// The worker that reports it.
        worker: WorkerId,
        /// The event.
        news: ActorNews,
    },
    /// A task on a worker looks for an actor to call; answered by `Route` or `NoRoute`.
    Find {
        /// The request.
        route: RouteId,
        /// The pool whose actors the task calls.
        pool: ActorPoolId,
        /// The number of the wanted actor; another one will do if the pool is stateless. `None`: any.
        wanted: Option<u32>,
        /// The places, as actor and generation, that the caller has tried for this call.
        failed: Vec<(ActorId, u32)>,
    },
    /// The driver: a task of the query uses these pools. They end with the query, and not before `Release`.
    Bind {
        /// The query of the task.
        query: QueryId,
        /// The pools that its plan names.
        pools: Vec<ActorPoolId>,
    },
    /// The driver: a task that used these pools has ended.
    Release(Vec<ActorPoolId>),
    /// Daft is done with a pool: its actors make room for others once no task is left to call them.
    Retire(ActorPoolId),
    /// The driver: the pool is not wanted any more.
    End(ActorPoolId),
}

/// News of one actor.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum ActorNews {
    /// The actor takes calls.
    Ready {
        /// The control address at which other workers reach its worker.
        address: Arc<str>,
    },
    /// The process was killed in the constructor: another try may go better.
    Killed {
        /// The event, for people.
        reason: Arc<str>,
    },
    /// The constructor was not done in time.
    Late {
        /// The event, for people.
        reason: Arc<str>,
    },
    /// The actor is gone for good.
    Failed {
        /// The event, for people.
        reason: Arc<str>,
        /// The exception of the constructor, pickled; empty: it raised none.
        error: Arc<[u8]>,
    },
}

/// The place of an actor that a call goes to.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub struct ActorRoute {
    /// The actor.
    pub actor: ActorId,
    /// The generation of its place.
    pub generation: u32,
    /// The worker that hosts it.
    pub worker: WorkerId,
    /// The control address of that worker, for other workers.
    pub address: Arc<str>,
}

/// One action that concerns actors.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum ActorAction {
    /// Have the worker construct the actor; it answers with `News`.
    Construct {
        /// The actor.
        actor: ActorId,
        /// The number of its place; grows with each place of the actor.
        generation: u32,
        /// The worker that hosts it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
        /// The indices of the worker's GPUs that the actor may use, wholly or in part.
        devices: Vec<u32>,
    },
    /// Have the worker stop this generation of the actor, or an earlier one; one that is not there is fine.
    Stop {
        /// The actor.
        actor: ActorId,
        /// The generation.
        generation: u32,
        /// The worker that hosts it.
        worker: WorkerId,
        /// The process of that worker.
        launch: LaunchId,
    },
    /// Tell the pool's owner that these actors take calls.
    Started {
        /// The pool.
        pool: ActorPoolId,
        /// The actors that the pool goes on with; at least one.
        actors: Vec<ActorId>,
    },
    /// Tell the pool's owner that it did not start. `Ended` follows.
    NotStarted {
        /// The pool.
        pool: ActorPoolId,
        /// The reason.
        failure: ActorFailure,
    },
    /// The pool has ended: what is kept of it can be forgotten.
    Ended(ActorPoolId),
    /// Tell the caller where its call goes.
    Route {
        /// The request.
        route: RouteId,
        /// The place of the actor.
        to: ActorRoute,
    },
    /// Tell the caller that no actor takes its call, and none will.
    NoRoute {
        /// The request.
        route: RouteId,
        /// The reason, for people.
        message: String,
    },
    /// For the log, at the level of a warning.
    Warn(String),
}
