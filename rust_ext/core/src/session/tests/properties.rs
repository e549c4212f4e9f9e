//! Random events against an [`Observer`].

use proptest::prelude::*;

use super::observer::{Known, Observer};
use super::*;
use crate::FetchId;
use crate::SlotRead;

impl Observer {
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
            WorkerPhase::Postponed => self.tell(Event::Admitted { worker, launch }),
            WorkerPhase::Connecting => self.connect(worker, launch),
            WorkerPhase::Leaving if view.tasks == 0 => {
                let (reason, cause) = ("told to stop".to_owned(), ExitCause::Infrastructure);
                self.tell(Event::Exited { worker, launch, reason, restartable: true, cause });
            }
            WorkerPhase::Ready | WorkerPhase::Draining | WorkerPhase::Leaving => {
                self.tell(Event::Heard(vec![(worker, launch)]));
                self.finish(worker);
            }
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
                Event::Succeeded { task, worker, launch, attempt, outputs: outputs(task.0 % 3) }
            });
        }
    }

    /// News of a task's attempt: of the present one, or of one that is or never was.
    fn news(&mut self, kind: u8, task: TaskId, back: u32) {
        let known = self.tasks.get(&task).and_then(|known| known.at);
        let (worker, launch, attempt) = known.unwrap_or((w(0), LaunchId(1), Attempt(1)));
        let attempt = Attempt(attempt.0.saturating_sub(back));
        self.tell(match kind % 6 {
            0 => Event::Succeeded { task, worker, launch, attempt, outputs: outputs(task.0 % 3) },
            1 => Event::TaskFailed { task, worker, launch, attempt },
            2 => Event::TaskCancelled { task, worker, launch, attempt },
            3 => {
                let message = "its holder is busy".to_owned();
                let inputs = self.tasks.get(&task).map_or(&[][..], |known| &known.inputs);
                let slots = inputs.iter().copied().take(usize::from(kind / 6 % 4)).collect();
                Event::InputsMissing { task, worker, launch, attempt, slots, gone: kind / 24 == 5, message }
            }
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
            1 if kind > 128 => self.tell(Event::Unanswered { worker, launch, problem: reason }),
            1 => self.tell(Event::Unreachable { worker, launch, reason }),
            2 => self.tell(Event::Exited { worker, launch, reason, restartable: false, cause }),
            3 | 4 => self.connect(worker, launch),
            5 => self.tell(Event::Leaving { worker, launch }),
            6 => self.tell(Event::Postponed { worker, launch, reason }),
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
    fn drop_one_reference(&mut self, number: u8) {
        let slot = self.slots.keys().nth(usize::from(number) % self.slots.len().max(1)).copied();
        if let Some(slot) = slot {
            self.tell(Event::Drop(vec![slot]));
        }
    }

    pub(super) fn act(&mut self, (kind, a, b, wait): (u8, u8, u8, u16)) {
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
                let query = u64::from(a % 3);
                let chosen = self.slots.keys().skip(usize::from(b % 7)).take(usize::from(b % 4));
                let inputs: Vec<SlotId> = chosen.copied().collect();
                self.tasks.insert(task, Known { query, inputs: inputs.clone(), ..Known::default() });
                self.tell(unrepeatable(task, worker, &format!("q{query}"), inputs));
            }
            9..=18 => self.step(worker),
            19..=21 => self.news(a, task, u32::from(b % 8 == 7)),
            22 | 23 => self.blow(b, worker, u64::from(kind > 200)),
            24 => self.tell(Event::CancelTask(task)),
            25 => self.tell(Event::InputsLost { task, reason: "dropped".to_owned() }),
            26 if b > 250 => self.tell(Event::Shutdown),
            26 if b > 200 => self.tell(Event::Wake),
            26 if b > 175 => self.tell(Event::Admitted { worker, launch: LaunchId(u64::from(b % 4)) }),
            26 if b > 110 => {
                let launch = self.pool.worker(worker).map_or(LaunchId(1), |view| view.launch);
                self.tell(Event::Stuck { worker, launch, slots: u32::from(b % 4), calls: "udf".to_owned() });
            }
            26 if b > 60 => {
                self.fetched += 1;
                let slots = self.slots.keys().copied().take(usize::from(a % 4));
                let reads = slots.map(|slot| SlotRead { slot, generation: self.pool.generation(slot) }).collect();
                self.tell(Event::FetchFailed { fetch: FetchId(self.fetched), reads });
            }
            26 if b > 50 => self.tell(Event::Read(self.slots.keys().copied().take(2).collect())),
            27 => self.drop_one_reference(b),
            28 if b > 128 => {
                self.pools += 1;
                self.tell(actors_of(self.pools, u32::from(a % 3) + 1));
            }
            28 => self.tell(Event::Actor(ActorEvent::End(ActorPoolId(u64::from(a) % (self.pools + 1))))),
            29 => self.actor_news(a, b),
            _ => {
                self.now = self.pool.next_deadline().unwrap_or(self.now).max(self.now);
                self.tell(Event::Tick);
            }
        }
    }

    /// News of an actor, of its latest place or of an earlier one.
    fn actor_news(&mut self, kind: u8, which: u8) {
        let Some((actor, (generation, at))) = self.actors.iter().nth(usize::from(which) % self.actors.len().max(1))
        else {
            return;
        };
        let (actor, generation) = (*actor, generation.saturating_sub(u32::from(kind > 230)));
        let worker = at.map_or(w(u32::from(which % 4)), |(worker, _)| worker);
        let reason = "so it was".into();
        let news = match kind % 4 {
            0 | 1 => ActorNews::Ready { address: "h:7777".into() },
            2 => ActorNews::Killed { reason },
            _ => ActorNews::Failed { reason, error: [].into() },
        };
        self.tell(Event::Actor(ActorEvent::News { actor, generation, worker, news }));
    }

    /// From now on all goes well, until nothing is left.
    fn work_off(&mut self) {
        for pool in 1..=self.pools {
            self.tell(Event::Actor(ActorEvent::End(ActorPoolId(pool))));
        }
        self.tell(Event::SetDesired(0));
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
        let left: Vec<&TaskId> = self.tasks.iter().filter(|(_, known)| known.ends == 0).map(|(task, _)| task).collect();
        let workers: Vec<WorkerView<'_>> = self.pool.workers().collect();
        panic!("tasks are left: {left:?}; the workers are {workers:#?}");
    }

    /// Nothing more is asked for: the pool comes to its lower bound, and then to rest.
    fn rest(&mut self) {
        if self.closed {
            return;
        }
        self.tell(Event::SetDesired(0)); // forgets which workers were given up
        self.tell(if self.elastic { Event::SetRange { min: 1, start: 1, max: 4 } } else { Event::SetDesired(2) });
        while !self.slots.is_empty() {
            self.drop_one_reference(0);
        }
        for _ in 0..1000 {
            // Up, and out of whatever it was in.
            for index in (0..5).chain(0..5).chain(0..5) {
                self.step(w(index));
            }
            let Some(due) = self.pool.next_deadline() else {
                assert!(self.fetches.is_empty(), "fetches wait for ever");
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

pub(super) fn steps() -> impl Strategy<Value = Vec<(u8, u8, u8, u16)>> {
    prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0u16..400), 1..250)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::test_cases(20000), failure_persistence: None, ..ProptestConfig::default() })]

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
        prop_assert!(observer.fetches.is_empty());
        for step in late {
            observer.act(step);
        }
        prop_assert!(observer.tasks.values().all(|known| known.ends == 1));
    }
}
