//! Launches for which the allocator has no room yet, because a quota is used up.
//!
//! That says nothing against the worker, so it costs no restart, and the launch stays under way: the allocator asks
//! again and says when there was room. It is no capacity meanwhile. An elastic pool starts no others, which would only
//! wait behind it, and takes it back when there is no work for it any more.
//!
//! No task waits without end: once a launch has been postponed for as long as a start may take, it counts as one that
//! does not come. If that is true of all, the pool is broken until there is room; a query that begins has the same
//! patience again.

use super::Pool;
use super::Timer;
use super::scaling::not_wanted;
use super::worker::State;
use crate::ids::{LaunchId, WorkerId};

impl Pool {
    pub(super) fn postpone(&mut self, id: WorkerId, launch: LaunchId, reason: &str) {
        let until = self.now.saturating_add(self.config.start_timeout);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        match &mut worker.state {
            State::Starting { deadline } => {
                let deadline = *deadline;
                self.timers.remove(&(deadline, Timer::Worker(id)));
                self.enter(id, State::Postponed { patience: Some(until), reason: reason.into() });
                self.timers.insert((until, Timer::Worker(id)));
            }
            State::Postponed { reason: known, .. } => *known = reason.into(),
            _ => {}
        }
    }

    /// Its start begins only now. Nothing happens to a launch that was not postponed.
    pub(super) fn admitted(&mut self, id: WorkerId, launch: LaunchId) {
        let now = self.now;
        let deadline = now.saturating_add(self.config.start_timeout);
        let Some(worker) = self.present(id, launch) else {
            return;
        };
        let State::Postponed { patience, .. } = &worker.state else {
            return;
        };
        let patience = *patience;
        worker.launched_at = now;
        if let Some(until) = patience {
            self.timers.remove(&(until, Timer::Worker(id)));
        }
        self.enter(id, State::Starting { deadline });
        self.timers.insert((deadline, Timer::Worker(id)));
    }

    /// It has waited for as long as a start may take.
    pub(super) fn out_of_patience(&mut self, id: WorkerId) {
        if let State::Postponed { patience, .. } = &mut self.workers[id.index()].state {
            *patience = None;
        }
    }

    /// A query begins, and is worth waiting for.
    pub(super) fn be_patient_again(&mut self) {
        let until = self.now.saturating_add(self.config.start_timeout);
        for worker in &mut self.workers {
            if let State::Postponed { patience: patience @ None, .. } = &mut worker.state {
                *patience = Some(until);
                self.timers.insert((until, Timer::Worker(worker.id)));
            }
        }
        if self.broken.is_some() {
            self.judge();
        }
    }

    /// An elastic pool asks for room no longer than it has work for it. With no worker up, one may be about to come.
    pub(super) fn withdraw_postponed(&mut self) {
        let has_enough = self.tasks.is_empty() && self.alive > 0 && self.alive >= self.fewest();
        if self.postponed == 0 || !self.is_elastic() || !has_enough {
            return;
        }
        let postponed: Vec<WorkerId> =
            self.workers.iter().filter(|worker| worker.state.is_postponed()).map(|worker| worker.id).collect();
        for id in postponed {
            self.unwant(id, &not_wanted());
        }
    }
}
