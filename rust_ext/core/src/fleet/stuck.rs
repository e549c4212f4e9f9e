//! Workers whose slots are held by cancelled tasks that do not end.
//!
//! Python cannot stop a call of a UDF. After a cancel the call goes on, in a thread that runs nothing else meanwhile. A
//! worker reports how many of its slots are held so ([`Event::Stuck`](crate::Event::Stuck)). A UDF that holds the
//! interpreter's lock keeps its worker from ending any task: there the cancel itself goes unanswered.
//!
//! A worker without a slot that works is *stuck*. It is offered no task, and is no capacity for an elastic pool. Once it
//! has been stuck for `cancel_patience`, its other tasks go back into the queue, as they only wait behind the calls. If
//! a task waits then and no worker has room, the process is replaced by force, and no task is charged. A process that
//! holds partitions or actors is replaced last: after `cancel_patience_with_holds`, and only if no other worker is
//! coming up.

use std::sync::Arc;
use std::time::Duration;

use super::lifecycle::{End, Next, Process};
use super::worker::{State, Stuck, Worker};
use super::{ExitCause, Fleet};
use crate::Action;
use crate::ids::{LaunchId, TaskId, WorkerId};
use crate::session::turn::{Timer, Turn};

impl Fleet {
    /// Notes the worker's report of slots that are held by calls of cancelled tasks. Returns true if none is left that
    /// works; `None` if the report is stale.
    pub fn note_held_slots(
        &mut self,
        turn: &Turn,
        id: WorkerId,
        launch: LaunchId,
        slots: u32,
        calls: &str,
    ) -> Option<bool> {
        let worker = self.present(id, launch).filter(|worker| worker.link().is_some())?;
        worker.has_no_slot = slots >= turn.config.slots_per_worker.max(1);
        worker.stuck_calls = calls.into();
        Some(worker.has_no_slot)
    }

    /// Marks the worker as stuck; false if it was.
    pub fn mark_stuck(&mut self, turn: &mut Turn, id: WorkerId, since: Duration) -> bool {
        let worker = self.worker(id);
        if worker.stuck.is_some() {
            return false;
        }
        worker.stuck = Some(Stuck { since, due: None });
        self.stuck += 1;
        turn.touch(id);
        true
    }

    /// The time since which the worker has been stuck.
    pub fn stuck_since(&self, id: WorkerId) -> Option<Duration> {
        self.workers[id.index()].stuck.as_ref().map(|stuck| stuck.since)
    }

    /// Sets the timer for the next step with a stuck worker.
    pub fn watch_stuck(&mut self, turn: &mut Turn, id: WorkerId) {
        let patiences = [turn.config.cancel_patience, turn.config.cancel_patience_with_holds];
        if let Some(stuck) = &mut self.worker(id).stuck {
            let dues = patiences.map(|patience| stuck.since.saturating_add(patience));
            stuck.due = dues.into_iter().find(|due| *due > turn.now);
            if let Some(due) = stuck.due {
                turn.set_timer(due, Timer::Stuck(id));
            }
        }
    }

    /// True if the stuck worker's timer is this one.
    pub fn is_stuck_due(&self, id: WorkerId, at: Duration) -> bool {
        self.workers[id.index()].stuck.as_ref().is_some_and(|stuck| stuck.due == Some(at))
    }

    /// True if the worker is stuck though it reports a slot that works: its cancelled tasks decide.
    pub fn may_be_unstuck(&self, id: WorkerId) -> bool {
        let worker = &self.workers[id.index()];
        worker.stuck.is_some() && !worker.has_no_slot
    }

    /// Drops the state with its timer.
    pub fn forget_stuck(&mut self, turn: &mut Turn, id: WorkerId) {
        if let Some(stuck) = self.worker(id).stuck.take() {
            self.stuck = self.stuck.saturating_sub(1);
            if let Some(due) = stuck.due {
                turn.clear_timer(due, Timer::Stuck(id));
            }
        }
    }

    /// The number of workers that are up or coming up, without those that have been stuck for long.
    pub(super) fn useful(&self, turn: &Turn) -> usize {
        if self.stuck == 0 {
            return self.alive;
        }
        let stuck = self.stuck_for(turn, turn.config.cancel_patience, |worker| worker.state.counts());
        self.alive.saturating_sub(stuck.len())
    }

    pub const fn is_any_stuck(&self) -> bool {
        self.stuck > 0
    }

    /// Stuck workers that are not wanted any more and hold nothing.
    pub fn stuck_and_unwanted(&self, turn: &Turn, holds: impl Fn(WorkerId) -> u64) -> Vec<WorkerId> {
        self.stuck_for(turn, turn.config.cancel_patience, |worker| !worker.wanted && holds(worker.id) == 0)
    }

    /// Stuck workers that may be replaced for tasks that wait: nothing is lost with them.
    pub fn stuck_without_holds(&self, turn: &Turn, holds: impl Fn(WorkerId) -> u64) -> Vec<WorkerId> {
        let is_such =
            |worker: &Worker| matches!(worker.state, State::Ready(_)) && holds(worker.id) == 0 && !self.keeps_all;
        self.stuck_for(turn, turn.config.cancel_patience, is_such)
    }

    /// The stuck worker that holds least, if one has to be replaced because no other worker is coming up.
    pub fn stuck_with_holds(&self, turn: &Turn, holds: impl Fn(WorkerId) -> u64) -> Option<WorkerId> {
        let comes_up = |worker: &Worker| worker.state.is_pending() && !worker.state.is_out_of_sight();
        if self.workers.iter().any(comes_up) {
            return None;
        }
        let is_ready = |worker: &Worker| matches!(worker.state, State::Ready(_));
        let stuck = self.stuck_for(turn, turn.config.cancel_patience_with_holds, is_ready);
        stuck.into_iter().min_by_key(|id| holds(*id))
    }

    /// The workers that have been stuck for that long and are such.
    fn stuck_for(&self, turn: &Turn, time: Duration, is_such: impl Fn(&Worker) -> bool) -> Vec<WorkerId> {
        let has_lasted =
            |worker: &Worker| worker.stuck.as_ref().is_some_and(|stuck| stuck.since.saturating_add(time) <= turn.now);
        self.workers.iter().filter(|worker| has_lasted(worker) && is_such(worker)).map(|worker| worker.id).collect()
    }

    /// Announces that a stuck worker's process is replaced.
    pub fn replace_stuck(&self, turn: &mut Turn, id: WorkerId, tasks: Vec<TaskId>, holds: u64) -> End {
        let worker = &self.workers[id.index()];
        let held_for = worker.stuck.as_ref().map_or(Duration::ZERO, |stuck| turn.now.saturating_sub(stuck.since));
        let (launch, calls) = (worker.launch, worker.stuck_calls.clone());
        turn.push(Action::Replaced { worker: id, launch, calls, tasks, held_for, holds });
        let reason: Arc<str> =
            format!("its process was replaced, because a cancelled task did not end for {held_for:?}").into();
        End { worker: id, reason, process: Process::ToKill, next: Next::Restart, cause: ExitCause::Stopped }
    }
}
