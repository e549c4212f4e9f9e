//! Random graphs of tasks whose rows are real, on workers that are lost at random: the rows of the results are those of
//! an undisturbed run, or the query fails. Tasks read and publish rows in stores of processes, as workers do; those that
//! depend on the order of rows permute them anew in every run.
//!
//! Two queries run, one after the other: the second reads what the first one has collected.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::ids::{Generation, Run};
use crate::{FetchId, SlotRead};

const WORKERS: u32 = 4;

/// A stage of a query, run by `tasks` tasks with `slots` outputs each.
#[derive(Debug, Clone)]
struct Layer {
    tasks: u64,
    slots: u32,
    determinism: Determinism,
    /// True if it gives the same rows in each run, whatever its determinism says: the user's code, most of the time.
    steady: bool,
    /// True if task `j` reads slot `j` of each task before; else it reads all slots of task `j`.
    shuffles: bool,
}

type Process = (WorkerId, LaunchId);

/// A task as its query knows it.
#[derive(Debug)]
struct Job {
    layer: usize,
    inputs: Vec<SlotId>,
    slots: u32,
    determinism: Determinism,
    steady: bool,
    run: Run,
}

/// An attempt on its way: the inputs with their generation, and the process that held each as it was sent.
type Reading = Vec<(SlotId, Generation, Option<Process>)>;

#[derive(Debug)]
enum Coming {
    Event(Event),
    End { task: TaskId, attempt: Attempt, at: Process, run: Run, reading: Reading },
    Blow,
}

/// A driver, its workers, and their stores.
struct Scene {
    pool: Session,
    now: Duration,
    random: u64,
    coming: BTreeMap<(Duration, u64), Coming>,
    scheduled: u64,
    stores: BTreeMap<Process, BTreeMap<(SlotId, Generation), Vec<u64>>>,
    jobs: BTreeMap<TaskId, Job>,
    /// Slots that the driver refers to.
    referenced: BTreeSet<SlotId>,
    delivered: BTreeSet<TaskId>,
    failed: Vec<String>,
    verdicts: BTreeMap<FetchId, Option<String>>,
    fetches: u64,
    reruns: usize,
    /// Outputs that a run made and that took the place of lost ones.
    blows: usize,
}

impl Scene {
    fn new(seed: u64, config: PoolConfig) -> Self {
        let mut scene = Self {
            pool: Session::new(config),
            now: Duration::ZERO,
            random: seed,
            coming: BTreeMap::new(),
            scheduled: 0,
            stores: BTreeMap::new(),
            jobs: BTreeMap::new(),
            referenced: BTreeSet::new(),
            delivered: BTreeSet::new(),
            failed: Vec::new(),
            verdicts: BTreeMap::new(),
            fetches: 0,
            reruns: 0,
            blows: 0,
        };
        scene.tell(Event::SetDesired(WORKERS));
        scene
    }

    /// A number below `bound`; the sequence follows from the seed (splitmix64).
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.random) % bound
    }

    fn later(&mut self, wait: Duration, coming: Coming) {
        self.scheduled += 1;
        self.coming.insert((self.now + wait, self.scheduled), coming);
    }

    fn tell(&mut self, event: Event) {
        for action in self.pool.handle(event, self.now) {
            self.perform(action);
        }
    }

    fn launch(&self, worker: WorkerId) -> LaunchId {
        self.pool.worker(worker).map_or(LaunchId(0), |view| view.launch)
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Launch { worker, launch } => {
                let addresses = at("h");
                self.later(ms(200), Coming::Event(Event::Started { worker, launch, addresses }));
            }
            Action::Connect { worker, launch, .. } => {
                let incarnation = format!("{worker}/{launch}").as_str().into();
                self.later(ms(10), Coming::Event(Event::Connected { worker, launch, incarnation }));
            }
            Action::WorkerReady { worker, launch, .. } => drop(self.stores.entry((worker, launch)).or_default()),
            Action::WorkerLost { worker, launch, .. } => drop(self.stores.remove(&(worker, launch))),
            Action::Send { task, attempt, worker, launch } => self.send(task, attempt, (worker, launch)),
            Action::Deliver { task, .. } => {
                self.delivered.insert(task);
            }
            Action::FailTask { message, .. } => self.failed.push(message.to_string()),
            Action::RunAgain { task, run } => {
                self.reruns += 1;
                self.jobs.get_mut(&task).unwrap().run = run;
            }
            Action::RunOver { task, run, attempt, worker, dropped } => {
                let process = (worker, self.launch(worker));
                for slot in dropped {
                    let id = (SlotId { task, slot }, Generation { run, attempt });
                    self.stores.get_mut(&process).unwrap().remove(&id).expect("an output that is dropped was there");
                }
            }
            Action::DropInput { slot, worker, generation, .. } => {
                let process = (worker, self.launch(worker));
                self.stores.get_mut(&process).unwrap().remove(&(slot, generation)).expect("an input that is dropped");
            }
            Action::FetchVerdict { fetch, lost } => drop(self.verdicts.insert(fetch, lost.map(|why| why.to_string()))),
            Action::FetchAgain { fetch } => drop(self.verdicts.insert(fetch, None)),
            Action::Defect { message } => panic!("{message}"),
            _ => {}
        }
    }

    fn send(&mut self, task: TaskId, attempt: Attempt, at: Process) {
        let job = &self.jobs[&task];
        let (run, inputs) = (job.run, job.inputs.clone());
        let reading = inputs.into_iter().map(|slot| {
            let Some(Location::At(holder)) = self.pool.location(slot) else {
                panic!("{task} is sent and reads {slot}, which is nowhere");
            };
            (slot, self.pool.generation(slot).unwrap(), Some((*holder, self.launch(*holder))))
        });
        let reading = reading.collect();
        let wait = ms(5 + self.draw(300));
        self.later(wait, Coming::End { task, attempt, at, run, reading });
    }

    /// An attempt ends, if its process is still there.
    fn end(&mut self, task: TaskId, attempt: Attempt, at: Process, run: Run, reading: Reading) {
        let (worker, launch) = at;
        if !self.stores.contains_key(&at) {
            return;
        }
        let mut rows = Vec::new();
        for (slot, generation, holder) in reading {
            match holder.and_then(|holder| self.stores.get(&holder)?.get(&(slot, generation))) {
                Some(found) => rows.extend(found),
                None if self.jobs[&task].run != run => return,
                None => {
                    let message = "connection refused".to_owned();
                    // As the shell, which knows by the ticket that it was recomputed meanwhile.
                    let is_stale = self.pool.generation(slot) != Some(generation);
                    let slots = if is_stale { vec![] } else { vec![slot] };
                    return self.tell(Event::InputsMissing {
                        task,
                        worker,
                        launch,
                        attempt,
                        slots,
                        gone: false,
                        message,
                    });
                }
            }
        }
        let job = &self.jobs[&task];
        let (layer, slots, determinism, steady) = (job.layer, job.slots, job.determinism, job.steady);
        if job.run != run {
            return;
        }
        if layer == 0 {
            rows = (0..20).map(|row| mix(task.0 * 1000 + row)).collect();
        }
        let mut partitions = vec![Vec::new(); slots as usize];
        for (place, row) in self.in_any_order(rows).into_iter().enumerate() {
            let row = mix(row);
            let by = if steady { row } else { place as u64 };
            partitions[usize::try_from(by % u64::from(slots)).unwrap()].push(row);
        }
        let is_current = self
            .pool
            .task(task)
            .is_some_and(|view| view.phase == TaskPhase::Sent { worker, launch, attempt, cancelling: false });
        let is_first = run == Run::FIRST;
        let mut outputs = Vec::new();
        for (slot, rows) in (0..).zip(partitions) {
            let fingerprint = rows.iter().fold(0, |sum: u64, row| sum.wrapping_add(mix(*row)));
            let fingerprint = determinism.needs_fingerprints().then_some(fingerprint);
            outputs.push(Output { slot, num_rows: rows.len() as u64, fingerprint, is_stored: true });
            if is_current {
                let slot = SlotId { task, slot };
                self.stores.get_mut(&at).unwrap().insert((slot, Generation { run, attempt }), rows);
                if is_first {
                    self.referenced.insert(slot);
                }
            }
        }
        self.tell(Event::Succeeded { task, worker, launch, attempt, outputs });
    }

    fn in_any_order(&mut self, mut rows: Vec<u64>) -> Vec<u64> {
        for place in (1..rows.len()).rev() {
            let other = usize::try_from(self.draw(place as u64 + 1)).unwrap();
            rows.swap(place, other);
        }
        rows
    }

    /// A process is lost: it exits, is restarted in place, or cannot be reached.
    fn blow(&mut self) {
        let ready: Vec<WorkerId> =
            self.pool.workers().filter(|view| view.phase == WorkerPhase::Ready).map(|view| view.worker).collect();
        if ready.is_empty() {
            return;
        }
        self.blows += 1;
        let worker = ready[usize::try_from(self.draw(ready.len() as u64)).unwrap()];
        let (launch, reason, cause) = (self.launch(worker), "evicted".to_owned(), ExitCause::Infrastructure);
        match self.draw(3) {
            0 => self.tell(Event::Unreachable { worker, launch, reason }),
            _ => self.tell(Event::Exited { worker, launch, reason, restartable: true, cause }),
        }
    }

    /// Lets the next thing happen; false if nothing does any more.
    fn step(&mut self) -> bool {
        let next = self.coming.first_key_value().map(|((at, _), _)| *at);
        let Some(due) = next.into_iter().chain(self.pool.next_deadline()).min() else {
            return false;
        };
        self.now = self.now.max(due);
        if next == Some(due)
            && let Some((_, coming)) = self.coming.pop_first()
        {
            match coming {
                Coming::Event(Event::Started { worker, launch, .. } | Event::Connected { worker, launch, .. })
                    if self.launch(worker) != launch => {}
                Coming::Event(event) => self.tell(event),
                Coming::End { task, attempt, at, run, reading } => self.end(task, attempt, at, run, reading),
                Coming::Blow => self.blow(),
            }
        } else {
            let ready = self.stores.keys().copied().collect();
            self.tell(Event::Heard(ready));
            self.tell(Event::Tick);
        }
        true
    }

    fn drop_slots(&mut self, slots: &[SlotId]) {
        let slots: Vec<SlotId> = slots.iter().copied().filter(|slot| self.referenced.remove(slot)).collect();
        for slot in &slots {
            if let (Some(Location::At(worker)), Some(generation), false) =
                (self.pool.location(*slot).cloned(), self.pool.generation(*slot), self.pool.is_pinned(*slot))
            {
                let process = (worker, self.launch(worker));
                self.stores.get_mut(&process).unwrap().remove(&(*slot, generation)).expect("a slot that is dropped");
            }
        }
        self.tell(Event::Drop(slots));
    }

    /// Runs a query as Daft does: a stage at a time, whose inputs are dropped with its end. Returns the slots of the last
    /// stage; `None` if the query has failed.
    fn query(&mut self, name: &str, layers: &[Layer], source: &[TaskId]) -> Option<Vec<TaskId>> {
        let mut before = source.to_vec();
        for (number, layer) in layers.iter().enumerate() {
            let slots_of = |task: &TaskId| self.jobs.get(task).map_or(0, |job| job.slots);
            let readers: Vec<Vec<SlotId>> = if before.is_empty() {
                (0..layer.tasks).map(|_| Vec::new()).collect()
            } else if layer.shuffles {
                let width = before.iter().map(slots_of).max().unwrap_or(0);
                let column = |slot| before.iter().map(move |task| SlotId { task: *task, slot });
                (0..width).map(|slot| column(slot).collect()).collect()
            } else {
                before
                    .iter()
                    .map(|task| (0..slots_of(task)).map(|slot| SlotId { task: *task, slot }).collect())
                    .collect()
            };
            let first = self.jobs.len() as u64;
            let mut tasks = Vec::new();
            for (index, inputs) in (0..).zip(readers) {
                let task = t(first + index);
                let layer_of_task = if inputs.is_empty() { 0 } else { number + 1 };
                let Layer { slots, determinism, steady, .. } = *layer;
                let (layer, run) = (layer_of_task, Run::FIRST);
                let job = Job { layer, inputs: inputs.clone(), slots, determinism, steady, run };
                self.jobs.insert(task, job);
                let prefer = w(u32::try_from(index).unwrap() % WORKERS);
                tasks.push(task);
                let (query, inputs) = (name.into(), inputs.into());
                self.tell(Event::Submit { task, prefer, query, inputs, determinism, kept: Kept::own(100) });
            }
            while self.failed.is_empty() && !tasks.iter().all(|task| self.delivered.contains(task)) {
                assert!(self.step(), "the query hangs");
            }
            if !self.failed.is_empty() {
                return None;
            }
            if number > 0 || source.is_empty() {
                let read: Vec<SlotId> = tasks.iter().flat_map(|task| self.jobs[task].inputs.clone()).collect();
                self.drop_slots(&read);
            }
            before = tasks;
        }
        Some(before)
    }

    /// The rows of all slots of these tasks, in order; `None` if some are gone.
    fn fetch(&mut self, tasks: &[TaskId]) -> Option<Vec<u64>> {
        let mut rows = Vec::new();
        let slots_of = |task: TaskId| (0..self.jobs[&task].slots).map(move |slot| SlotId { task, slot });
        let slots: Vec<SlotId> = tasks.iter().copied().flat_map(slots_of).collect();
        for slot in slots {
            self.tell(Event::Read(vec![slot]));
            loop {
                if let (Some(Location::At(worker)), Some(generation)) =
                    (self.pool.location(slot), self.pool.generation(slot))
                {
                    rows.extend(&self.stores[&(*worker, self.launch(*worker))][&(slot, generation)]);
                    break;
                }
                self.fetches += 1;
                let fetch = FetchId(self.fetches);
                let generation = self.pool.generation(slot);
                self.tell(Event::FetchFailed { fetch, reads: vec![SlotRead { slot, generation }] });
                while !self.verdicts.contains_key(&fetch) {
                    assert!(self.step(), "a fetch hangs");
                }
                if let Some(Some(_)) = self.verdicts.remove(&fetch) {
                    return None;
                }
            }
        }
        rows.sort_unstable();
        Some(rows)
    }

    /// The rows of an undisturbed run: each row of the sources, as often mixed as there are stages.
    fn expected(&self, sources: u64, first: u64, stages: usize) -> Vec<u64> {
        let mut rows: Vec<u64> =
            (first..first + sources).flat_map(|task| (0..20).map(move |row| mix(task * 1000 + row))).collect();
        for row in &mut rows {
            for _ in 0..stages {
                *row = mix(*row);
            }
        }
        rows.sort_unstable();
        rows
    }

    fn run_out(&mut self) {
        let unfinished: Vec<TaskId> = self.jobs.keys().copied().filter(|task| !self.delivered.contains(task)).collect();
        for task in unfinished {
            self.tell(Event::CancelTask(task));
        }
        while self.step() {}
        let referenced: Vec<SlotId> = self.referenced.iter().copied().collect();
        self.drop_slots(&referenced);
        while self.step() {}
        assert_eq!(self.pool.parked_count(), 0, "something waits for ever");
    }
}

/// A permutation of all numbers (the finisher of splitmix64).
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

const STEADY: bool = true;

fn layers(steady: bool) -> impl Strategy<Value = Vec<Layer>> {
    let unsteady = u32::from(!steady);
    let kind = prop_oneof![
        3 => Just((Determinism::Deterministic, true)),
        1 => Just((Determinism::OrderDependent, true)),
        unsteady => Just((Determinism::DeterministicWhole, false)),
        unsteady => Just((Determinism::OrderDependent, false)),
    ];
    let layer = (1..6_u64, 1..5_u32, kind, any::<bool>());
    let layer = layer.prop_map(|(tasks, slots, (determinism, steady), shuffles)| Layer {
        tasks,
        slots,
        determinism,
        steady,
        shuffles,
    });
    prop::collection::vec(layer, 1..5)
}

fn forgiving() -> PoolConfig {
    PoolConfig { max_worker_restarts: 100, max_recoveries_per_task: 100, ..small() }
}

/// Runs two queries under losses. Returns the scene, and if both gave all rows.
fn disturbed(seed: u64, first: &[Layer], second: &[Layer], blows: &[u16]) -> (Scene, bool) {
    let mut scene = Scene::new(seed, forgiving());
    for blow in blows {
        scene.later(ms(u64::from(*blow) % 3000), Coming::Blow);
    }
    let right = run_both(&mut scene, first, second);
    scene.run_out();
    (scene, right)
}

fn run_both(scene: &mut Scene, first: &[Layer], second: &[Layer]) -> bool {
    let Some(collected) = scene.query("first", first, &[]) else {
        return false;
    };
    let expected = scene.expected(first[0].tasks, 0, first.len());
    match scene.fetch(&collected) {
        Some(rows) => assert_eq!(rows, expected, "the first query's rows"),
        None => return false,
    }
    let Some(results) = scene.query("second", second, &collected) else {
        return false;
    };
    let expected = scene.expected(first[0].tasks, 0, first.len() + second.len());
    match scene.fetch(&results) {
        Some(rows) => assert_eq!(rows, expected, "the second query's rows"),
        None => return false,
    }
    true
}

fn assert_nothing_is_left(scene: &Scene) {
    assert_eq!((scene.pool.slot_count(), scene.pool.record_count()), (0, 0));
    let left: Vec<_> = scene.stores.iter().filter(|(_, store)| !store.is_empty()).collect();
    assert!(left.is_empty(), "data that nothing needs: {left:?}");
    for index in 0..WORKERS {
        assert_eq!(scene.pool.worker(w(index)).unwrap().holds, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_steady_query_survives_the_loss_of_workers_with_the_right_rows(
        seed: u64, first in layers(STEADY), second in layers(STEADY), blows in prop::collection::vec(any::<u16>(), 0..8),
    ) {
        let (scene, right) = disturbed(seed, &first, &second, &blows);
        prop_assert!(right, "it failed: {:?}", scene.failed);
        assert_nothing_is_left(&scene);
    }

    #[test]
    fn a_query_that_depends_on_order_gives_the_right_rows_or_fails(
        seed: u64, first in layers(!STEADY), second in layers(!STEADY), blows in prop::collection::vec(any::<u16>(), 0..8),
    ) {
        let (scene, right) = disturbed(seed, &first, &second, &blows);
        prop_assert!(right || !blows.is_empty());
        assert_nothing_is_left(&scene);
    }
}
