//! Actors, as far as they concern the session's workers; their own states are those of [`actors`](crate::actors).

use super::Session;
use crate::actors::{ActorRequest, NeverFits};
use crate::ids::{ActorId, ActorPoolId, WorkerId};

impl Session {
    /// The number of partitions and actors that must not be lost with the worker's present process.
    pub(super) fn held_at(&self, worker: WorkerId) -> u64 {
        self.slots.held_at(worker).saturating_add(self.actors.held_at(worker))
    }

    /// Places actors that wait, and tells the fleet how many workers they need.
    pub(super) fn settle_actors(&mut self) {
        let Self { actors, fleet, turn, .. } = self;
        actors.settle(turn, fleet);
        let needed = if fleet.is_elastic() { actors.workers_needed(&turn.config, fleet) } else { 0 };
        fleet.need(needed);
    }

    /// The number of actors that a pool would have now: fewer than are asked for if no more ever fit.
    ///
    /// # Errors
    ///
    /// No worker can hold a single one.
    pub fn admit_actors(&self, request: &ActorRequest) -> Result<u32, NeverFits> {
        request.admit(&self.turn.config.worker_resources, self.fleet.max())
    }

    /// The actors of a pool that take calls; `None` if the pool has ended.
    #[must_use]
    pub fn ready_actors(&self, pool: ActorPoolId) -> Option<Vec<ActorId>> {
        self.actors.ready(pool)
    }

    /// True if the actor takes calls and still is at the place of this generation.
    #[must_use]
    pub fn is_actor_at(&self, actor: ActorId, generation: u32) -> bool {
        self.actors.is_at(actor, generation)
    }

    /// The numbers of pools of actors, of placed actors, of queries that may own pools, and of calls that wait.
    #[must_use]
    pub fn actor_counts(&self) -> [usize; 4] {
        self.actors.sizes()
    }

    /// The actors, for the tests that check them.
    #[cfg(test)]
    pub(crate) const fn actors(&self) -> &crate::actors::Actors {
        &self.actors
    }
}
