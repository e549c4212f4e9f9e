//! Small calls whose outcome nothing waits for: cancels, drops, ends of queries, actors.
//!
//! Calls begin in the order of the requests. A failed call is repeated after a pause, and others go on meanwhile. The
//! lost order does no harm. A worker knows a cancelled task before it comes, refuses tasks of an ended query, and
//! takes each generation of an actor once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use daft_k8s_control::proto::{
    CancelTaskRequest, DropPartitionsRequest, EndQueryRequest, StartActorRequest, StopActorRequest,
};
use daft_k8s_core::Backoff;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tonic::Code;

use super::{Peer, RETRY, call_timeout};

/// Requests under way at once. One that waits for its next try is not counted.
const CALLS_AT_ONCE: usize = 16;
/// Between two tries of one request.
const PAUSES: Backoff = Backoff::new(RETRY, Duration::from_secs(5));
/// A request that has failed for so long, at a worker that answers the long poll, will fail for ever.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// A call that may be repeated.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Cancel(String),
    Drop(Vec<String>),
    EndQuery(String),
    StartActor(StartActorRequest),
    StopActor(String, u32),
}

impl Request {
    /// Of what may be large in it.
    fn size_bytes(&self) -> usize {
        match self {
            Self::StartActor(request) => request.payload.len(),
            Self::Cancel(_) | Self::Drop(_) | Self::EndQuery(_) | Self::StopActor(..) => 0,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Cancel(key) => format!("cancel of task {key}"),
            Self::Drop(tickets) => format!("drop of {} partitions", tickets.len()),
            Self::EndQuery(query_id) => format!("end of query {query_id}"),
            Self::StartActor(request) => format!("start of actor {}", request.actor_id),
            Self::StopActor(actor_id, _) => format!("stop of actor {actor_id}"),
        }
    }
}

impl Peer {
    pub(super) async fn request_all(self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        // Ends with the link.
        let mut under_way = JoinSet::new();
        while let Some(request) = requests.recv().await {
            // The semaphore is never closed.
            let Ok(permit) = calls.clone().acquire_owned().await else { return };
            while under_way.try_join_next().is_some() {}
            let repeating = self.clone().repeat(request, permit, calls.clone());
            under_way.spawn(self.clone().guard("sent a request", repeating));
        }
    }

    /// Repeats the request until it is answered, or what it should free would stay for the life of the worker. The
    /// worker's end is for the long poll to find out, which then closes the link.
    async fn repeat(mut self, request: Request, first: OwnedSemaphorePermit, calls: Arc<Semaphore>) {
        let begun = Instant::now();
        let (mut permit, mut failures) = (Some(first), 0);
        while let Err(problem) = self.try_request(&request).await {
            drop(permit.take());
            if begun.elapsed() >= GIVE_UP_AFTER {
                return self.give_up_request(&request, &problem);
            }
            self.log_trouble(&format!("the {} is tried again: {problem}", request.describe()));
            tokio::time::sleep(PAUSES.delay(failures)).await;
            failures += 1;
            permit = calls.clone().acquire_owned().await.ok();
        }
        drop(permit);
    }

    fn give_up_request(&self, request: &Request, problem: &str) {
        let reason = format!("the {} failed for {} s: {problem}", request.describe(), GIVE_UP_AFTER.as_secs());
        match request {
            // Tasks wait for this actor: they go elsewhere, or fail with the reason.
            Request::StartActor(..) => self.inner.unreachable(&self.process, reason),
            _ => self.warn(&format!("{reason}; it is given up")),
        }
    }

    /// Fails if another try may go better.
    async fn try_request(&mut self, request: &Request) -> Result<(), String> {
        let timeout = call_timeout(request.size_bytes());
        let status = match tokio::time::timeout(timeout, self.request(request.clone())).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(status)) => status,
            Err(_) => return Err("no answer".to_owned()),
        };
        let problem = daft_k8s_control::describe(&status);
        if matches!(status.code(), Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented) {
            self.warn(&problem);
            return Ok(());
        }
        Err(problem)
    }

    async fn request(&mut self, request: Request) -> Result<(), tonic::Status> {
        match request {
            Request::Cancel(key) => {
                self.client.cancel_task(CancelTaskRequest { keys: vec![key] }).await?;
            }
            Request::Drop(tickets) => {
                self.client.drop_partitions(DropPartitionsRequest { tickets }).await?;
            }
            Request::EndQuery(query_id) => {
                self.client.end_query(EndQueryRequest { query_id }).await?;
            }
            Request::StartActor(request) => {
                self.client.start_actor(request).await?;
            }
            Request::StopActor(actor_id, generation) => {
                self.client.stop_actor(StopActorRequest { actor_id, generation }).await?;
            }
        }
        Ok(())
    }
}
