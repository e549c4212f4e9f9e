//! Measures the share of one core that a session's decisions take: 200 workers and 1,000 events a second, half an hour of it.
//!
//!     cargo run --release -p daft_k8s_core --example pool_load

use std::time::{Duration, Instant};

use daft_k8s_core::{
    Action, Addresses, Determinism, Event, Kept, LaunchId, Output, PoolConfig, QueryId, Session, SlotId, TaskId,
    WorkerId,
};

const WORKERS: u32 = 200;
const EVENTS_PER_SECOND: u64 = 1_000;
const SECONDS: u64 = 1_800;

fn main() {
    let config = PoolConfig { slots_per_worker: 2, ..PoolConfig::default() };
    let mut pool = Session::new(config);
    let mut now = Duration::ZERO;
    pool.handle(Event::SetRange { min: 1, start: WORKERS, max: 2 * WORKERS }, now);
    for index in 0..WORKERS {
        let (worker, launch) = (WorkerId(index), LaunchId(1));
        let address = |port: u16| format!("10.0.0.{}:{port}", index % 250).into();
        let addresses = Addresses { control: address(7777), data: address(7778), peer: address(7778) };
        pool.handle(Event::Started { worker, launch, addresses }, now);
        pool.handle(Event::Connected { worker, launch, incarnation: format!("i{index}").into() }, now);
    }
    let mut at_workers: std::collections::VecDeque<Action> = std::collections::VecDeque::new();
    let (mut events, mut actions_seen, mut next_task, mut longest) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
    let query = QueryId::from("q");
    let outputs: Vec<Output> =
        (0..4).map(|slot| Output { slot, num_rows: 1, fingerprint: None, is_stored: true }).collect();
    let begin = Instant::now();
    while events < EVENTS_PER_SECOND * SECONDS {
        now += Duration::from_micros(1_000_000 / EVENTS_PER_SECOND);
        // About 400 tasks are under way; what one makes is dropped when the next has ended.
        let event = match (events % 3, at_workers.front()) {
            (0, Some(Action::Send { task, worker, launch, attempt })) if at_workers.len() > 400 => {
                let event = Event::Succeeded {
                    task: *task,
                    worker: *worker,
                    launch: *launch,
                    attempt: *attempt,
                    outputs: outputs.clone(),
                };
                at_workers.pop_front();
                event
            }
            (1, _) => {
                let task = TaskId((events / 3).saturating_sub(1_000));
                Event::Drop((0..4).map(|slot| SlotId { task, slot }).collect())
            }
            _ => {
                next_task += 1;
                let prefer = WorkerId(u32::try_from(next_task % u64::from(2 * WORKERS)).unwrap_or(0));
                Event::Submit {
                    task: TaskId(next_task),
                    prefer,
                    query: query.clone(),
                    inputs: [].into(),
                    determinism: Determinism::Deterministic,
                    kept: Kept::own(1000),
                }
            }
        };
        let one = Instant::now();
        for action in pool.handle(event, now) {
            actions_seen += 1;
            if matches!(action, Action::Send { .. }) {
                at_workers.push_back(action);
            }
        }
        longest = longest.max(one.elapsed());
        events += 1;
    }
    let took = begin.elapsed();
    println!(
        "{WORKERS} workers, {events} events ({EVENTS_PER_SECOND} a second for {SECONDS} s), {actions_seen} actions: {took:?}, \
         {:.2} µs an event, {:.3} % of one core; the longest event took {longest:?}; {} tasks wait",
        took.as_secs_f64() * 1e6 / events as f64,
        100.0 * took.as_secs_f64() / SECONDS as f64,
        pool.queued_count(),
    );
}
