//! Launches for which the allocator has no room yet, because a quota is used up.
//!
//! A postponed launch says nothing against the worker, so it costs no restart, and it stays under way: the allocator
//! asks again and reports when there was room. It is no capacity meanwhile. An elastic pool starts no other workers,
//! which would only wait behind it, and takes it back when there is no work for it any more.
//!
//! No task waits without end: once a launch has been postponed for as long as a start may take, it counts as one that
//! does not come. If that is true of all, the pool is unavailable until there is room; a query that begins has the same
//! patience again.

use super::Fleet;
use super::worker::State;
use crate::ids::{LaunchId, WorkerId};
use crate::session::turn::{Timer, Turn};

impl Fleet {
    /// The allocator has no room for the launch yet.
    pub fn postpone(&mut self, turn: &mut Turn, id: WorkerId, launch: LaunchId, reason: &str) {
        let until = turn.after(turn.config.start_timeout);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        match &mut worker.state {
            State::Starting { deadline } => {
                turn.clear_timer(*deadline, Timer::Worker(id));
                self.enter(id, State::Postponed { patience: Some(until), reason: reason.into() });
                turn.set_timer(until, Timer::Worker(id));
            }
            State::Postponed { reason: known, .. } => *known = reason.into(),
            _ => {}
        }
    }

    /// There was room: the start begins only now. Nothing happens to a launch that was not postponed.
    pub fn admitted(&mut self, turn: &mut Turn, id: WorkerId, launch: LaunchId) {
        let deadline = turn.after(turn.config.start_timeout);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        let State::Postponed { patience, .. } = &worker.state else {
            return;
        };
        if let Some(until) = patience {
            turn.clear_timer(*until, Timer::Worker(id));
        }
        worker.launched_at = turn.now;
        self.enter(id, State::Starting { deadline });
        turn.set_timer(deadline, Timer::Worker(id));
    }

    /// The launch has waited for as long as a start may take.
    pub(super) fn out_of_patience(&mut self, id: WorkerId) {
        if let State::Postponed { patience, .. } = &mut self.worker(id).state {
            *patience = None;
        }
    }

    /// Gives postponed launches the full patience again, as a query begins that is worth waiting for.
    pub(super) fn renew_patience(&mut self, turn: &mut Turn) {
        let until = turn.after(turn.config.start_timeout);
        for worker in &mut self.workers {
            if let State::Postponed { patience: patience @ None, .. } = &mut worker.state {
                *patience = Some(until);
                turn.set_timer(until, Timer::Worker(worker.id));
            }
        }
        if self.unavailable.is_some() {
            self.check_viability(turn);
        }
    }

    /// The postponed launches that an elastic pool has no work for. With no worker up, work may be about to come.
    pub fn postponed_to_withdraw(&self, demand: usize) -> Vec<WorkerId> {
        let has_enough = demand == 0 && self.alive > 0 && self.alive >= self.fewest();
        if self.postponed == 0 || !self.is_elastic() || !has_enough {
            return Vec::new();
        }
        self.workers.iter().filter(|worker| worker.state.is_postponed()).map(|worker| worker.id).collect()
    }
}
