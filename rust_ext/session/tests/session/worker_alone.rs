//! The answers of a worker, whoever asks.

use bytes::Bytes;
use daft_k8s_control::{
    CONNECT_TIMEOUT, Client, connect_lazily,
    proto::{
        AwaitTaskRequest, CancelTaskRequest, EndQueryRequest, Plan, SubmitTaskReply, SubmitTaskRequest, Task, TaskEnd,
        task_end,
    },
};
use daft_k8s_core::WorkerId;

use crate::fixture::{LONG, Session, Settings, TOKEN, TestWorker, until};

struct Alone {
    session: Session,
    worker: TestWorker,
    client: Client,
}

impl Alone {
    fn new() -> Self {
        let session = Session::new(Settings { workers: 0, slots: 1, ..Settings::default() });
        let worker = session.worker(WorkerId(0));
        let _entered = session.runtime.enter();
        let client = connect_lazily(&worker.control(), TOKEN, None, CONNECT_TIMEOUT).unwrap();
        drop(_entered);
        Self { session, worker, client }
    }

    fn wait<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> T {
        let answer = self.session.runtime.block_on(async { tokio::time::timeout(LONG, call).await });
        answer.expect("no answer").unwrap().into_inner()
    }

    fn submit(&self, key: &str) -> SubmitTaskReply {
        let task = Task { key: key.into(), plan_hash: Bytes::from_static(b"h"), ..Task::default() };
        let plans = vec![Plan { hash: Bytes::from_static(b"h"), body: Bytes::from_static(b"plan") }];
        let request = SubmitTaskRequest { tasks: vec![task], plans, ..SubmitTaskRequest::default() };
        self.wait(self.client.clone().submit_task(request))
    }

    fn cancel(&self, key: &str) {
        self.wait(self.client.clone().cancel_task(CancelTaskRequest { keys: vec![key.into()] }));
    }

    fn ended(&self, after_version: u64) -> Vec<TaskEnd> {
        let request = AwaitTaskRequest { after_version, inline_full: false };
        self.wait(self.client.clone().await_task(request)).ended
    }
}

fn is_cancelled(ended: &[TaskEnd]) -> bool {
    matches!(ended, [TaskEnd { outcome: Some(task_end::Outcome::Cancelled(_)), .. }])
}

#[test]
fn a_submission_that_is_repeated_runs_once_and_is_not_refused() {
    let alone = Alone::new();
    assert!(alone.submit("q/1.1").bounced.is_empty());
    alone.worker.next_run();
    alone.worker.worker.begin_drain();
    assert!(alone.submit("q/1.1").bounced.is_empty(), "a task that runs was refused");
    assert_eq!(alone.submit("q/2.1").bounced.len(), 1);
    assert!(alone.worker.is_left_alone());
}

#[test]
fn a_cancel_that_comes_before_its_task_holds() {
    let alone = Alone::new();
    alone.cancel("q/1.1");
    assert!(alone.submit("q/1.1").bounced.is_empty());
    let ended = alone.ended(0);
    assert!(is_cancelled(&ended), "{ended:?}");
    assert!(alone.worker.is_left_alone());
}

#[test]
fn a_task_of_a_query_that_has_ended_does_not_run() {
    let alone = Alone::new();
    assert!(alone.submit("q/1.1").bounced.is_empty());
    let key = alone.worker.next_run().key;
    alone.worker.finish(&key, []);
    alone.wait(alone.client.clone().end_query(EndQueryRequest { query_id: "q".into() }));
    // Repeated, because the answer to the first was lost.
    alone.submit("q/1.1");
    alone.submit("q/2.1");
    assert!(alone.worker.is_left_alone(), "it runs");
    until(|| alone.worker.worker.unfinished_tasks() == 0, "it is kept");
    assert_eq!(alone.ended(0).len(), 3);
}

#[test]
fn a_task_whose_key_is_malformed_is_refused() {
    let alone = Alone::new();
    for key in ["", "/1.1", "q/1", "q"] {
        let task = Task { key: key.into(), ..Task::default() };
        let request = SubmitTaskRequest { tasks: vec![task], ..SubmitTaskRequest::default() };
        let refused = alone.session.runtime.block_on(alone.client.clone().submit_task(request));
        assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument, "{key:?}");
    }
    assert_eq!(alone.worker.worker.unfinished_tasks(), 0);
}

#[test]
fn an_end_after_the_task_has_ended_changes_nothing() {
    let alone = Alone::new();
    alone.submit("q/1.1");
    let key = alone.worker.next_run().key;
    alone.worker.worker.cancelled(&key);
    alone.worker.finish(&key, [crate::fixture::numbers(0..10_000)]);
    alone.worker.worker.fail(&key, Bytes::new(), String::new());
    assert!(is_cancelled(&alone.ended(0)));
    assert_eq!(alone.worker.partitions(), 0);
}

#[test]
fn ends_of_any_size_are_told_in_answers_of_bounded_size() {
    let alone = Alone::new();
    let sizes = [300_000, 900_000, 10, 3_000_000, 20, 30, 700_000, 700_000];
    for (task, size) in sizes.iter().enumerate() {
        let key = format!("q/{task}.1");
        alone.submit(&key);
        assert_eq!(alone.worker.next_run().key, key);
        alone.worker.worker.fail(&key, Bytes::from(vec![0; *size]), String::new());
    }
    let (mut version, mut told) = (0, Vec::new());
    while told.len() < sizes.len() {
        let reply = alone
            .wait(alone.client.clone().await_task(AwaitTaskRequest { after_version: version, inline_full: false }));
        let bytes: usize = reply.ended.iter().map(failure_bytes).sum();
        assert!(!reply.ended.is_empty() && (reply.ended.len() == 1 || bytes <= 1 << 20), "{bytes} bytes at once");
        told.extend(reply.ended.iter().map(failure_bytes));
        assert_eq!(reply.version, told.len() as u64);
        // An answer that was lost is given again.
        let again = alone
            .wait(alone.client.clone().await_task(AwaitTaskRequest { after_version: version, inline_full: false }));
        assert_eq!(again.ended, reply.ended);
        version = reply.version;
    }
    assert_eq!(told, sizes);
}

fn failure_bytes(end: &TaskEnd) -> usize {
    match &end.outcome {
        Some(task_end::Outcome::Failed(failed)) => failed.error.len(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_keeps_its_outputs_while_the_driver_has_no_room_for_them() {
    let alone = Alone::new();
    for (version, (inline_full, kept)) in [(false, 0), (true, 1), (false, 1)].into_iter().enumerate() {
        let key = format!("q/{version}.1");
        alone.submit(&key);
        let _ = alone.worker.next_run();
        // A version that was never given out is answered at once.
        let request = AwaitTaskRequest { after_version: version as u64 + 100, inline_full };
        alone.wait(alone.client.clone().await_task(request));
        alone.worker.finish(&key, [crate::fixture::numbers(0..3)]);
        until(|| alone.worker.worker.unfinished_tasks() == 0, "it does not end");
        assert_eq!(alone.worker.partitions(), kept, "{inline_full}");
    }
}
