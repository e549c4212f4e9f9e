//! One driver session: [`Session::handle`] turns events into actions.
//!
//! The session composes four parts, each with its own state: the workers ([`fleet`](crate::fleet)), the tasks
//! ([`tasks`](crate::tasks)), the actors ([`actors`](crate::actors), with their table) and the partitions that workers
//! hold ([`slots`](crate::slots)). A part never changes another one. The
//! session passes on what one has to know of another, and carries out what concerns more than one: the end of a process.
//!
//! The driver wants workers `worker-0` to `worker-<n-1>` and submits tasks; the session starts the
//! workers, starts them again, spreads the tasks over them and sends tasks again whose worker died.
//! Daft is never told of a death: the logical worker stays, only the launch behind it changes.
//!
//! # Workers
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | absent | not wanted | wanted: `Launch` → starting |
//! | starting | `Launch` | `Started`: `Connect` → connecting; exit, start timeout → a loss |
//! | postponed | `Postponed`: there is no room for it yet | `Admitted` → starting; exit → a loss |
//! | connecting | `Started` | `Connected`: `WorkerReady` → ready; `Refused` → given up; exit, unreachable, start timeout → a loss |
//! | ready | `Connected` | exit, unreachable: `WorkerLost` → a loss; surplus → draining, or stopped if idle; `Leaving` → leaving |
//! | draining | surplus with tasks | last task over: `Stop`, `WorkerLost` → absent; wanted again: `WorkerReady` → ready |
//! | leaving | `Leaving`: the process was told to stop, not by the pool | exit, unreachable: `WorkerLost` → a loss |
//! | restarting | a loss within the budget | back-off over: `Launch` → starting |
//! | given up | `Refused`, an exit that is not restartable, a loss beyond the budget | no longer wanted → absent; tried again → starting |
//!
//! A loss of a worker that is not wanted ends in absent. A new incarnation under the same launch (the
//! process was restarted in place) is a loss that leads straight to ready again. A launch that is postponed uses up
//! nothing; it makes the pool unavailable only once it has waited for as long as a start may take.
//!
//! The budget of a worker is `max_worker_restarts` within `restart_window`, cleared by each task that it ends. A death
//! under a task does not count: the task's own caps bound it. If the task then ends on another worker, it counts after
//! all. An exit that is not restartable before the worker was ready is a mistake, as long as no worker of the pool was
//! ever ready. Later it may pass, and the launch is asked for again for as long as a start may take, free of charge.
//!
//! When every wanted worker is given up, the pool is unavailable: `Unavailable` once, and all tasks that wait fail. It is
//! available again by wanting a worker that is not given up, and by `Wake`. Workers that were given up and may fare better are
//! tried again by `Wake`, and at the end of the window: in a fixed pool by a timer, in an elastic one when it grows.
//! With no worker wanted, tasks wait.
//!
//! # Size
//!
//! The driver is told of all workers up to the upper bound from the start; the fleet's scaling decides which of them
//! have a process. A worker that runs a task, or that holds partitions in use or actors, is never released.
//!
//! # Tasks
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | waiting | `Submit`; a lost attempt below the cap; no room; back-off over | room on a ready worker: `Send` → sent |
//! | backing off | `Bounced` by a worker without other tasks; its inputs are there | back-off over → waiting |
//! | sent | `Send` | its report: `Deliver`; `Bounced` by a worker with other tasks → waiting, else → backing off, or `FailTask` at the limit; its worker lost → waiting, or `FailTask` at the cap; its worker stuck → waiting |
//! | in doubt | `InputsMissing` | the verdict: there → backing off, or `FailTask` at the limit; lost: `FailTask`; the reader lost → waiting |
//! | cancelling | `CancelTask` while sent: `CancelOnWorker` | any news of the attempt, or its worker lost: `Cancelled` |
//!
//! A task that is not sent ends at once when cancelled, when its inputs are lost and when the pool
//! is unavailable. Each task ends exactly once, in `Deliver`, `FailTask` or `Cancelled`, and is then
//! forgotten. Waiting tasks are served in the order of submission; a task that was sent before was
//! submitted before every task that never was, so tasks that are sent again come first.

pub(crate) mod turn;

mod action;
mod actors;
mod config;
mod event;
mod losses;
mod recovery;
mod stuck;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::actors::Actors;
use crate::fleet::{Connected, End, ExitCause, Fleet, Link, not_wanted};
use crate::ids::{Generation, TaskId, WorkerId};
use crate::journal::{Journal, Note};
use crate::lineage::waiters::Waiters;
use crate::lineage::{Lineage, Origin};
use crate::slots::verdicts::Verdicts;
use crate::slots::{Output, Slots};
use crate::tasks::{Place, Tasks};
use turn::{Consequences, Timer, Turn};

pub use action::{Action, FailKind};
pub use config::PoolConfig;
pub use event::Event;
pub use view::{TaskView, WorkerView};

/// The state machine of one session. See the module for its rules.
///
/// It knows no clock: `now` is the time since the session's start and never goes back.
#[derive(Debug)]
pub struct Session {
    fleet: Fleet,
    tasks: Tasks,
    actors: Actors,
    slots: Slots,
    verdicts: Verdicts,
    lineage: Lineage,
    waiters: Waiters,
    turn: Turn,
    closed: bool,
}

impl Session {
    /// A session with no workers wanted.
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        Self {
            fleet: Fleet::default(),
            tasks: Tasks::default(),
            actors: Actors::default(),
            slots: Slots::default(),
            verdicts: Verdicts::default(),
            lineage: Lineage::default(),
            waiters: Waiters::default(),
            turn: Turn::new(config),
            closed: false,
        }
    }

    /// Takes news in and returns what is to be done about it, in order.
    ///
    /// Whatever is due by `now` happens as well, after the event, whichever event it is.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        self.handle_all([event], now)
    }

    /// As [`Self::handle`], with events that came before whatever is due.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now: Duration) -> Vec<Action> {
        self.turn.begin(now);
        for event in events {
            let sequence = self.turn.journal.open_event();
            if self.closed {
                self.after_shutdown(&event);
            } else {
                self.take(&event);
                self.update_touched();
            }
            self.turn.journal.close_event(sequence, event);
        }
        if !self.closed {
            self.expire();
            self.settle();
        }
        std::mem::take(&mut self.turn.actions)
    }

    /// The history of the session.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.turn.journal
    }

    /// The time at which a `Tick` is due (since session start); `None` while nothing waits for time to pass.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.turn.timers.first().map(|(due, _)| *due)
    }

    fn take(&mut self, event: &Event) {
        let Self { fleet, tasks, turn, .. } = self;
        match *event {
            Event::SetDesired(count) => self.set_range(count, count, count),
            Event::SetRange { min, start, max } => self.set_range(min, start, max),
            Event::Wake => fleet.wake(turn, tasks.len()),
            Event::QueryBegan(ref query) => self.actors.begin_query(query),
            Event::QueryEnded(ref query) => self.actors.end_query(turn, query),
            Event::Actor(ref event) => self.actors.handle(turn, fleet, event),
            Event::Tick => {}
            Event::KeepAll(keep) => fleet.keep_all(keep),
            Event::Leaving { worker, launch } => fleet.leaving(turn, worker, launch),
            Event::Postponed { worker, launch, ref reason } => fleet.postpone(turn, worker, launch, reason),
            Event::Admitted { worker, launch } => fleet.admitted(turn, worker, launch),
            Event::Started { worker, launch, ref addresses } => {
                fleet.started(turn, worker, launch, addresses.clone());
            }
            Event::Connected { worker, launch, ref incarnation } => {
                match fleet.connected(turn, worker, launch, incarnation.clone()) {
                    None => {}
                    Some(Connected::Ends(end)) => self.end(&end),
                    Some(Connected::RestartedInPlace { link, reason }) => {
                        self.restarted_in_place(worker, link, reason);
                    }
                }
            }
            Event::Refused { worker, launch, ref reason } => {
                let end = fleet.refused(worker, launch, reason);
                self.end_if(end);
            }
            Event::Exited { worker, launch, ref reason, restartable, cause } => {
                let end = fleet.exited(worker, launch, reason.clone(), restartable, cause);
                self.end_if(end);
            }
            Event::Heard(ref heard) => {
                if fleet.heard(turn, heard) {
                    self.give_due_verdicts();
                }
            }
            Event::Unanswered { worker, launch, ref problem } => {
                let end = fleet.unanswered(turn, worker, launch, problem.clone());
                self.end_if(end);
            }
            Event::Unreachable { worker, launch, ref reason } => {
                let end = fleet.unreachable(worker, launch, reason);
                self.end_if(end);
            }
            Event::Submit { task, prefer, ref query, ref inputs, determinism, ref kept } => {
                let (query, inputs, kept) = (query.clone(), inputs.clone(), kept.clone());
                self.submit(task, Origin { order: 0, prefer, query, inputs, determinism, kept });
            }
            Event::Succeeded { task, worker, launch, attempt, ref outputs } => {
                self.reported(task, (worker, launch, attempt), Some(outputs));
            }
            Event::TaskFailed { task, worker, launch, attempt } => self.reported(task, (worker, launch, attempt), None),
            Event::TaskCancelled { task, worker, launch, attempt } => {
                tasks.cancelled_by_worker(turn, task, (worker, launch, attempt));
            }
            Event::Bounced { task, worker, launch, attempt, ref reason } => {
                tasks.bounced(turn, fleet, task, (worker, launch, attempt), reason.clone());
            }
            Event::InputsMissing { task, worker, launch, attempt, ref slots, gone, ref message } => {
                self.inputs_are_missing(task, (worker, launch, attempt), slots, gone, message.clone());
            }
            Event::FetchFailed { fetch, ref reads } => self.fetch_failed(fetch, reads),
            Event::Read(ref slots) => self.slots.mark_read(slots),
            Event::Drop(ref slots) => self.drop_slots(slots),
            Event::Stuck { worker, launch, slots, ref calls } => self.slots_are_held(worker, launch, slots, calls),
            Event::InputsLost { task, ref reason } => self.driver_lacks_inputs(task, reason),
            Event::CancelTask(task) => tasks.cancel(turn, task),
            Event::Shutdown => self.shut_down(),
        }
    }

    /// Lets everything happen that is due. What that makes due at once waits for the next event, so
    /// that no configuration can keep this loop going.
    fn expire(&mut self) {
        for (at, timer) in self.turn.take_due() {
            self.turn.journal.due(timer);
            let Self { fleet, tasks, turn, .. } = self;
            match timer {
                Timer::Worker(worker) => {
                    let end = fleet.worker_due(turn, worker, at, tasks.len());
                    self.end_if(end);
                }
                Timer::Cooling(worker) => tasks.cooled_down(turn, worker, at),
                Timer::Task(task) => tasks.backed_off(task, at),
                Timer::Cancel(task) => self.cancel_is_overdue(task),
                Timer::Stuck(worker) => self.stuck_is_due(worker, at),
                Timer::Silence(worker) => {
                    let end = fleet.silence_due(turn, worker);
                    self.end_if(end);
                }
                Timer::Verdicts => self.give_due_verdicts(),
                Timer::Growth => fleet.growth_due(turn, at, tasks.len()),
                Timer::Idleness => fleet.idleness_is_due(at),
                Timer::ActorPool(_) | Timer::ActorRoute(_) => self.actors.due(timer),
            }
            self.update_touched();
        }
    }

    /// Serves the queue while there is room, or fails it when the pool is unavailable.
    fn settle(&mut self) {
        if self.fleet.unavailable().is_some() {
            self.fleet.check_viability(&mut self.turn);
        }
        self.settle_actors();
        while self.fleet.unavailable().is_none() {
            self.serve_queue();
            self.scale();
            // A worker that was about to go may have been kept.
            self.serve_queue();
            self.replace_stuck();
            // Tasks that read what a replaced worker held have failed, and left room.
            self.serve_queue();
            if self.actors.is_settled(&self.fleet) {
                break;
            }
            self.settle_actors();
        }
        self.fleet.check_postponed(&mut self.turn);
        if let Some(message) = self.fleet.unavailable().cloned() {
            self.tasks.fail_all_unsent(&mut self.turn, &message);
            self.actors.fail_unplaced(&mut self.turn, &message);
            self.settle_actors();
            self.update_touched();
            self.scale();
        }
    }

    fn serve_queue(&mut self) {
        self.update_touched();
        while self.tasks.serve_queue(&mut self.turn, &self.fleet, &self.slots) {
            self.update_touched();
        }
        self.update_touched();
    }

    /// Sees to tasks that run again, brings the load and the idleness of touched workers up to date, and ends those that
    /// are neither wanted nor needed.
    fn update_touched(&mut self) {
        loop {
            self.settle_recoveries();
            let Some(id) = self.turn.touched.pop_first() else {
                return;
            };
            let holds_nothing = self.held_at(id) == 0;
            let Self { fleet, tasks, turn, .. } = self;
            if fleet.may_be_unstuck(id) && tasks.overdue_at(turn, id) == 0 {
                fleet.forget_stuck(turn, id);
            }
            tasks.relist(turn, fleet, id);
            fleet.note_idleness(turn, id, tasks.is_unused(id) && holds_nothing);
            let end = fleet.retire(id, &not_wanted(), tasks.is_free(id) && holds_nothing);
            self.end_if(end);
        }
    }

    /// True if nothing would be lost with the worker's process.
    fn is_free(&self, id: WorkerId) -> bool {
        self.tasks.is_free(id) && self.held_at(id) == 0
    }

    fn set_range(&mut self, min: u32, start: u32, max: u32) {
        let max = max.max(min);
        let start = start.clamp(min, max);
        self.fleet.set_bounds(min, max);
        self.tasks.set_workers(self.fleet.workers().len());
        let reason = not_wanted();
        for index in 0..self.fleet.workers().len() {
            let id = self.fleet.workers()[index].id;
            if id.0 < start {
                self.fleet.want(&mut self.turn, id);
            } else if id.0 >= max {
                self.unwant(id, &reason);
            }
        }
        self.fleet.check_viability(&mut self.turn);
    }

    fn unwant(&mut self, id: WorkerId, reason: &Arc<str>) {
        let is_free = self.is_free(id);
        let end = self.fleet.unwant(&mut self.turn, id, reason, is_free);
        self.end_if(end);
    }

    /// Releases idle workers, and grows, as far as that is due.
    fn scale(&mut self) {
        while let Some((worker, reason)) = self.fleet.idle_worker_to_release(&mut self.turn) {
            let launch = self.fleet.launch_of(worker);
            self.turn.note(Note::Released { worker, launch, reason: reason.clone() });
            self.unwant(worker, &reason);
        }
        for worker in self.fleet.postponed_to_withdraw(self.tasks.len()) {
            self.unwant(worker, &not_wanted());
        }
        self.fleet.scale_out(&mut self.turn, self.tasks.len());
        self.update_touched();
    }

    /// Takes in the report of an attempt, with its outputs unless the task's own code failed. If it counts, they are
    /// published.
    fn reported(&mut self, task: TaskId, place: Place, outputs: Option<&[Output]>) {
        let (worker, _, attempt) = place;
        let published = outputs.map(|outputs| u32::try_from(outputs.len()).unwrap_or(u32::MAX));
        let Some(reported) = self.tasks.reported(&mut self.turn, task, place, published) else {
            return;
        };
        for (worker, launch) in reported.crashed {
            self.fleet.blame(worker, launch);
        }
        self.fleet.proved_fit(worker);
        match (reported.counts, outputs) {
            (Some(_), _) if reported.is_recovery => self.ran_again(task, place, outputs),
            (Some(origin), Some(outputs)) => {
                let generation = Generation::first(attempt);
                let superseded = self.slots.publish(task, generation, worker, &origin.query, outputs);
                self.turn.touched.extend(superseded);
                let forgotten = self.lineage.enter(task, origin, outputs, &self.turn.config);
                self.note_forgotten(forgotten);
            }
            _ => {}
        }
    }

    fn restarted_in_place(&mut self, id: WorkerId, link: Link, reason: Arc<str>) {
        let counts = !self.tasks.is_any_running_at(id);
        if self.fleet.accepts_restart_in_place(&self.turn, id, counts) {
            self.lose_process(id, &reason, ExitCause::Crash);
            self.fleet.ready(&mut self.turn, id, link);
        } else {
            self.end(&Fleet::restart_in_place_ends(id, reason));
        }
    }

    fn end_if(&mut self, end: Option<End>) {
        if let Some(end) = end {
            self.end(&end);
        }
    }

    /// Ends a worker's present process, with all that it held and ran.
    fn end(&mut self, end: &End) {
        // A task that ran there bounds how often that happens, by its own caps: it is not counted twice.
        let counts = end.cause != ExitCause::Stopped && !self.tasks.is_any_running_at(end.worker);
        let was_connected = self.fleet.close(&mut self.turn, end);
        self.lose_process(end.worker, &end.reason, end.cause);
        self.fleet.replace(&mut self.turn, end, was_connected, counts, self.tasks.len());
    }

    /// Removes a worker's present process: what it held is lost, and its tasks wait again or fail.
    fn lose_process(&mut self, worker: WorkerId, reason: &Arc<str>, cause: ExitCause) {
        let launch = self.fleet.launch_of(worker);
        self.turn.note(Note::ProcessEnded { worker, launch, cause, reason: reason.clone() });
        let held = self.held_at(worker);
        let lost = self.slots.lose(worker, reason);
        let partitions = lost.ids.len();
        if !lost.ids.is_empty() {
            self.turn.note(Note::SlotsLost { worker, launch, slots: lost.ids.len() as u64 });
        }
        if let Some(link) = self.fleet.remove(&mut self.turn, worker, reason) {
            let (incarnation, reason) = (link.incarnation, reason.clone());
            let orderly = cause == ExitCause::Stopped && held == 0;
            self.turn.push(Action::WorkerLost { worker, launch, incarnation, reason, orderly, partitions });
        }
        self.tasks.lose_worker(&mut self.turn, worker, reason, cause);
        self.actors.lose_worker(&mut self.turn, worker, reason, cause);
        self.turn.loss = Some(Consequences::default());
        self.notify_readers(worker, lost);
        self.settle_recoveries();
        if let Some(Consequences { tasks, obstacle }) = self.turn.loss.take()
            && partitions > 0
        {
            self.turn.push(Action::PartitionsLost { worker, reason: reason.clone(), partitions, tasks, obstacle });
        }
    }

    /// Ends the session: every process is stopped and every task is over.
    fn shut_down(&mut self) {
        self.closed = true;
        self.turn.timers.clear();
        self.tasks.shut_down(&mut self.turn);
        self.actors.shut_down(&mut self.turn);
        self.fleet.shut_down(&mut self.turn);
        self.turn.touched.clear();
        self.turn.failed_recoveries.clear();
        self.close_verdicts();
    }

    /// After the end nothing happens, but the owner of a task that is still submitted, or of a fetch, must be told of its end.
    fn after_shutdown(&mut self, event: &Event) {
        match event {
            Event::Submit { task, .. } => {
                let message = "the session was shut down; start a new process to run more".into();
                self.turn.push(Action::FailTask { task: *task, kind: FailKind::Shutdown, message });
            }
            Event::FetchFailed { fetch, .. } => self.close_fetch(*fetch),
            Event::Actor(event) => Actors::after_shutdown(&mut self.turn, event),
            Event::Drop(slots) => {
                for slot in slots {
                    self.slots.remove(*slot);
                }
            }
            _ => {}
        }
    }
}
