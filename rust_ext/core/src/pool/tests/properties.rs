//! Random events against an observer that keeps its own books from events and actions alone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Place = (WorkerId, LaunchId, Attempt);

const SLOTS: usize = 2;

/// What the observer knows of one task.
#[derive(Debug, Default)]
struct Known {
    ends: u32,
    at: Option<Place>,
    last: u32,
    /// The number of its latest send among all.
    sent: u64,
    /// Losses that used up an attempt, and how many of these were for memory.
    lost: u32,
    lost_to_memory: u32,
    cancelling: bool,
}

/// What the observer knows of one worker.
#[derive(Debug, Default)]
struct Seen {
    launch: u64,
    process: bool,
    connected: bool,
    incarnation: Option<Incarnation>,
}

struct Observer {
    pool: Pool,
    now: Duration,
    desired: u32,
    elastic: bool,
    holds: BTreeMap<(WorkerId, LaunchId), u64>,
    workers: BTreeMap<WorkerId, Seen>,
    tasks: BTreeMap<TaskId, Known>,
    mourned: BTreeSet<Incarnation>,
    incarnations: u64,
    sends: u64,
    /// Why a worker is lost by the event at hand.
    cause: ExitCause,
    broken: bool,
    closed: bool,
}

fn config() -> PoolConfig {
    PoolConfig { slots_per_worker: SLOTS as u32, queue_ahead: 1, bounce_limit: secs(5), ..small() }
}

impl Observer {
    fn new(elastic: bool) -> Self {
        Self {
            pool: Pool::new(config()),
            now: Duration::ZERO,
            desired: 0,
            elastic,
            holds: BTreeMap::new(),
            workers: BTreeMap::new(),
            tasks: BTreeMap::new(),
            mourned: BTreeSet::new(),
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
    fn tell(&mut self, event: Event) {
        let was_closed = self.closed;
        if !was_closed {
            self.book(&event);
        }
        let actions = self.pool.handle(event, self.now);
        for action in &actions {
            if was_closed {
                assert!(matches!(action, Action::FailTask { kind: FailKind::Shutdown, .. }), "{action:?}");
            }
            self.check(action);
        }
        self.broken &= self.pool.broken().is_some();
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
                if self.workers.get(worker).is_some_and(|seen| seen.launch == launch.0) =>
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
            Event::Bounced { task, worker, launch, attempt, .. } => {
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
                assert!(!self.mourned.contains(incarnation));
            }
            Action::WorkerLost { worker, launch, incarnation, orderly, .. } => {
                if *orderly {
                    assert_eq!(self.load(*worker), 0, "{worker} was let go with tasks");
                    let held = self.holds.get(&(*worker, *launch)).copied().unwrap_or(0);
                    assert_eq!(held, 0, "{worker} was let go with what somebody refers to");
                }
                let gone = self.present(*worker, *launch).incarnation.take();
                assert_eq!(gone.as_ref(), Some(incarnation));
                assert!(self.mourned.insert(incarnation.clone()), "lost twice");
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
                let alone = known.lost_to_memory > 0;
                let others = self.tasks.values().filter(|other| other.at.is_some_and(|(at, ..)| at == *worker));
                let mut others = others.peekable();
                assert!(!alone || others.peek().is_none(), "{task} is not alone after it ran out of memory");
                assert!(others.all(|other| other.lost_to_memory == 0), "{task} disturbs one that is to be alone");
                let known = self.tasks.get_mut(task).expect("as above");
                known.at = Some((*worker, *launch, *attempt));
            }
            Action::CancelOnWorker { task, attempt, worker, launch } => {
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
            }
            Action::Deliver { task, attempt, worker, launch } => {
                assert_eq!(self.tasks[task].at, Some((*worker, *launch, *attempt)));
                assert!(!self.tasks[task].cancelling);
                self.end(*task);
            }
            Action::FailTask { task, kind, .. } => {
                let reason_holds = match kind {
                    FailKind::Lost => true,
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
            Action::PoolBroken { .. } => {
                assert!(!std::mem::replace(&mut self.broken, true), "broken twice");
            }
        }
    }

    fn present(&mut self, worker: WorkerId, launch: LaunchId) -> &mut Seen {
        let seen = self.workers.get_mut(&worker).expect("a worker that was launched");
        assert_eq!(seen.launch, launch.0, "an action for a stale launch");
        seen
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
            let kept = self.pool.workers[view.worker.index()].kept_for.is_some();
            let open = view.phase == WorkerPhase::Ready && !view.cooling && !kept && load < capacity;
            assert!(!(waits && open), "{} has room while tasks wait", view.worker);
            let held = self.holds.get(&(view.worker, view.launch)).copied().unwrap_or(0);
            assert_eq!(held, view.holds);
            assert!(view.phase != WorkerPhase::Draining || load > 0 || held > 0, "an idle worker drains");
            let alive = self.workers.get(&view.worker).is_some_and(|seen| seen.process);
            assert_eq!(alive, !matches!(view.phase, WorkerPhase::Restarting | WorkerPhase::GivenUp));
        }
        if let Some(first) = self.pool.waiting_alone().next() {
            let kept = |view: &WorkerView<'_>| self.pool.workers[view.worker.index()].kept_for.is_some();
            let unkept = self.pool.workers().any(|view| view.phase == WorkerPhase::Ready && !kept(&view));
            assert!(!unkept || self.pool.tasks[&first].seat.is_some(), "{first} could have a worker to itself");
        }
        let waits = waits || self.pool.waiting_alone().next().is_some();
        assert!(!waits || self.pool.broken().is_none(), "tasks wait for a broken pool");
        assert!(self.pool.next_deadline().is_none_or(|due| due > self.now), "overdue");
        let backing_off = self.pool.queued_count() - self.pool.waiting().count() - self.pool.waiting_alone().count();
        let timed = |view: &WorkerView<'_>| {
            use WorkerPhase::{Connecting, Restarting, Starting};
            usize::from(matches!(view.phase, Starting | Connecting | Restarting)) + usize::from(view.cooling)
        };
        let of_workers = self.pool.workers().map(|view| timed(&view)).sum::<usize>();
        let of_scaling = usize::from(self.pool.growth.due.is_some()) + usize::from(self.pool.idleness_due.is_some());
        let timers = backing_off + of_workers + of_scaling;
        assert_eq!(self.pool.alive, self.pool.workers.iter().filter(|worker| worker.state.counts()).count());
        assert!(self.closed || self.pool.timers.len() == timers, "each wait has one timer, no timer is left over");
    }

    // -- what the world may do next ------------------------------------------------------------

    /// Lets a worker take its next good step.
    fn step(&mut self, worker: WorkerId) {
        let Some(view) = self.pool.worker(worker) else {
            return;
        };
        let (launch, phase) = (view.launch, view.phase);
        match phase {
            WorkerPhase::Starting => {
                self.tell(Event::Started { worker, launch, addresses: at("h") });
            }
            WorkerPhase::Connecting => self.connect(worker, launch),
            WorkerPhase::Leaving if view.tasks == 0 => {
                let (reason, cause) = ("told to stop".to_owned(), ExitCause::Infrastructure);
                self.tell(Event::Exited { worker, launch, reason, restartable: true, cause });
            }
            WorkerPhase::Ready | WorkerPhase::Draining | WorkerPhase::Leaving => self.finish(worker),
            _ => {}
        }
    }

    fn connect(&mut self, worker: WorkerId, launch: LaunchId) {
        self.incarnations += 1;
        let incarnation = Incarnation::from(self.incarnations.to_string());
        self.tell(Event::Connected { worker, launch, incarnation });
    }

    fn finish(&mut self, worker: WorkerId) {
        let first = self.pool.tasks_at(worker).next();
        if let Some((task, known)) = first.and_then(|task| self.tasks.get_key_value(&task)) {
            let (task, cancelling) = (*task, known.cancelling);
            let Some((worker, launch, attempt)) = known.at else {
                return;
            };
            self.tell(if cancelling {
                Event::TaskCancelled { task, worker, launch, attempt }
            } else {
                Event::Succeeded { task, worker, launch, attempt, outputs: task.0 % 3 }
            });
        }
    }

    /// News of a task's attempt: of the present one, or of one that is or never was.
    fn news(&mut self, kind: u8, task: TaskId, back: u32) {
        let known = self.tasks.get(&task).and_then(|known| known.at);
        let (worker, launch, attempt) = known.unwrap_or((w(0), LaunchId(1), Attempt(1)));
        let attempt = Attempt(attempt.0.saturating_sub(back));
        self.tell(match kind % 5 {
            0 => Event::Succeeded { task, worker, launch, attempt, outputs: task.0 % 3 },
            1 => Event::TaskFailed { task, worker, launch, attempt },
            2 => Event::TaskCancelled { task, worker, launch, attempt },
            _ => Event::Bounced { task, worker, launch, attempt, reason: "full".to_owned() },
        });
    }

    /// News of a process: of the present one, or of an old one.
    fn blow(&mut self, kind: u8, worker: WorkerId, back: u64) {
        let Some(view) = self.pool.worker(worker) else {
            return;
        };
        let launch = LaunchId(view.launch.0.saturating_sub(back));
        let reason = "a blow".to_owned();
        let causes = [ExitCause::Crash, ExitCause::OutOfMemory, ExitCause::Infrastructure, ExitCause::NeverStarted];
        let cause = causes[usize::from(kind / 8) % causes.len()];
        match kind % 8 {
            0 => self.tell(Event::Refused { worker, launch, reason }),
            1 => self.tell(Event::Unreachable { worker, launch, reason }),
            2 => self.tell(Event::Exited { worker, launch, reason, restartable: false, cause }),
            3 | 4 => self.connect(worker, launch),
            5 => self.tell(Event::Leaving { worker, launch }),
            _ => self.tell(Event::Exited { worker, launch, reason, restartable: true, cause }),
        }
    }

    /// Mostly a task that is not over, at times one that is, or that never was.
    fn choose(&self, number: u8) -> TaskId {
        let number = usize::from(number);
        let alive: Vec<TaskId> =
            self.tasks.iter().filter(|(_, known)| known.ends == 0).map(|(task, _)| *task).collect();
        match alive.get(number % 16) {
            Some(task) => *task,
            None => t((number % (self.tasks.len() + 1)) as u64),
        }
    }

    /// A reference is dropped.
    fn let_go_of_one(&mut self, number: u8) {
        let held: Vec<_> = self.holds.iter().filter(|(_, held)| **held > 0).map(|(holder, _)| *holder).collect();
        if let Some((worker, launch)) = held.get(usize::from(number) % held.len().max(1)).copied() {
            self.tell(Event::Release { worker, launch, count: 1 });
        }
    }

    fn act(&mut self, (kind, a, b, wait): (u8, u8, u8, u16)) {
        self.now += ms(u64::from(wait));
        let (worker, task) = (w(u32::from(a % 4)), self.choose(b));
        match kind % 32 {
            0 if self.elastic => {
                let (min, start, max) = (u32::from(a % 3), u32::from(b % 5), u32::from(a % 5) + 1);
                self.tell(Event::SetRange { min, start, max });
            }
            0 => self.tell(Event::SetDesired(u32::from(a % 5))),
            1..=8 => {
                let task = t(self.tasks.len() as u64);
                self.tasks.insert(task, Known::default());
                self.tell(Event::Submit { task, prefer: worker });
            }
            9..=18 => self.step(worker),
            19..=21 => self.news(a, task, u32::from(b % 8 == 7)),
            22 | 23 => self.blow(b, worker, u64::from(kind > 200)),
            24 => self.tell(Event::CancelTask(task)),
            25 => self.tell(Event::InputsLost { task, reason: "dropped".to_owned() }),
            26 if b > 250 => self.tell(Event::Shutdown),
            26 if b > 200 => self.tell(Event::Wake),
            26 if b > 150 => self.tell(Event::Need(u32::from(b % 7))),
            27 => self.let_go_of_one(b),
            _ => {
                self.now = self.pool.next_deadline().unwrap_or(self.now).max(self.now);
                self.tell(Event::Tick);
            }
        }
    }

    /// From now on all goes well, until nothing is left.
    fn work_off(&mut self) {
        self.tell(Event::SetDesired(0));
        self.tell(Event::Need(0));
        self.tell(if self.elastic { Event::SetRange { min: 1, start: 1, max: 4 } } else { Event::SetDesired(2) });
        for _ in 0..100_000 {
            if self.tasks.values().all(|known| known.ends == 1) {
                return self.rest();
            }
            for index in 0..5 {
                self.step(w(index));
            }
            if let Some(due) = self.pool.next_deadline().filter(|_| self.pool.sent_count() == 0) {
                self.now = due;
                self.tell(Event::Tick);
            }
        }
        panic!("tasks are left: {:?}", self.tasks);
    }
}

impl Observer {
    /// Nothing more is asked for: the pool comes to its lower bound, and then to rest.
    fn rest(&mut self) {
        if self.closed {
            return;
        }
        self.tell(Event::SetDesired(0)); // forgets who was given up
        self.tell(if self.elastic { Event::SetRange { min: 1, start: 1, max: 4 } } else { Event::SetDesired(2) });
        while self.holds.values().any(|held| *held > 0) {
            self.let_go_of_one(0);
        }
        for _ in 0..1000 {
            // Up, and out of whatever it was in.
            for index in (0..5).chain(0..5).chain(0..5) {
                self.step(w(index));
            }
            let Some(due) = self.pool.next_deadline() else {
                assert_eq!(self.pool.ready_count(), if self.elastic { 1 } else { 2 });
                assert_eq!(self.pool.workers().count(), self.pool.ready_count());
                return;
            };
            self.now = due;
            self.tell(Event::Tick);
        }
        panic!("the pool does not come to rest: {:?}", self.pool);
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0u16..400), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_task_ends_exactly_once_when_all_goes_well_at_last(steps in steps(), desired in 0u32..5, elastic: bool) {
        let mut observer = Observer::new(elastic);
        observer.tell(Event::SetDesired(desired));
        for step in steps {
            observer.act(step);
        }
        observer.work_off();
    }

    #[test]
    fn every_task_ends_exactly_once_at_shutdown_and_no_process_is_left(steps in steps(), late in steps(), elastic: bool) {
        let mut observer = Observer::new(elastic);
        observer.tell(Event::SetDesired(3));
        for step in steps {
            observer.act(step);
        }
        observer.tell(Event::Shutdown);
        prop_assert!(observer.tasks.values().all(|known| known.ends == 1));
        prop_assert!(observer.workers.values().all(|seen| !seen.process && !seen.connected));
        for step in late {
            observer.act(step);
        }
        prop_assert!(observer.tasks.values().all(|known| known.ends == 1));
    }
}
