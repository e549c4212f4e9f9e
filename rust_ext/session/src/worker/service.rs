//! The control protocol's calls, as a worker answers them.

use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_control::{
    PROTOCOL_VERSION,
    proto::{
        ActorPiece, AwaitTaskReply, AwaitTaskRequest, Bounce, CancelTaskReply, CancelTaskRequest, DrainReply,
        DrainRequest, DriverReply, DropPartitionsReply, DropPartitionsRequest, EndQueryReply, EndQueryRequest,
        HandshakeReply, HandshakeRequest, StartActorReply, StartActorRequest, StopActorReply, StopActorRequest,
        SubmitTaskReply, SubmitTaskRequest, WorkerCall, bounce::Reason, worker_server::Worker as WorkerCalls,
    },
};
use daft_k8s_core::TaskKey;
use daft_k8s_ipc::Ticket;
use daft_k8s_store::MemoryLevel;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{ActorRequest, Shared, actors, inputs::PeerAddresses, plans::Plans};

/// A long poll answers after this at the latest; randomised so that many workers do not answer in step.
const LONGEST_POLL: Duration = Duration::from_secs(2);

pub(super) struct Service {
    shared: Arc<Shared>,
    plans: Mutex<Plans>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, plans: Mutex::default() }
    }

    /// Every call of the driver passes here: it proves that the driver is alive.
    fn heard(&self) -> String {
        *self.shared.last_call.lock() = Instant::now();
        self.shared.instance_id.clone()
    }

    fn refusal(&self) -> Option<(Reason, String)> {
        let worker = &self.shared.config.worker_id;
        if self.shared.draining.load(Ordering::Relaxed) {
            return Some((Reason::Draining, format!("{worker} is draining")));
        }
        // A worker that runs nothing takes a task whatever its memory, or nothing would ever free any.
        if self.shared.store.stats().level == MemoryLevel::Refuse && self.shared.intake.unfinished() > 0 {
            return Some((Reason::Memory, format!("{worker} has hardly any memory left")));
        }
        None
    }
}

#[tonic::async_trait]
impl WorkerCalls for Service {
    async fn handshake(&self, request: Request<HandshakeRequest>) -> Answer<HandshakeReply> {
        let driver = request.into_inner();
        let config = &self.shared.config;
        if driver.session_id != config.session_id || driver.worker_id != config.worker_id {
            return Err(Status::failed_precondition(format!(
                "this is {} of session {}, not {} of session {}",
                config.worker_id, config.session_id, driver.worker_id, driver.session_id
            )));
        }
        let pairs = [
            ("control protocol", driver.protocol_version.to_string(), PROTOCOL_VERSION.to_string()),
            ("Daft", driver.daft_version, config.daft_version.clone()),
            ("Python", driver.python_version, config.python_version.clone()),
        ];
        let differing: Vec<String> = pairs
            .iter()
            .filter(|(_, driver, worker)| driver != worker)
            .map(|(what, driver, worker)| format!("{what} is {driver} in the driver and {worker} in the worker"))
            .collect();
        if !differing.is_empty() {
            return Err(Status::failed_precondition(format!(
                "driver and worker do not fit: {}; use the same image or environment for both",
                differing.join(", ")
            )));
        }
        Ok(Response::new(HandshakeReply {
            instance_id: self.heard(),
            protocol_version: PROTOCOL_VERSION,
            daft_version: config.daft_version.clone(),
            python_version: config.python_version.clone(),
            slots: u32::try_from(config.slots).unwrap_or(u32::MAX),
            memory_bytes: config.memory_bytes,
        }))
    }

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Answer<SubmitTaskReply> {
        let instance_id = self.heard();
        let SubmitTaskRequest { tasks, addresses, plans, holders } = request.into_inner();
        // Checked before anything is taken: an end that cannot be told would keep its slot for ever.
        let keys: Result<Vec<TaskKey>, _> = tasks.iter().map(|task| task.key.parse()).collect();
        let keys = keys.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let peers = Arc::new(PeerAddresses { addresses, holders });
        let mut bounced = Vec::new();
        for plan in plans {
            // Copies: a slice would keep the whole message for as long as the plan.
            self.plans.lock().insert(Bytes::copy_from_slice(&plan.hash), Bytes::copy_from_slice(&plan.body));
        }
        for (key, task) in keys.into_iter().zip(tasks) {
            let bounce =
                |reason: Reason, message: String| Bounce { key: task.key.clone(), reason: reason.into(), message };
            // Repeated, because the first answer was lost: it is here already, however full the worker is.
            if self.shared.intake.knows(&key) {
                continue;
            }
            if let Some((reason, message)) = self.refusal() {
                bounced.push(bounce(reason, message));
                continue;
            }
            let plan = self.plans.lock().get(&task.plan_hash);
            match plan {
                Some(plan) => self.shared.intake.take(key, task, plan, peers.clone()),
                None => bounced.push(bounce(Reason::UnknownPlan, "the plan is not known here".to_owned())),
            }
        }
        Ok(Response::new(SubmitTaskReply { instance_id, bounced }))
    }

    async fn await_task(&self, request: Request<AwaitTaskRequest>) -> Answer<AwaitTaskReply> {
        let instance_id = self.heard();
        let AwaitTaskRequest { after_version: after, inline_full } = request.into_inner();
        self.shared.intake.set_inline_full(inline_full);
        let longest = LONGEST_POLL.mul_f64(rand::rng().random_range(0.5..1.0));
        let ended = tokio::time::timeout(longest, self.shared.intake.ended_after(after)).await;
        let (version, ended) = ended.unwrap_or_else(|_| (after, Vec::new()));
        let (stuck_slots, stuck_calls) = self.shared.stuck.lock().clone();
        Ok(Response::new(AwaitTaskReply { instance_id, version, ended, stuck_slots, stuck_calls }))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Answer<CancelTaskReply> {
        let instance_id = self.heard();
        self.shared.intake.cancel(&request.into_inner().keys);
        Ok(Response::new(CancelTaskReply { instance_id }))
    }

    async fn drop_partitions(&self, request: Request<DropPartitionsRequest>) -> Answer<DropPartitionsReply> {
        let instance_id = self.heard();
        let tickets: Result<Vec<Ticket>, _> = request.into_inner().tickets.iter().map(|text| text.parse()).collect();
        let tickets = tickets.map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.shared.store.drop_tickets(&tickets);
        Ok(Response::new(DropPartitionsReply { instance_id }))
    }

    async fn end_query(&self, request: Request<EndQueryRequest>) -> Answer<EndQueryReply> {
        let instance_id = self.heard();
        self.shared.intake.end_query(&request.into_inner().query_id);
        Ok(Response::new(EndQueryReply { instance_id }))
    }

    type DriverCallsStream = Pin<Box<dyn Stream<Item = Result<WorkerCall, Status>> + Send>>;

    async fn driver_calls(&self, request: Request<Streaming<DriverReply>>) -> Answer<Self::DriverCallsStream> {
        self.heard();
        let mut answers = request.into_inner();
        let shared = self.shared.clone();
        tokio::spawn(async move {
            loop {
                match answers.message().await {
                    Ok(Some(answer)) => shared.calls.answer(answer),
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!("the driver's answer stream ended: {}", status.message());
                        return;
                    }
                }
            }
        });
        let calls = UnboundedReceiverStream::new(self.shared.calls.open()).map(Ok);
        Ok(Response::new(Box::pin(calls)))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Answer<DrainReply> {
        let instance_id = self.heard();
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.host.stop(&request.into_inner().reason);
        Ok(Response::new(DrainReply { instance_id }))
    }

    async fn start_actor(&self, request: Request<StartActorRequest>) -> Answer<StartActorReply> {
        let instance_id = self.heard();
        let StartActorRequest { actor_id, payload, generation, gpu_devices } = request.into_inner();
        self.shared.host.actor(ActorRequest::Start { actor_id, payload, generation, gpu_devices });
        Ok(Response::new(StartActorReply { instance_id }))
    }

    async fn stop_actor(&self, request: Request<StopActorRequest>) -> Answer<StopActorReply> {
        let instance_id = self.heard();
        let StopActorRequest { actor_id, generation } = request.into_inner();
        self.shared.host.actor(ActorRequest::Stop { actor_id, generation });
        Ok(Response::new(StopActorReply { instance_id }))
    }

    type CallActorStream = Pin<Box<dyn Stream<Item = Result<ActorPiece, Status>> + Send>>;

    async fn call_actor(&self, request: Request<Streaming<ActorPiece>>) -> Answer<Self::CallActorStream> {
        // Another worker calls, which says nothing of the driver: it is not noted as heard.
        let (actor_id, payload) = actors::gather(request.into_inner()).await?;
        let (sender, answered) = oneshot::channel();
        let answer = Box::new(move |result| {
            // Fails only if the caller has gone away.
            let _ = sender.send(result);
        });
        self.shared.host.actor(ActorRequest::Call { actor_id, payload, answer });
        let answer = answered.await.map_err(|_| Status::unavailable("the worker did not answer the call"))?;
        let pieces = actors::pieces(String::new(), answer.map_err(Status::failed_precondition)?);
        Ok(Response::new(Box::pin(pieces.map(Ok))))
    }
}
