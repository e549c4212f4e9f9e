//! News that have arrived come before what is due, and records are counted as large as they are. The runtime does not
//! run: no tick and no call gets in between.

use bytes::Bytes;
use daft_k8s_core::{Addresses, Attempt, Generation, LaunchId, Run, WorkerPhase};

use super::{
    drops::Dropped,
    partition::{Data, TaskName},
    task::NewOutput,
    *,
};

struct Nobody;

impl DriverHost for Nobody {
    fn launch(&self, _: WorkerId, _: LaunchId, _: LaunchFailed) {}
    fn stop(&self, _: WorkerId, _: LaunchId, _: &str) {}
    fn kill(&self, _: WorkerId, _: LaunchId, _: &str) {}
    fn worker_call(&self, _: Call) {}
    fn worker_ready(&self, _: WorkerId) {}
    fn worker_lost(&self, _: WorkerId, _: &str) {}
}

const WORKER: WorkerId = WorkerId(0);
const LAUNCH: LaunchId = LaunchId(1);

/// A driver with one worker, which takes tasks.
fn with_a_worker(runtime: &Handle, pool: PoolConfig) -> Driver {
    let config = DriverConfig {
        session_id: "session".to_owned(),
        token: "token".to_owned(),
        tls: None,
        trust_workers: false,
        daft_version: "0".to_owned(),
        python_version: "3".to_owned(),
        pool,
    };
    let driver = Driver::start(config, Arc::new(Nobody), runtime);
    let (control, data) = ("127.0.0.1:1".into(), "127.0.0.1:2".into());
    driver.inner.feed(Event::SetDesired(1));
    driver.worker_started(WORKER, LAUNCH, Addresses { control, data, peer: "127.0.0.1:2".into() });
    driver.inner.feed(Event::Connected { worker: WORKER, launch: LAUNCH, incarnation: "one".to_owned().into() });
    driver
}

/// A worker whose time-out is due, but that was heard after the call that went unanswered.
fn due_but_heard(runtime: &Handle) -> Driver {
    let pool = PoolConfig {
        unreachable_timeout: Duration::from_millis(100),
        suspect_timeout: Duration::ZERO,
        ..PoolConfig::default()
    };
    let driver = with_a_worker(runtime, pool);
    let process = {
        let state = driver.inner.state.lock();
        state.links[&WORKER].note_heard();
        state.links[&WORKER].process.clone()
    };
    driver.inner.unanswered(&process, "no answer".to_owned());
    driver.inner.state.lock().links[&WORKER].note_heard();
    while !driver.inner.state.lock().is_anything_due(driver.inner.clock.now()) {
        std::thread::yield_now();
    }
    driver
}

fn is_ready(driver: &Driver) -> bool {
    driver.status().workers[0].phase == WorkerPhase::Ready
}

#[test]
fn a_worker_that_was_heard_is_not_lost_to_an_event_that_comes_before_the_tick() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driver = due_but_heard(runtime.handle());
    driver.cancel(TaskId(7));
    assert!(is_ready(&driver));
}

#[test]
fn a_worker_that_was_heard_is_not_lost_to_a_dropped_partition() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let driver = due_but_heard(runtime.handle());
    let maker = Arc::new(TaskName { query_id: "q".to_owned(), number: 1 });
    driver.inner.drops.tell(Dropped::Remote { slot: SlotId { task: TaskId(1), slot: 0 }, maker });
    driver.inner.feed(Event::Heard(vec![(WORKER, LAUNCH)]));
    assert!(is_ready(&driver));
}

/// Has tasks end well whose output is at the worker. Returns the bytes that the process has grown by.
fn end_tasks(driver: &Driver, count: u64, inputs: u32) -> i64 {
    let before = resident_bytes();
    let plan = Bytes::from(vec![1; 4096]);
    let plan_hash = TaskSpec::hash_plan(&plan);
    for task_id in 0..count {
        let made = |slot| {
            let id = SlotId { task: TaskId(task_id.saturating_sub(1)), slot };
            let maker = Arc::new(TaskName { query_id: "brave-river-01ab23".to_owned(), number: id.task.0 });
            let generation = Generation::first(Attempt::FIRST);
            Partition::new(&driver.inner, id, (maker, generation), (1, 1), Data::Remote)
        };
        let spec = TaskSpec {
            query_id: "brave-river-01ab23".to_owned(),
            task_id,
            name: "ShuffleRead->HashAggregate->Project->RepartitionWrite".to_owned(),
            plan: plan.clone(),
            plan_hash: Bytes::copy_from_slice(&plan_hash),
            payload: Bytes::from(vec![2; PAYLOAD_BYTES]),
            inputs: if inputs == 0 { vec![] } else { vec![(1, (0..inputs).map(made).collect())] },
            determinism: Determinism::Deterministic,
            run: Run::FIRST,
            sent: Arc::default(),
        };
        let task = driver.submit(WORKER, spec, Box::new(std::mem::forget));
        let (attempt, stream) = (Attempt::FIRST, Bytes::new());
        let outputs = vec![NewOutput { num_rows: 9, size_bytes: 72, stream, fingerprint: None }];
        let report = Report::Succeeded { outputs, stats: Bytes::new(), worker: WORKER };
        let outputs = report.outputs();
        let event = Event::Succeeded { task, worker: WORKER, launch: LAUNCH, attempt, outputs };
        driver.inner.act(&mut driver.inner.state.lock(), event, &mut Some(report));
    }
    resident_bytes() - before
}

fn resident_bytes() -> i64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<i64>().unwrap() * 4096
}

const PAYLOAD_BYTES: usize = 500;

/// Of 1, 100 and 1,000 inputs, what the records take, and what the limit counts. Run it alone, with `--nocapture`.
#[test]
#[ignore = "a measurement of the whole process: it needs gigabytes, and no other test beside it"]
fn records_take_about_the_memory_that_is_counted() {
    for (count, inputs) in [(100_000, 0), (100_000, 8), (10_000, 200), (1_000_000, 0)] {
        let grown = [u64::MAX, 0].map(|lineage_limit_bytes| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let pool = PoolConfig { lineage_limit_bytes, slots_per_worker: 1, ..PoolConfig::default() };
            let driver = with_a_worker(runtime.handle(), pool);
            driver.inner.state.lock().links.clear();
            let grown = end_tasks(&driver, count, inputs);
            let kept = if lineage_limit_bytes == 0 { 0 } else { usize::try_from(count).unwrap() };
            assert_eq!(driver.status().kept["records_of_core"], kept);
            (grown, driver.inner.state.lock().core.lineage_bytes())
        });
        let each = |bytes: i64| bytes / i64::try_from(count).unwrap();
        let (taken, counted) = (each(grown[0].0 - grown[1].0), each(i64::try_from(grown[0].1).unwrap()));
        println!("{count} records of {inputs} inputs: {taken} bytes each, {counted} are counted");
        assert!((taken * 2 / 3..taken * 3 / 2).contains(&counted));
    }
}
