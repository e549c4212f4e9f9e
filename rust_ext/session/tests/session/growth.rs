//! State that a long session keeps: nothing that grows with the queries, or with the workers that ever were.

use daft_k8s_core::{ExitCause, LaunchId, WorkerId};

use crate::fixture::{Session, Settings, TestWorker, numbers, rows, spec, until};

const QUERIES: u64 = 2_000;
/// A worker is lost with every so many queries.
const QUERIES_PER_LOSS: u64 = 20;

fn kept(session: &Session, what: &str) -> usize {
    session.driver.status().kept[what]
}

/// Two tasks: one reads data of the driver and makes a partition, the other reads that. Their plan is this query's own.
fn run_query(session: &Session, worker: &TestWorker, number: u64) {
    let query = format!("query-{number}");
    let plan = format!("plan of {query}");
    let given = session.driver.put(numbers(0..3));
    let maker = session.submit_spec(0, spec(&query, 1, plan.as_bytes(), b"", vec![given]));
    worker.finish(&worker.next_run().key, [numbers(0..1_000)]);
    let made = maker.partitions();
    assert_eq!(rows(&session.fetch(&made).unwrap()), [1_000]);
    let reader = session.submit_spec(0, spec(&query, 2, plan.as_bytes(), b"", made));
    worker.finish(&worker.next_run().key, [numbers(0..1)]);
    assert_eq!(reader.partitions().len(), 1);
    session.driver.end_query(&query);
}

#[test]
fn after_thousands_of_queries_on_workers_that_come_and_go_nothing_is_kept_of_them() {
    let (session, mut workers) = Session::with_workers(Settings {
        max_worker_restarts: u32::MAX,
        slots: 1,
        queue_ahead: 0,
        ..Settings::default()
    });
    let mut worker = workers.remove(0);
    for number in 0..QUERIES {
        run_query(&session, &worker, number);
        if (number + 1) % QUERIES_PER_LOSS == 0 {
            until(|| worker.worker.seen_queries() == 0 && worker.partitions() == 0, "the worker keeps something");
            let launch = LaunchId((number + 1) / QUERIES_PER_LOSS);
            session.driver.worker_exited(WorkerId(0), launch, "preempted".into(), true, ExitCause::Infrastructure);
            let (id, launch) = session.next_launch();
            worker = session.worker(id);
            session.started(id, launch, worker.control(), worker.data());
        }
    }
    session.until_ready(1);
    let references = ["uploads", "slots", "unneeded"];
    let no_reference = || references.iter().all(|what| kept(&session, what) == 0) && session.inline_bytes() == 0;
    until(no_reference, "references are kept");
    for what in ["keys", "plans", "actors", "queries_that_keep", "fetches", "verdicts"] {
        assert_eq!(kept(&session, what), 0, "{what}");
    }
    for what in ["ready", "links"] {
        assert_eq!(kept(&session, what), 1, "{what}");
    }
    assert!(kept(&session, "data_peers") <= 1, "connections to workers that are gone");
}
