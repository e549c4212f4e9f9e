//! The pool of logical workers of one driver session: [`Pool::handle`] turns events into actions.
//!
//! The driver wants workers `worker-0` to `worker-<n-1>` and submits tasks; the pool starts the
//! workers, starts them again, spreads the tasks over them and sends tasks again whose worker died.
//! Daft never hears of a death: the logical worker stays, only the launch behind it changes.
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
//! nothing; the pool breaks on its account only once it has waited for as long as a start may take ([`postponed`]).
//!
//! The budget of a worker is `max_worker_restarts` within `restart_window`, cleared by each task that it ends. A death
//! under a task does not count: the task's own caps bound it. If the task then ends on another worker, it counts after
//! all. An exit that is not restartable before the worker was ready is a mistake, as long as no worker of the pool was
//! ever ready. Later it may pass, and the launch is asked for again for as long as a start may take, free of charge.
//!
//! When every wanted worker is given up, the pool is broken: `PoolBroken` once, and all tasks that wait fail. It is
//! mended by wanting a worker that is not given up, and by `Wake`. Workers that were given up and may fare better are
//! tried again by `Wake`, and at the end of the window: in a fixed pool by a timer, in an elastic one when it grows.
//! With no worker wanted, tasks wait.
//!
//! # Size
//!
//! The driver is told of all workers up to the upper bound from the start; which of them have a process is decided in
//! [`scaling`]. A worker that runs a task, or that holds partitions in use or actors, is never let go while idle.
//!
//! # Tasks
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | waiting | `Submit`; a lost attempt below the cap; no room; back-off over | room on a ready worker: `Send` → sent |
//! | backing off | `Bounced` by a worker without other tasks, `InputsUnavailable` | back-off over → waiting |
//! | sent | `Send` | its report: `Deliver`; `Bounced` by a worker with other tasks → waiting, else → backing off, or `FailTask` at the limit; its worker lost → waiting, or `FailTask` at the cap; its worker stuck → waiting |
//! | cancelling | `CancelTask` while sent: `CancelOnWorker` | any news of the attempt, or its worker lost: `Cancelled` |
//!
//! A task that is not sent ends at once when cancelled, when its inputs are lost and when the pool
//! is broken. Each task ends exactly once, in `Deliver`, `FailTask` or `Cancelled`, and is then
//! forgotten. Waiting tasks are served in the order of submission; a task that was sent before was
//! submitted before every task that never was, so tasks that are sent again come first.
//!
//! # Room
//!
//! A worker has room while it is ready, has fewer tasks than `slots_per_worker + queue_ahead`, did not just refuse one,
//! and is not [`stuck`]. It is offered tasks again as soon as one of its tasks ends. A task goes to the worker it prefers, else to the least loaded, else
//! (if that is all there is) to the one that refused it last. A task that was lost to memory gets a worker to itself
//! ([`alone`]).

mod action;
mod alone;
mod broken;
mod cause;
mod config;
mod event;
mod lives;
mod postponed;
mod runs;
mod scaling;
mod stuck;
mod task;
mod view;
mod worker;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{TaskId, WorkerId};
use runs::Refusal;
use scaling::Growth;
use task::Task;
use worker::{State, Worker};

pub use action::{Action, FailKind};
pub use cause::{ExitCause, UnknownCause};
pub use config::PoolConfig;
pub use event::Event;
pub use task::TaskPhase;
pub use view::{TaskView, WorkerView};
pub use worker::{Addresses, WorkerPhase};

/// The things that may be due at a point in time. Each is checked against the state when it fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A start takes too long, or a restart is due.
    Worker(WorkerId),
    /// A worker that refused a task is offered tasks again.
    Cooling(WorkerId),
    /// A task that was refused is tried again.
    Task(TaskId),
    /// A cancelled task should have ended by now.
    Cancel(TaskId),
    /// The patience with a stuck worker ends.
    Stuck(WorkerId),
    /// An elastic pool may grow.
    Growth,
    /// A worker of an elastic pool has been idle for long enough.
    Idleness,
}

/// The state machine of one session's workers and tasks. See the module for its rules.
///
/// It knows no clock: `now` is the time since the session's start and never goes back.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    now: Duration,
    /// Between how many workers the pool has; equal if its size is fixed.
    min: u32,
    max: u32,
    /// How many workers are up or coming up.
    alive: usize,
    /// For how many the allocator has no room.
    postponed: usize,
    /// The number of workers whose slots are held by cancelled tasks.
    stuck: usize,
    /// By worker index; grows with what is wanted, never shrinks, so that launch numbers go on.
    workers: Vec<Worker>,
    tasks: HashMap<TaskId, Task>,
    /// Tasks that wait for room, by order of submission.
    waiting: BTreeMap<u64, TaskId>,
    /// Tasks that wait for a worker to themselves, by order of submission.
    alone: BTreeMap<u64, TaskId>,
    /// Workers that have room, least loaded first.
    open: BTreeSet<(usize, WorkerId)>,
    /// Workers that are idle, longest first.
    idle: BTreeSet<(Duration, WorkerId)>,
    growth: Growth,
    /// How many workers are needed, whatever the tasks.
    needed: u32,
    idleness_due: Option<Duration>,
    keep_all: bool,
    /// True once any worker was ready: what is refused later may be admitted again.
    was_ever_ready: bool,
    timers: BTreeSet<(Duration, Timer)>,
    submitted: u64,
    sends: u64,
    /// The number of tasks that ran to their end: as it grows, what a task waits for may come.
    ended: u64,
    broken: Option<Arc<str>>,
    closed: bool,
    /// The actions that the event at hand has led to so far.
    actions: Vec<Action>,
}

impl Pool {
    /// A pool with no workers wanted.
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config,
            now: Duration::ZERO,
            min: 0,
            max: 0,
            alive: 0,
            postponed: 0,
            stuck: 0,
            workers: Vec::new(),
            tasks: HashMap::new(),
            waiting: BTreeMap::new(),
            alone: BTreeMap::new(),
            open: BTreeSet::new(),
            idle: BTreeSet::new(),
            growth: Growth::default(),
            needed: 0,
            idleness_due: None,
            keep_all: false,
            was_ever_ready: false,
            timers: BTreeSet::new(),
            submitted: 0,
            sends: 0,
            ended: 0,
            broken: None,
            closed: false,
            actions: Vec::new(),
        }
    }

    /// Takes news in and returns what is to be done about it, in order.
    ///
    /// Whatever is due by `now` happens as well, after the event, whichever event it is.
    pub fn handle(&mut self, event: Event, now: Duration) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.closed {
            self.after_shutdown(&event);
        } else {
            self.take(event);
            if !self.closed {
                self.expire();
                self.settle();
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// When a `Tick` is due (since session start); `None` while nothing waits for time to pass.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::SetDesired(count) => self.set_range(count, count, count),
            Event::SetRange { min, start, max } => self.set_range(min, start, max),
            Event::Wake => self.wake(),
            Event::Need(workers) => self.needed = workers,
            Event::KeepAll(keep) => self.keep_all = keep,
            Event::Hold { worker, launch, count } => self.hold(worker, launch, count),
            Event::Release { worker, launch, count } => self.release(worker, launch, count),
            Event::Leaving { worker, launch } => self.leaving(worker, launch),
            Event::Postponed { worker, launch, reason } => self.postpone(worker, launch, &reason),
            Event::Admitted { worker, launch } => self.admitted(worker, launch),
            Event::Started { worker, launch, addresses } => self.started(worker, launch, addresses),
            Event::Connected { worker, launch, incarnation } => self.connected(worker, launch, incarnation),
            Event::Refused { worker, launch, reason } => self.refused(worker, launch, &reason),
            Event::Exited { worker, launch, reason, restartable, cause } => {
                self.exited(worker, launch, reason, restartable, cause);
            }
            Event::Unreachable { worker, launch, reason } => self.unreachable(worker, launch, &reason),
            Event::Submit { task, prefer } => self.submit(task, prefer),
            Event::Succeeded { task, worker, launch, attempt, outputs } => {
                self.hold(worker, launch, outputs);
                self.reported(task, worker, launch, attempt);
            }
            Event::TaskFailed { task, worker, launch, attempt } => self.reported(task, worker, launch, attempt),
            Event::TaskCancelled { task, worker, launch, attempt } => {
                self.cancelled_by_worker(task, worker, launch, attempt);
            }
            Event::Bounced { task, worker, launch, attempt, reason } => {
                self.bounced(task, worker, launch, attempt, Refusal::ByWorker(reason));
            }
            Event::InputsUnavailable { task, worker, launch, attempt, reason } => {
                self.bounced(task, worker, launch, attempt, Refusal::ByHolder(reason));
            }
            Event::Stuck { worker, launch, slots, calls } => self.slots_are_stuck(worker, launch, slots, &calls),
            Event::InputsLost { task, reason } => self.inputs_lost(task, &reason),
            Event::CancelTask(task) => self.cancel(task),
            Event::Tick => {}
            Event::Shutdown => self.shut_down(),
        }
    }

    /// Lets everything happen that is due. What that makes due at once waits for the next event, so
    /// that no configuration can keep this loop going.
    fn expire(&mut self) {
        let mut due = Vec::new();
        while let Some(first) = self.timers.pop_first() {
            if first.0 > self.now {
                self.timers.insert(first);
                break;
            }
            due.push(first);
        }
        for (at, timer) in due {
            match timer {
                Timer::Worker(worker) => self.worker_due(worker, at),
                Timer::Cooling(worker) => self.cooled_down(worker, at),
                Timer::Task(task) => self.backed_off(task, at),
                Timer::Cancel(task) => self.cancel_is_overdue(task),
                Timer::Stuck(worker) => self.stuck_is_due(worker, at),
                Timer::Growth => self.growth_due(at),
                Timer::Idleness => self.idleness_is_due(at),
            }
        }
    }

    /// Serves the queue while there is room, or fails it when the pool is broken.
    fn settle(&mut self) {
        if self.broken.is_some() {
            self.judge();
        }
        if self.broken.is_none() {
            self.serve_queue();
            self.scale();
            // A worker that was about to go may have been kept.
            self.serve_queue();
            self.replace_stuck();
        }
        if self.postponed > 0 {
            self.judge();
        }
        if let Some(message) = self.broken.clone() {
            self.fail_all_unsent(&message);
            self.scale();
        }
    }

    fn serve_queue(&mut self) {
        self.seat_those_alone();
        while !self.open.is_empty() {
            let Some((_, task)) = self.waiting.pop_first() else {
                break;
            };
            self.send(task);
        }
    }

    /// Ends the session: every process is stopped and every task is over.
    fn shut_down(&mut self) {
        self.closed = true;
        self.timers.clear();
        self.open.clear();
        self.idle.clear();
        (self.alive, self.postponed) = (0, 0);
        self.waiting.clear();
        self.alone.clear();
        let message: Arc<str> = "the session was shut down before the task ended".into();
        let mut tasks: Vec<(TaskId, Task)> = self.tasks.drain().collect();
        tasks.sort_unstable_by_key(|(_, task)| task.order);
        for (task, record) in tasks {
            self.actions.push(if record.is_cancelling() {
                Action::Cancelled { task }
            } else {
                Action::FailTask { task, kind: FailKind::Shutdown, message: message.clone() }
            });
        }
        let reason: Arc<str> = "the session was shut down".into();
        for worker in &mut self.workers {
            let state = std::mem::replace(&mut worker.state, State::Absent);
            worker.forget_tasks();
            worker.idle_since = None;
            let (worker, launch) = (worker.id, worker.launch);
            if state.has_process() {
                self.actions.push(Action::Stop { worker, launch, force: false, reason: reason.clone() });
            }
            if state.has_connection() {
                self.actions.push(Action::Disconnect { worker, launch });
            }
        }
    }

    /// After the end nothing happens, but the owner of a task that is still submitted must hear of its end.
    fn after_shutdown(&mut self, event: &Event) {
        if let Event::Submit { task, .. } = event {
            let message = "the session was shut down; start a new process to run more".into();
            self.actions.push(Action::FailTask { task: *task, kind: FailKind::Shutdown, message });
        }
    }
}
