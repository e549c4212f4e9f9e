//! A world in virtual time around a session: starts and tasks take time, some starts fail.

use std::collections::BTreeMap;

use super::*;

pub(super) struct World {
    pub pool: Session,
    pub now: Duration,
    pub start_time: Duration,
    pub task_time: Duration,
    /// True for workers whose start fails, at once.
    pub fails: fn(WorkerId) -> bool,
    /// The number of processes that there is room for; the others are asked for again every ten seconds.
    pub room: usize,
    /// Every launch, every stop, every end of a task.
    pub launches: Vec<(Duration, WorkerId)>,
    pub stops: Vec<(Duration, WorkerId)>,
    pub delivered: usize,
    pub failed: Vec<String>,
    /// Events that happen at a time, unless they are overtaken.
    coming: BTreeMap<(Duration, u64), Event>,
    number: u64,
    tasks: u64,
    /// Launches that wait for room.
    asking: BTreeMap<WorkerId, LaunchId>,
}

impl World {
    pub fn new(config: PoolConfig) -> Self {
        Self {
            pool: Session::new(config),
            now: Duration::ZERO,
            start_time: secs(5),
            task_time: secs(1),
            fails: |_| false,
            room: usize::MAX,
            launches: Vec::new(),
            stops: Vec::new(),
            delivered: 0,
            failed: Vec::new(),
            coming: BTreeMap::new(),
            number: 0,
            tasks: 0,
            asking: BTreeMap::new(),
        }
    }

    pub fn elastic(min: u32, max: u32) -> Self {
        let mut world = Self::new(PoolConfig { slots_per_worker: 1, queue_ahead: 1, ..PoolConfig::default() });
        world.tell(Event::SetRange { min, start: min, max });
        world
    }

    pub fn tell(&mut self, event: Event) {
        for action in self.pool.handle(event, self.now) {
            self.perform(action);
        }
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.number += 1;
        self.coming.insert((self.now + after, self.number), event);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Launch { worker, launch } => {
                self.launches.push((self.now, worker));
                if self.taken() > self.room {
                    self.later(ms(100), Event::Postponed { worker, launch, reason: "there is no room".to_owned() });
                    self.asking.insert(worker, launch);
                } else if (self.fails)(worker) {
                    let (reason, cause) = ("exceeded quota".to_owned(), ExitCause::NeverStarted);
                    self.later(ms(100), Event::Exited { worker, launch, reason, restartable: true, cause });
                } else {
                    self.later(self.start_time, Event::Started { worker, launch, addresses: super::at("h") });
                }
            }
            Action::Connect { worker, launch, .. } => {
                let incarnation = format!("{worker}/{launch}").into();
                self.later(ms(10), Event::Connected { worker, launch, incarnation });
            }
            Action::Stop { worker, .. } => {
                let was_postponed = self.asking.remove(&worker).is_some();
                if !was_postponed {
                    self.stops.push((self.now, worker));
                }
            }
            Action::Send { task, attempt, worker, launch } => {
                let event = Event::Succeeded { task, worker, launch, attempt, outputs: vec![] };
                self.later(self.task_time, event);
            }
            Action::Deliver { .. } => self.delivered += 1,
            Action::FailTask { message, .. } => self.failed.push(message.to_string()),
            _ => {}
        }
    }

    /// The number of processes that there are or that are asked for, without those that are known to have no room.
    fn taken(&self) -> usize {
        let has_process = |view: &WorkerView<'_>| {
            !matches!(view.phase, WorkerPhase::Restarting | WorkerPhase::GivenUp)
                && !self.asking.contains_key(&view.worker)
        };
        self.pool.workers().filter(has_process).count()
    }

    /// The allocator asks again for those that wait: as many as there is room for by now.
    fn ask_again(&mut self) {
        let room = self.room.saturating_sub(self.taken());
        for _ in 0..room {
            let Some((worker, launch)) = self.asking.pop_first() else {
                return;
            };
            self.tell(Event::Admitted { worker, launch });
            self.later(self.start_time, Event::Started { worker, launch, addresses: super::at("h") });
        }
    }

    pub fn submit(&mut self, count: u64) {
        for _ in 0..count {
            let task = t(self.tasks);
            self.tasks += 1;
            let prefer = w(u32::try_from(task.0).unwrap() % self.pool.max_workers().max(1));
            self.tell(submission(task, prefer));
        }
    }

    /// Lets everything happen that is due by then; returns how many events that were.
    pub fn run_until(&mut self, end: Duration) -> usize {
        for events in 0.. {
            let next = self.coming.first_key_value().map(|((at, _), _)| *at);
            let tick = self.pool.next_deadline();
            let ask = (!self.asking.is_empty()).then(|| secs((self.now.as_secs() / 10 + 1) * 10));
            let Some(at) = next.into_iter().chain(tick).chain(ask).min().filter(|at| *at <= end) else {
                self.now = end;
                return events;
            };
            self.now = self.now.max(at);
            if next == Some(at)
                && let Some((_, event)) = self.coming.pop_first()
            {
                self.tell(event);
            } else if ask == Some(at) {
                self.ask_again();
            } else {
                self.tell(Event::Tick);
            }
        }
        unreachable!("the range has no end")
    }

    pub fn run_for(&mut self, time: Duration) -> usize {
        self.run_until(self.now + time)
    }

    pub fn up(&self) -> usize {
        self.pool.ready_count()
    }
}
