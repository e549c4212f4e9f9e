//! One pool of actors: the state of each actor, and the reasons for people.

use std::sync::Arc;
use std::time::Duration;

use super::request::{ActorFailure, ActorRequest};
use crate::ids::{ActorId, ActorPoolId, LaunchId, WorkerId};

/// The number of times that an actor is placed again because its worker was lost.
pub(super) const MAX_MOVES: u32 = 4;
/// The number of times that an actor is placed again because it was killed in its constructor, by the kernel for its
/// memory, say.
pub(super) const MAX_CONSTRUCTIONS_AGAIN: u32 = 2;

const IF_KILLED: &str =
    "if it was for want of memory, raise worker_memory, or lower the UDF's max_concurrency or what it loads";

/// The place of an actor: a process of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub worker: WorkerId,
    pub launch: LaunchId,
}

/// The state of an actor; the table is in [`actors`](super).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ActorState {
    Waiting,
    Starting(Place),
    Ready { place: Place, address: Arc<str> },
    Failed,
}

/// One actor of a pool.
#[derive(Debug)]
pub(super) struct Actor {
    pub id: ActorId,
    pub state: ActorState,
    /// Counts the actor's places; news of an earlier one is stale.
    pub generation: u32,
    /// The worker of its present or latest place, for people.
    pub last_worker: Option<WorkerId>,
    /// The worker on which it was killed last: another one may have more memory left.
    pub avoided: Option<WorkerId>,
    moves: u32,
    kills: u32,
    pub reason: Arc<str>,
    pub error: Arc<[u8]>,
}

impl Actor {
    fn new(id: ActorId, generation: u32) -> Self {
        Self {
            id,
            state: ActorState::Waiting,
            generation,
            last_worker: None,
            avoided: None,
            moves: 0,
            kills: 0,
            reason: "".into(),
            error: [].into(),
        }
    }

    pub const fn place(&self) -> Option<Place> {
        match self.state {
            ActorState::Starting(place) | ActorState::Ready { place, .. } => Some(place),
            ActorState::Waiting | ActorState::Failed => None,
        }
    }

    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, ActorState::Waiting)
    }

    pub const fn is_ready(&self) -> bool {
        matches!(self.state, ActorState::Ready { .. })
    }

    pub const fn is_failed(&self) -> bool {
        matches!(self.state, ActorState::Failed)
    }

    /// The actor goes to another place, as often as is allowed. `may_move`: a new one is as good as the one that was lost.
    pub fn moved(&mut self, reason: Arc<str>, may_move: bool) {
        self.reason = reason;
        self.moves += 1;
        let is_allowed = may_move && self.moves <= MAX_MOVES;
        self.state = if is_allowed { ActorState::Waiting } else { ActorState::Failed };
    }

    /// The worker was taken away while it constructed the actor, which is not to blame.
    pub fn interrupted(&mut self, reason: Arc<str>) {
        (self.state, self.reason) = (ActorState::Waiting, reason);
    }

    /// The actor, or its worker, was killed in the constructor. Returns true if it is constructed again.
    pub fn killed(&mut self, reason: Arc<str>) -> bool {
        self.kills += 1;
        self.avoided = self.last_worker;
        let is_allowed = self.kills <= MAX_CONSTRUCTIONS_AGAIN;
        (self.state, self.reason) = if is_allowed {
            (ActorState::Waiting, reason)
        } else {
            let text = format!("{reason}\nIt was killed in its constructor {} times: {IF_KILLED}", self.kills);
            (ActorState::Failed, text.into())
        };
        is_allowed
    }

    pub const fn kills(&self) -> u32 {
        self.kills
    }

    const fn describe_state(&self) -> &'static str {
        match self.state {
            ActorState::Waiting => "waits for a worker with room",
            ActorState::Starting(_) => "is being constructed",
            ActorState::Ready { .. } => "takes calls",
            ActorState::Failed => "is gone for good",
        }
    }
}

/// The phase of a pool; the table is in [`actors`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its owner waits for it, until then.
    Starting {
        deadline: Duration,
    },
    Running,
    Retired,
}

/// A pool of actors.
#[derive(Debug)]
pub(super) struct Pool {
    pub id: ActorPoolId,
    pub request: ActorRequest,
    pub phase: Phase,
    pub actors: Vec<Actor>,
    /// Tasks that have not ended and may call its actors.
    pub unfinished_tasks: usize,
    /// Daft is done with it, perhaps before the last of those tasks has ended.
    pub dropped: bool,
    /// Counts the routes that were given, so that calls take turns.
    pub routed: usize,
}

impl Pool {
    pub fn new(id: ActorPoolId, request: ActorRequest, count: u32, deadline: Duration) -> Self {
        let actors = (0..count).map(|number| Actor::new(ActorId { pool: id, number }, 0)).collect();
        let phase = Phase::Starting { deadline };
        Self { id, request, phase, actors, unfinished_tasks: 0, dropped: false, routed: 0 }
    }

    pub fn find(&self, number: u32) -> Option<&Actor> {
        self.actors.iter().find(|actor| actor.id.number == number)
    }

    pub fn find_mut(&mut self, number: u32) -> Option<&mut Actor> {
        self.actors.iter_mut().find(|actor| actor.id.number == number)
    }

    pub const fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    pub fn is_retired(&self) -> bool {
        self.phase == Phase::Retired
    }

    /// The number of actors that wait for room.
    pub fn waiting(&self) -> usize {
        if self.is_retired() { 0 } else { self.actors.iter().filter(|actor| actor.is_waiting()).count() }
    }

    /// True if no actor has a place: one may share CPUs, so that the pool does not wait for one that waits for it.
    pub fn has_no_place(&self) -> bool {
        self.actors.iter().all(|actor| actor.place().is_none())
    }

    /// Brings a retired pool back: all its actors are yet to be placed. Those that it went on with may be fewer than
    /// were asked for: tasks know no others.
    pub fn revive(&mut self) {
        self.phase = Phase::Running;
        for actor in &mut self.actors {
            *actor = Actor::new(actor.id, actor.generation);
        }
    }

    /// An actor's name for people.
    pub fn label(&self, actor: &Actor) -> String {
        format!("actor {} of {}", actor.id.number, self.request.name)
    }

    /// The state and the reason of each actor that is not ready.
    pub fn reasons(&self) -> String {
        let describe = |actor: &Actor| {
            let at = actor.last_worker.filter(|_| !actor.is_waiting()).map(|worker| format!(" on {worker}"));
            let reason = Some(&actor.reason).filter(|reason| !reason.is_empty()).map(|reason| format!(": {reason}"));
            let (label, state) = (self.label(actor), actor.describe_state());
            format!("{label} {state}{}{}", at.unwrap_or_default(), reason.unwrap_or_default())
        };
        let missing = self.actors.iter().filter(|actor| !actor.is_ready());
        missing.map(describe).collect::<Vec<_>>().join("; ")
    }

    /// The failure of an actor for good.
    pub fn failure_of(&self, actor: &Actor) -> ActorFailure {
        ActorFailure::Constructor {
            actor: self.label(actor),
            worker: actor.last_worker,
            reason: actor.reason.clone(),
            error: actor.error.clone(),
        }
    }
}
