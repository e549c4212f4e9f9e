//! Addresses that are dealt anew: a Pod gets the address of one that is gone before the news of its end arrive.
//!
//! The links of this world keep the session's rule: calls name their worker, which another one refuses, and a process
//! that was not met before is believed only after a handshake.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const WORKERS: u32 = 4;
/// Hardly more addresses than workers, so that they are dealt again at once.
const ADDRESSES: usize = 5;
const STEPS: usize = 80;
const HISTORIES: u64 = 10_000;

/// Numbers that look random, the same for a seed each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn choose<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        (!among.is_empty()).then(|| among[self.roll(among.len())])
    }
}

/// The process that listens at an address.
struct Process {
    worker: WorkerId,
    launch: LaunchId,
    incarnation: u64,
    running: Vec<(TaskId, Attempt)>,
    /// Ends that no poll has taken yet.
    ended: Vec<(TaskId, Attempt)>,
}

struct Link {
    launch: LaunchId,
    address: usize,
    /// The incarnation that it polls; `None` before the handshake.
    known: Option<u64>,
}

struct Net {
    stage: Stage,
    dice: Dice,
    at: Vec<Option<Process>>,
    links: BTreeMap<WorkerId, Link>,
    /// Launches that have no process yet.
    launched: Vec<(WorkerId, LaunchId)>,
    /// Processes that listen, and of which the pool has not heard.
    listening: Vec<(WorkerId, LaunchId, usize)>,
    /// Ends of processes of which the pool has not heard.
    gone: Vec<(WorkerId, LaunchId)>,
    /// Launches that are to stop.
    stopping: Vec<(WorkerId, LaunchId)>,
    incarnations: u64,
    unfinished: BTreeSet<TaskId>,
    submitted: u64,
}

impl Net {
    fn new(seed: u64) -> Self {
        let config = PoolConfig { max_worker_restarts: 1_000_000, max_task_attempts: 1_000_000, ..small() };
        let mut net = Self {
            stage: Stage::new(config),
            dice: Dice(seed),
            at: (0..ADDRESSES).map(|_| None).collect(),
            links: BTreeMap::new(),
            launched: Vec::new(),
            listening: Vec::new(),
            gone: Vec::new(),
            stopping: Vec::new(),
            incarnations: 0,
            unfinished: BTreeSet::new(),
            submitted: 0,
        };
        net.tell(Event::SetDesired(WORKERS));
        net
    }

    fn tell(&mut self, event: Event) {
        for action in self.stage.tell(event) {
            self.perform(action);
        }
        let mut seen = BTreeSet::new();
        for view in self.stage.pool.workers() {
            let Some(incarnation) = view.incarnation else { continue };
            assert!(seen.insert(incarnation.clone()), "two names for the process {incarnation}");
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Launch { worker, launch } => self.launched.push((worker, launch)),
            Action::Stop { worker, launch, .. } => self.stopping.push((worker, launch)),
            Action::Connect { worker, launch, addresses } => {
                let address = addresses.control.trim_end_matches(":7777").parse().expect("a number");
                self.links.insert(worker, Link { launch, address, known: None });
            }
            Action::Disconnect { worker, .. } => drop(self.links.remove(&worker)),
            Action::WorkerReady { worker, incarnation, .. } => {
                if let Some(link) = self.links.get_mut(&worker) {
                    link.known = Some(incarnation.as_str().parse().expect("a number"));
                }
            }
            Action::Send { task, attempt, worker, .. } => self.submit_to(worker, task, attempt),
            Action::Deliver { task, .. } => assert!(self.unfinished.remove(&task), "{task} has ended twice"),
            Action::FailTask { message, .. } => panic!("{message}"),
            _ => {}
        }
    }

    /// A call to the process that listens where the link leads; another worker refuses it.
    fn submit_to(&mut self, worker: WorkerId, task: TaskId, attempt: Attempt) {
        let address = self.links[&worker].address;
        if let Some(process) = self.at[address].as_mut().filter(|process| process.worker == worker) {
            process.running.push((task, attempt));
        }
    }

    /// A launch or an old container gets an address that is free now.
    fn appear(&mut self) {
        let free: Vec<usize> = (0..ADDRESSES).filter(|address| self.at[*address].is_none()).collect();
        if self.launched.is_empty() {
            return;
        }
        let Some(address) = self.dice.choose(&free) else { return };
        let (worker, launch) = self.launched.swap_remove(self.dice.roll(self.launched.len()));
        self.put(address, worker, launch);
        self.listening.push((worker, launch, address));
    }

    fn put(&mut self, address: usize, worker: WorkerId, launch: LaunchId) {
        self.incarnations += 1;
        let (incarnation, running, ended) = (self.incarnations, Vec::new(), Vec::new());
        self.at[address] = Some(Process { worker, launch, incarnation, running, ended });
    }

    fn used(&self) -> Vec<usize> {
        (0..ADDRESSES).filter(|address| self.at[*address].is_some()).collect()
    }

    /// A process ends. Its address is free at once, the news takes its time.
    fn die(&mut self) {
        let used = self.used();
        let Some(address) = self.dice.choose(&used) else { return };
        if let Some(process) = self.at[address].take() {
            self.gone.push((process.worker, process.launch));
        }
    }

    fn restart_in_place(&mut self) {
        let used = self.used();
        let Some(address) = self.dice.choose(&used) else { return };
        if let Some(Process { worker, launch, .. }) = self.at[address] {
            self.put(address, worker, launch);
        }
    }

    fn tell_of_a_start(&mut self) {
        if self.listening.is_empty() {
            return;
        }
        let (worker, launch, address) = self.listening.swap_remove(self.dice.roll(self.listening.len()));
        self.tell(Event::Started { worker, launch, addresses: super::at(&address.to_string()) });
    }

    fn tell_of_an_end(&mut self) {
        if self.gone.is_empty() {
            return;
        }
        let (worker, launch) = self.gone.swap_remove(self.dice.roll(self.gone.len()));
        let (reason, cause) = ("deleted".to_owned(), ExitCause::Infrastructure);
        self.tell(Event::Exited { worker, launch, reason, restartable: true, cause });
    }

    fn carry_out_a_stop(&mut self) {
        if self.stopping.is_empty() {
            return;
        }
        let stopped = self.stopping.swap_remove(self.dice.roll(self.stopping.len()));
        self.launched.retain(|launched| *launched != stopped);
        for place in &mut self.at {
            if place.as_ref().is_some_and(|process| (process.worker, process.launch) == stopped) {
                *place = None;
            }
        }
    }

    fn run_a_task(&mut self) {
        let used = self.used();
        let Some(address) = self.dice.choose(&used) else { return };
        if let Some(process) = self.at[address].as_mut()
            && !process.running.is_empty()
        {
            let end = process.running.remove(0);
            process.ended.push(end);
        }
    }

    /// One poll of one link, or its handshake.
    fn poll(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get(&worker) else { return };
        let (launch, known) = (link.launch, link.known);
        let Some(process) = self.at[link.address].as_mut() else {
            // No answer. Not for too long, mostly.
            if self.dice.roll(4) == 0 {
                let reason = "no answer".to_owned();
                self.tell(Event::Unreachable { worker, launch, reason });
            }
            return;
        };
        if process.worker != worker {
            let reason = format!("this is {}, not {worker}", process.worker);
            self.tell(Event::Unreachable { worker, launch, reason });
        } else if known != Some(process.incarnation) {
            let incarnation = Incarnation::from(process.incarnation.to_string());
            self.tell(Event::Connected { worker, launch, incarnation });
        } else {
            for (task, attempt) in std::mem::take(&mut process.ended) {
                self.tell(Event::Succeeded { task, worker, launch, attempt, outputs: vec![] });
            }
        }
    }

    fn tick(&mut self) {
        self.stage.now = self.stage.pool.next_deadline().unwrap_or(self.stage.now).max(self.stage.now);
        self.tell(Event::Tick);
    }

    fn step(&mut self) {
        match self.dice.roll(16) {
            0 | 1 => self.die(),
            2 => self.restart_in_place(),
            3..=5 => self.appear(),
            6 | 7 => self.tell_of_a_start(),
            8 => self.tell_of_an_end(),
            9 => self.carry_out_a_stop(),
            10 => {
                let task = t(self.submitted);
                self.submitted += 1;
                self.unfinished.insert(task);
                let prefer = w(self.dice.roll(WORKERS as usize) as u32);
                self.tell(submission(task, prefer));
            }
            11 => self.run_a_task(),
            12 => self.tick(),
            _ => {
                let worker = w(self.dice.roll(WORKERS as usize) as u32);
                self.poll(worker);
            }
        }
    }

    /// No process dies any more: all that is under way arrives, until no task is left.
    fn calm_down(&mut self) {
        for _ in 0..10_000 {
            if self.unfinished.is_empty() {
                return;
            }
            self.carry_out_a_stop();
            self.tell_of_an_end();
            self.appear();
            self.tell_of_a_start();
            self.run_a_task();
            (0..WORKERS).for_each(|index| self.poll(w(index)));
            // Not each time, or no start would be in time.
            if self.dice.roll(8) == 0 {
                self.tick();
            }
        }
        let workers: Vec<WorkerView<'_>> = self.stage.pool.workers().collect();
        panic!("tasks without an end: {:?}; the workers are {workers:#?}", self.unfinished);
    }
}

#[test]
fn addresses_that_are_dealt_anew_give_no_process_two_names_and_leave_no_task_without_an_end() {
    for seed in 0..HISTORIES {
        let history = std::panic::catch_unwind(|| {
            let mut net = Net::new(seed);
            (0..STEPS).for_each(|_| net.step());
            net.calm_down();
        });
        assert!(history.is_ok(), "history {seed}");
    }
}
