//! Messages that are larger than a worker takes.

use crate::fixture::{Session, Settings, TestWorker, numbers, spec, until};

const SMALL: usize = 256 << 10;

fn small_messages() -> (Session, Vec<TestWorker>) {
    Session::with_workers(Settings { slots: 64, queue_ahead: 64, max_message_bytes: SMALL, ..Settings::default() })
}

#[test]
fn tasks_that_are_too_large_together_are_sent_apart() {
    let (session, workers) = small_messages();
    let payload = vec![1; SMALL / 4];
    let endings: Vec<_> = (0..60)
        .map(|task| session.submit_spec(0, spec("q", task, format!("plan {task}").as_bytes(), &payload, vec![])))
        .collect();
    for _ in 0..60 {
        let delivery = workers[0].next_run();
        workers[0].finish(&delivery.key, []);
    }
    for ending in &endings {
        assert!(ending.partitions().is_empty());
    }
}

#[test]
fn a_task_that_is_too_large_fails_alone() {
    let (session, workers) = small_messages();
    let large = vec![1; SMALL * 2];
    let endings: Vec<_> = (0..20)
        .map(|task| {
            let payload = if task == 7 { &large[..] } else { b"small" };
            session.submit_spec(0, spec("q", task, b"plan", payload, vec![]))
        })
        .collect();
    assert!(endings[7].failed().contains("max_message_bytes"));
    for _ in 0..19 {
        let delivery = workers[0].next_run();
        workers[0].finish(&delivery.key, []);
    }
    for (task, ending) in endings.iter().enumerate().filter(|(task, _)| *task != 7) {
        assert!(ending.partitions().is_empty(), "{task}");
    }
}

#[test]
fn twenty_thousand_partitions_are_dropped_in_messages_that_the_worker_takes() {
    let (session, workers) = small_messages();
    let ending = session.submit(1, vec![]);
    let output = numbers(0..1);
    workers[0].finish(&workers[0].next_run().key, std::iter::repeat_n(output, 20_000));
    let partitions = ending.partitions();
    assert_eq!(workers[0].partitions(), 20_000);
    drop(partitions);
    until(|| workers[0].partitions() == 0, "partitions were not dropped");
}
