//! News that have arrived come before what is due. The runtime does not run: no tick and no call gets in between.

use daft_k8s_core::{Addresses, LaunchId, WorkerPhase};

use super::{drops::Dropped, partition::TaskName, *};

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

/// A worker whose time-out is due, but that was heard after the call that went unanswered.
fn due_but_heard(runtime: &Handle) -> Driver {
    let pool = PoolConfig {
        unreachable_timeout: Duration::from_millis(100),
        suspect_timeout: Duration::ZERO,
        ..PoolConfig::default()
    };
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
