//! An observer of a session that keeps its own books, from events and actions alone, and compares.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

use crate::fleet::WorkerRecord;
use crate::tasks::Place;

const SLOTS: usize = 2;

/// What the observer knows of one task.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub ends: u32,
    pub at: Option<Place>,
    pub last: u32,
    /// The number of its latest send among all.
    pub sent: u64,
    /// Losses that used up an attempt, and how many of these were for memory.
    pub lost: u32,
    pub lost_to_memory: u32,
    pub cancelling: bool,
}

/// What the observer knows of one worker.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub launch: u64,
    pub process: bool,
    pub connected: bool,
    pub incarnation: Option<Incarnation>,
}

pub(super) struct Observer {
    pub pool: Session,
    pub now: Duration,
    pub desired: u32,
    pub elastic: bool,
    pub holds: BTreeMap<(WorkerId, LaunchId), u64>,
    pub workers: BTreeMap<WorkerId, Seen>,
    pub tasks: BTreeMap<TaskId, Known>,
    pub removed: BTreeSet<Incarnation>,
    pub incarnations: u64,
    pub sends: u64,
    /// Why a worker is lost by the event at hand.
    pub cause: ExitCause,
    pub broken: bool,
    pub closed: bool,
}

fn config() -> PoolConfig {
    PoolConfig {
        slots_per_worker: SLOTS as u32,
        queue_ahead: 1,
        bounce_limit: secs(5),
        cancel_patience: ms(600),
        cancel_patience_with_holds: secs(3),
        ..small()
    }
}

impl Observer {
    pub fn new(elastic: bool) -> Self {
        Self {
            pool: Session::new(config()),
            now: Duration::ZERO,
            desired: 0,
            elastic,
            holds: BTreeMap::new(),
            workers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            removed: BTreeSet::new(),
            incarnations: 0,
            sends: 0,
            cause: ExitCause::Crash,
            broken: false,
            closed: false,
        }
    }

    fn load(&self, worker: WorkerId) -> usize {
        self.tasks.values().filter(|task| task.at.is_some_and(|(at, ..)| at == worker)).count()
    }

    /// Books what an event means by itself, hands it to the pool and checks what the pool makes of it.
    pub fn tell(&mut self, event: Event) {
        let was_closed = self.closed;
        if !was_closed {
            self.book(&event);
        }
        let postponed = self.postponed_now(&event);
        let actions = self.pool.handle(event, self.now);
        if let Some(before) = postponed {
            let view = self.pool.worker(before.0).expect("a known worker");
            assert_eq!((view.worker, view.launch, view.restarts), before, "to be postponed costs nothing");
        }
        for action in &actions {
            if was_closed {
                assert!(matches!(action, Action::FailTask { kind: FailKind::Shutdown, .. }), "{action:?}");
            }
            self.check(action);
        }
        self.broken &= self.pool.unavailable().is_some();
        self.check_rest();
    }

    fn book(&mut self, event: &Event) {
        self.cause = match event {
            Event::Exited { cause, .. } => *cause,
            Event::Unreachable { .. } => ExitCause::Infrastructure,
            Event::Refused { .. } => ExitCause::NeverStarted,
            _ => ExitCause::Crash,
        };
        match event {
            Event::SetDesired(count) => self.desired = *count,
            Event::SetRange { min, max, .. } => self.desired = *min.max(max),
            Event::Succeeded { worker, launch, outputs, .. }
                if self
                    .workers
                    .get(worker)
                    .is_some_and(|seen| seen.launch == launch.0 && seen.incarnation.is_some()) =>
            {
                *self.holds.entry((*worker, *launch)).or_default() += outputs;
            }
            Event::Release { worker, launch, count } => {
                *self.holds.get_mut(&(*worker, *launch)).expect("something is held") -= count;
            }
            Event::Exited { worker, launch, .. } => {
                if let Some(seen) = self.workers.get_mut(worker).filter(|seen| seen.launch == launch.0) {
                    seen.process = false;
                }
            }
            Event::Bounced { task, worker, launch, attempt, .. }
            | Event::InputsUnavailable { task, worker, launch, attempt, .. } => {
                self.leave(*task, (*worker, *launch, *attempt));
            }
            Event::TaskCancelled { task, worker, launch, attempt } => {
                let left = self.leave(*task, (*worker, *launch, *attempt));
                if let Some(known) = self.tasks.get_mut(task) {
                    known.lost += u32::from(left);
                }
            }
            Event::CancelTask(task) => {
                if let Some(known) = self.tasks.get_mut(task) {
                    known.cancelling = true;
                }
            }
            Event::Shutdown => self.closed = true,
            _ => {}
        }
    }

    /// A worker with its launch and its restarts, if the event can do no more than postpone it.
    fn postponed_now(&self, event: &Event) -> Option<(WorkerId, LaunchId, usize)> {
        let Event::Postponed { worker, .. } = event else {
            return None;
        };
        let anything_due = self.pool.next_deadline().is_some_and(|due| due <= self.now);
        let view = self.pool.worker(*worker).filter(|_| !anything_due)?;
        Some((view.worker, view.launch, view.restarts))
    }

    fn leave(&mut self, task: TaskId, place: Place) -> bool {
        match self.tasks.get_mut(&task).filter(|known| known.at == Some(place)) {
            Some(known) => known.at.take().is_some(),
            None => false,
        }
    }

    fn end(&mut self, task: TaskId) {
        let known = self.tasks.get_mut(&task).expect("only submitted tasks end");
        known.ends += 1;
        known.at = None;
        assert_eq!(known.ends, 1, "task {task} ended twice");
    }

    fn check(&mut self, action: &Action) {
        let capacity = self.pool.config().worker_capacity();
        match action {
            Action::Launch { worker, launch } => {
                let seen = self.workers.entry(*worker).or_default();
                assert!(!seen.process && launch.0 == seen.launch + 1 && worker.0 < self.desired);
                *seen = Seen { launch: launch.0, process: true, ..Seen::default() };
            }
            Action::Stop { worker, launch, .. } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process);
                seen.process = false;
            }
            Action::Connect { worker, launch, .. } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process && !seen.connected);
                seen.connected = true;
            }
            Action::Disconnect { worker, launch } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.connected);
                seen.connected = false;
            }
            Action::WorkerReady { worker, launch, incarnation } => {
                let seen = self.present(*worker, *launch);
                assert!(seen.process && seen.connected);
                seen.incarnation = Some(incarnation.clone());
                assert!(!self.removed.contains(incarnation));
            }
            Action::WorkerLost { worker, launch, incarnation, orderly, .. } => {
                if *orderly {
                    let live = |known: &&Known| known.at.is_some_and(|(at, ..)| at == *worker) && !known.cancelling;
                    assert_eq!(self.tasks.values().filter(live).count(), 0, "{worker} was let go with tasks");
                    let held = self.holds.get(&(*worker, *launch)).copied().unwrap_or(0);
                    assert_eq!(held, 0, "{worker} was let go with what somebody refers to");
                }
                self.holds.remove(&(*worker, *launch));
                let gone = self.present(*worker, *launch).incarnation.take();
                assert_eq!(gone.as_ref(), Some(incarnation));
                assert!(self.removed.insert(incarnation.clone()), "lost twice");
                let here = self.tasks.values_mut().filter(|known| known.at.is_some_and(|(at, ..)| at == *worker));
                let mut here: Vec<&mut Known> = here.collect();
                here.sort_by_key(|known| known.sent);
                for (place, known) in here.into_iter().enumerate() {
                    known.at = None;
                    let charged = u32::from(place < SLOTS && self.cause.charges());
                    known.lost += charged;
                    known.lost_to_memory += if self.cause == ExitCause::OutOfMemory { charged } else { 0 };
                }
            }
            Action::Send { task, attempt, worker, launch } => {
                assert!(!self.closed && self.load(*worker) < capacity && worker.0 < self.desired);
                let seen = self.present(*worker, *launch);
                assert!(seen.process && seen.connected && seen.incarnation.is_some());
                let known = self.tasks.get_mut(task).expect("only submitted tasks are sent");
                assert!(known.ends == 0 && known.at.is_none() && attempt.0 == known.last + 1);
                assert!(!known.cancelling, "a cancelled task is not sent");
                assert!(known.lost < 3 && known.lost_to_memory < 2, "sent although a cap is reached");
                known.last = attempt.0;
                known.sent = self.sends;
                self.sends += 1;
                let exclusive = known.lost_to_memory > 0;
                let others = self.tasks.values().filter(|other| other.at.is_some_and(|(at, ..)| at == *worker));
                let mut others = others.peekable();
                assert!(
                    !exclusive || others.peek().is_none(),
                    "{task} has no worker of its own after it ran out of memory"
                );
                assert!(others.all(|other| other.lost_to_memory == 0), "{task} disturbs a task with a reservation");
                let known = self.tasks.get_mut(task).expect("as above");
                known.at = Some((*worker, *launch, *attempt));
            }
            Action::CancelOnWorker { task, attempt, worker, launch } => {
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
                let known = self.tasks.get_mut(task).expect("as above");
                if !known.cancelling {
                    known.at = None; // its input is lost, or it is taken back from a stuck worker
                }
            }
            Action::Deliver { task, attempt, worker, launch } => {
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
                assert!(!self.tasks[task].cancelling);
                self.end(*task);
            }
            Action::FailTask { task, kind, .. } => {
                let reason_holds = match kind {
                    FailKind::InputsLost | FailKind::AttemptsLost(_) | FailKind::Refused => true,
                    FailKind::NoWorkers => self.broken,
                    FailKind::Shutdown => self.closed,
                };
                assert!(reason_holds, "{action:?}");
                self.end(*task);
            }
            Action::Cancelled { task } => {
                assert!(self.tasks[task].cancelling, "nobody asked for that");
                self.end(*task);
            }
            Action::Grown { .. } => {}
            Action::Replaced { worker, launch, tasks, held_for, holds, .. } => {
                assert!(*held_for >= self.pool.config().cancel_patience && self.present(*worker, *launch).process);
                assert!(tasks.iter().all(|task| self.tasks[task].cancelling), "only cancelled tasks are cut off");
                let patient = *held_for >= self.pool.config().cancel_patience_with_holds;
                assert!(patient || *holds == 0, "what it holds is lost too soon");
                self.cause = ExitCause::Stopped;
            }
            Action::Defect { message } => panic!("{message}"),
            Action::Unavailable { .. } => {
                assert!(!std::mem::replace(&mut self.broken, true), "broken twice");
            }
        }
    }

    fn present(&mut self, worker: WorkerId, launch: LaunchId) -> &mut Seen {
        let seen = self.workers.get_mut(&worker).expect("a worker that was launched");
        assert_eq!(seen.launch, launch.0, "an action for a stale launch");
        seen
    }

    fn record(&self, view: &WorkerView<'_>) -> &WorkerRecord {
        self.pool.fleet.get(view.worker).expect("a known worker")
    }

    /// What holds after every event: the pool's view agrees with the books, and the queue is served.
    fn check_rest(&self) {
        let capacity = self.pool.config().worker_capacity();
        for (task, known) in &self.tasks {
            let view = self.pool.task(*task);
            assert_eq!(view.is_none(), known.ends > 0, "task {task} is forgotten, or kept after its end");
            let at = view.and_then(|view| match view.phase {
                TaskPhase::Sent { worker, launch, attempt, .. } => Some((worker, launch, attempt)),
                _ => None,
            });
            assert_eq!(at, known.at, "task {task}");
        }
        let waits = self.pool.waiting().next().is_some();
        for view in self.pool.workers() {
            let load = self.load(view.worker);
            assert_eq!(load, view.tasks);
            let kept = self.pool.tasks.load(view.worker).unwrap().reserved_for.is_some();
            let stuck = self.pool.fleet.stuck_since(view.worker).is_some();
            let open = view.phase == WorkerPhase::Ready && !view.cooling && !kept && !stuck && load < capacity;
            assert!(!(waits && open), "{} has room while tasks wait", view.worker);
            let held = self.holds.get(&(view.worker, view.launch)).copied().unwrap_or(0);
            assert_eq!(held, view.holds);
            assert!(view.phase != WorkerPhase::Draining || load > 0 || held > 0, "an idle worker drains");
            let alive = self.workers.get(&view.worker).is_some_and(|seen| seen.process);
            assert_eq!(alive, !matches!(view.phase, WorkerPhase::Restarting | WorkerPhase::GivenUp));
        }
        let kept_for =
            self.pool.fleet.workers().iter().filter_map(|worker| self.pool.tasks.load(worker.id)?.reserved_for);
        let gone: Vec<TaskId> = kept_for.filter(|task| self.pool.task(*task).is_none()).collect();
        assert_eq!(gone, [], "workers are kept for tasks that are over");
        if let Some(first) = self.pool.waiting_exclusive().next() {
            let kept = |view: &WorkerView<'_>| self.pool.tasks.load(view.worker).unwrap().reserved_for.is_some();
            let stuck = |view: &WorkerView<'_>| self.pool.fleet.stuck_since(view.worker).is_some();
            let is_free = |view: &WorkerView<'_>| view.phase == WorkerPhase::Ready && !kept(view) && !stuck(view);
            let unkept = self.pool.workers().any(|view| is_free(&view));
            assert!(
                !unkept || self.pool.tasks.get(first).unwrap().reserved.is_some(),
                "{first} could have a worker to itself"
            );
        }
        let waits = waits || self.pool.waiting_exclusive().next().is_some();
        assert!(!waits || self.pool.unavailable().is_none(), "tasks wait for a broken pool");
        assert!(self.pool.next_deadline().is_none_or(|due| due > self.now), "overdue");
        let backing_off =
            self.pool.queued_count() - self.pool.waiting().count() - self.pool.waiting_exclusive().count();
        let timed = |view: &WorkerView<'_>| {
            use WorkerPhase::{Connecting, GivenUp, Postponed, Restarting, Starting};
            let is_patient = || self.record(view).state.due().is_some();
            usize::from(match view.phase {
                Starting | Connecting | Restarting => true,
                Postponed | GivenUp => is_patient(),
                _ => false,
            }) + usize::from(view.cooling)
                + usize::from(self.record(view).stuck.as_ref().is_some_and(|it| it.due.is_some()))
        };
        let of_cancel = |timer: &Timer| match timer {
            Timer::Cancel(task) => usize::from(self.pool.tasks.get(*task).unwrap().is_cancelling()),
            _ => 0,
        };
        let cancelled = self.pool.turn.timers.iter().map(|(_, timer)| of_cancel(timer)).sum::<usize>();
        let audit = self.pool.fleet.audit();
        let stuck = self.pool.fleet.workers().iter().filter(|worker| worker.stuck.is_some()).count();
        assert_eq!(audit.stuck, stuck);
        let of_workers = self.pool.workers().map(|view| timed(&view)).sum::<usize>();
        let of_scaling = usize::from(audit.growth_due.is_some()) + usize::from(audit.idleness_due.is_some());
        let timers = backing_off + of_workers + of_scaling + cancelled;
        let postponed = self.pool.workers().filter(|view| view.phase == WorkerPhase::Postponed).count();
        assert_eq!(audit.postponed, postponed);
        let growing = audit.growth_due.is_some();
        assert!(postponed == 0 || !growing, "others would only wait behind those that are postponed");
        let lost_sight = |view: &WorkerView<'_>| self.record(view).state.is_out_of_sight();
        let mut wanted = self.pool.workers().filter(|view| view.wanted).peekable();
        let is_hopeless = wanted.peek().is_some() && wanted.all(|view| lost_sight(&view));
        let is_broken = self.pool.unavailable().is_some();
        assert!(self.closed || is_hopeless || !is_broken, "broken, though a worker may come up");
        assert!(self.closed || !is_hopeless || is_broken || postponed == 0, "everybody waits for room without end");
        assert_eq!(
            self.pool.fleet.alive(),
            self.pool.fleet.workers().iter().filter(|worker| worker.state.counts()).count()
        );
        assert!(self.closed || self.pool.turn.timers.len() == timers, "each wait has one timer, no timer is left over");
    }
}
