//! The failure detector: a worker that does not answer and is not heard for long enough is lost.
//!
//! A worker is heard whenever data of an answer comes from it, however slowly. Only a call that goes unanswered starts
//! the wait for the loss, which ends as soon as the worker is heard again.

use std::sync::Arc;

use super::Fleet;
use super::lifecycle::{End, Next, Process};
use crate::ExitCause;
use crate::ids::{LaunchId, WorkerId};
use crate::session::turn::{Timer, Turn};

impl Fleet {
    /// Data came from these processes. Returns true if one of them was silent.
    pub fn heard(&mut self, turn: &mut Turn, heard: &[(WorkerId, LaunchId)]) -> bool {
        let mut was_any_silent = false;
        for &(id, launch) in heard {
            was_any_silent |= self.is_silent(turn, id);
            if let Some(worker) = self.present(id, launch) {
                worker.last_heard = turn.now;
                if let Some((due, _)) = worker.unanswered.take() {
                    turn.clear_timer(due, Timer::Silence(id));
                }
            }
        }
        was_any_silent
    }

    /// A call to the process went unanswered: it is lost, now or if it is not heard in time.
    pub fn unanswered(&mut self, turn: &mut Turn, id: WorkerId, launch: LaunchId, problem: String) -> Option<End> {
        let worker = self.present(id, launch).filter(|worker| worker.link().is_some())?;
        let due = worker.last_heard.saturating_add(turn.config.unreachable_timeout);
        // The next call may be answered, if the connection alone was at fault.
        let due = if due <= turn.now { due } else { due.max(turn.after(turn.config.suspect_timeout)) };
        self.forget_unanswered(turn, id);
        self.worker(id).unanswered = Some((due, problem));
        turn.set_timer(due, Timer::Silence(id));
        self.silence_due(turn, id)
    }

    /// The end of a worker that has been silent for too long by now.
    pub fn silence_due(&mut self, turn: &mut Turn, id: WorkerId) -> Option<End> {
        let worker = &self.workers[id.index()];
        let (due, problem) = worker.unanswered.as_ref().filter(|(due, _)| *due <= turn.now)?;
        let silence = turn.now.saturating_sub(worker.last_heard).as_secs_f64();
        let reason: Arc<str> =
            format!("the worker could not be reached: it has not answered for {silence:.0} s ({problem})").into();
        turn.clear_timer(*due, Timer::Silence(id));
        let (process, next, cause) = (Process::ToStop, Next::Restart, ExitCause::Infrastructure);
        Some(End { worker: id, reason, process, next, cause })
    }

    /// True if the worker is connected and has not been heard for long enough to be suspected of being lost.
    pub fn is_silent(&self, turn: &Turn, id: WorkerId) -> bool {
        let silence = |last_heard| turn.now.saturating_sub(last_heard);
        self.get(id)
            .filter(|worker| worker.link().is_some())
            .is_some_and(|worker| silence(worker.last_heard) >= turn.config.suspect_timeout)
    }

    /// Forgets that a call to the worker went unanswered.
    pub(super) fn forget_unanswered(&mut self, turn: &mut Turn, id: WorkerId) {
        if let Some((due, _)) = self.worker(id).unanswered.take() {
            turn.clear_timer(due, Timer::Silence(id));
        }
    }
}
