//! The connection to one process of a worker: handshake, submissions, the long poll, calls, drops.

mod calls;
mod poll;
mod submit;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_control::{
    Client, ClientError, PROTOCOL_VERSION,
    proto::{
        CancelTaskRequest, DropPartitionsRequest, EndQueryRequest, HandshakeRequest, StartActorRequest,
        StopActorRequest,
    },
};
use daft_k8s_core::{Event, Incarnation};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::Code;

use self::submit::Uploads;
use super::{
    Inner,
    process::Process,
    task::{Submission, loss_of_input},
};
use crate::Level;

/// Between two tries of a call that failed.
const RETRY: Duration = Duration::from_millis(100);
/// A call that has no business to take long is given up after this.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A call may take this much longer for each KiB that it carries.
const TIME_PER_KIB: Duration = Duration::from_millis(1);

/// A worker that lives answers the long poll within 2 s, give or take a moment.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);
/// A socket may break this long before the news of a death comes.
const NEWS_OF_A_DEATH: Duration = Duration::from_secs(2);

/// Dropped in one call at most; far below the size of a message that a worker takes.
const TICKETS_PER_CALL: usize = 2048;

/// What may be asked of a link. Dropping it closes the connection.
pub(super) struct Link {
    pub(super) process: Arc<Process>,
    submissions: mpsc::UnboundedSender<Submission>,
    requests: mpsc::UnboundedSender<Request>,
    uploads: Arc<Uploads>,
    last_answer: Arc<LastAnswer>,
    /// Never sent to: its end tells the tasks behind the link to stop.
    _open: watch::Sender<()>,
}

/// Small calls whose outcome nobody waits for. All may be repeated.
#[derive(Debug, Clone)]
enum Request {
    Cancel(String),
    Drop(Vec<String>),
    EndQuery(String),
    StartActor(String, Bytes),
    StopActor(String, u32),
}

impl Request {
    /// Of what may be large in it.
    fn size_bytes(&self) -> usize {
        match self {
            Self::StartActor(_, payload) => payload.len(),
            Self::Cancel(_) | Self::Drop(_) | Self::EndQuery(_) | Self::StopActor(..) => 0,
        }
    }
}

/// When the worker has answered the long poll last, or the link was opened.
#[derive(Debug)]
struct LastAnswer(Mutex<Instant>);

impl LastAnswer {
    fn is_now(&self) {
        *self.0.lock() = Instant::now();
    }

    fn silence(&self) -> Duration {
        self.0.lock().elapsed()
    }
}

/// What the tasks behind a link share.
#[derive(Clone)]
struct Peer {
    inner: Arc<Inner>,
    process: Arc<Process>,
    client: Client,
    last_answer: Arc<LastAnswer>,
}

impl Link {
    /// Connects, and shakes hands unless that was done and the process is known by its incarnation.
    pub(super) fn open(inner: &Arc<Inner>, process: Arc<Process>, known: Option<Incarnation>) -> Self {
        let (submissions, to_submit) = mpsc::unbounded_channel();
        let (requests, to_request) = mpsc::unbounded_channel();
        let (open, closed) = watch::channel(());
        let uploads = Arc::new(Uploads::default());
        let last_answer = Arc::new(LastAnswer(Mutex::new(Instant::now())));
        // The launcher's news come on a thread of its own; the channel is made for ours.
        let _entered = inner.runtime.enter();
        let config = &inner.config;
        let timeout = config.connect_timeout();
        let address = &process.addresses.control;
        match daft_k8s_control::connect_lazily(address, &config.token, config.tls.clone(), timeout) {
            Ok(client) => {
                let heard = last_answer.clone();
                let peer = Peer { inner: inner.clone(), process: process.clone(), client, last_answer: heard };
                let behind = peer.run(known, to_submit, submissions.downgrade(), to_request, uploads.clone());
                inner.runtime.spawn(until_closed(closed, behind));
            }
            Err(error) => {
                let (inner, reason) = (inner.clone(), error.to_string());
                let (worker, launch) = (process.worker, process.launch);
                let runtime = inner.runtime.clone();
                runtime.spawn(async move { inner.feed(Event::Refused { worker, launch, reason }) });
            }
        }
        Self { process, submissions, requests, uploads, last_answer, _open: open }
    }

    // A send to a link that is closing is no loss: the pool sends the task elsewhere when it hears of it.

    pub(super) fn submit(&self, submission: Submission) {
        let _ = self.submissions.send(submission);
    }

    pub(super) fn cancel(&self, key: String) {
        let _ = self.requests.send(Request::Cancel(key));
    }

    pub(super) fn drop_partitions(&self, tickets: Vec<String>) {
        for part in tickets.chunks(TICKETS_PER_CALL) {
            let _ = self.requests.send(Request::Drop(part.to_vec()));
        }
    }

    pub(super) fn end_query(&self, query_id: &str) {
        let _ = self.requests.send(Request::EndQuery(query_id.to_owned()));
    }

    pub(super) fn start_actor(&self, actor_id: &str, payload: Bytes) {
        let _ = self.requests.send(Request::StartActor(actor_id.to_owned(), payload));
    }

    pub(super) fn stop_actor(&self, actor_id: &str, generation: u32) {
        let _ = self.requests.send(Request::StopActor(actor_id.to_owned(), generation));
    }

    /// Whether the worker was given this partition of the driver; it has to be told to drop it then.
    pub(super) fn forget_upload(&self, ticket: &str) -> bool {
        self.uploads.forget(ticket)
    }
}

fn call_timeout(size_bytes: usize) -> Duration {
    CALL_TIMEOUT + TIME_PER_KIB * u32::try_from(size_bytes >> 10).unwrap_or(u32::MAX)
}

async fn until_closed(mut closed: watch::Receiver<()>, behind: impl Future<Output = ()>) {
    tokio::select! {
        _ = closed.changed() => {}
        () = behind => {}
    }
}

impl Peer {
    async fn run(
        mut self,
        known: Option<Incarnation>,
        submissions: mpsc::UnboundedReceiver<Submission>,
        resubmit: mpsc::WeakUnboundedSender<Submission>,
        requests: mpsc::UnboundedReceiver<Request>,
        uploads: Arc<Uploads>,
    ) {
        let incarnation = match known {
            Some(incarnation) => incarnation,
            None => {
                let Some(incarnation) = self.shake_hands().await else { return };
                let (worker, launch) = (self.process.worker, self.process.launch);
                self.inner.feed(Event::Connected { worker, launch, incarnation: incarnation.clone() });
                incarnation
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().poll(incarnation));
        tasks.spawn(self.clone().submit_all(submissions, resubmit, uploads));
        tasks.spawn(self.clone().serve_calls());
        tasks.spawn(self.request_all(requests));
        // Ends when the link is closed, which drops this future and with it the tasks.
        while tasks.join_next().await.is_some() {}
    }

    /// Tries until the process answers; the pool's start time-out ends this by closing the link.
    async fn shake_hands(&mut self) -> Option<Incarnation> {
        let config = &self.inner.config;
        let request = HandshakeRequest {
            protocol_version: PROTOCOL_VERSION,
            session_id: config.session_id.clone(),
            worker_id: self.process.worker.to_string(),
            daft_version: config.daft_version.clone(),
            python_version: config.python_version.clone(),
        };
        loop {
            match daft_k8s_control::handshake(&mut self.client, request.clone()).await {
                Ok(reply) => return Some(Incarnation::from(reply.instance_id)),
                Err(ClientError::Call(reason)) => {
                    self.log(Level::Debug, &format!("handshake failed: {reason}"));
                    tokio::time::sleep(RETRY).await;
                }
                Err(refused) => {
                    let (worker, launch, reason) = (self.process.worker, self.process.launch, refused.to_string());
                    self.inner.feed(Event::Refused { worker, launch, reason });
                    return None;
                }
            }
        }
    }

    async fn request_all(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        while let Some(request) = requests.recv().await {
            // Repeated, or what it should free would stay for the life of the worker. Whether that has ended is
            // for the long poll to find out, and then the link is closed.
            while let Err(problem) = self.try_request(&request).await {
                self.log(Level::Debug, &format!("trying again: {problem}"));
                tokio::time::sleep(RETRY).await;
            }
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
            self.log(Level::Warning, &problem);
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
            Request::StartActor(actor_id, payload) => {
                self.client.start_actor(StartActorRequest { actor_id, payload }).await?;
            }
            Request::StopActor(actor_id, generation) => {
                self.client.stop_actor(StopActorRequest { actor_id, generation }).await?;
            }
        }
        Ok(())
    }

    fn log(&self, level: Level, message: &str) {
        self.inner.host.log(level, format!("{}: {message}", self.process.worker));
    }
}

impl Inner {
    /// Why one of these processes was lost, if one was; news of a death may come a moment after the socket broke. One
    /// that is silent is waited for until it is heard again or lost: whoever tried again would find out later.
    pub(super) async fn await_loss(&self, processes: &[Arc<Process>]) -> Option<String> {
        let begun = Instant::now();
        loop {
            let is_silent = {
                let state = self.state.lock();
                if let Some(process) = processes.iter().find(|process| state.closed || process.is_lost()) {
                    return Some(loss_of_input(&state, process));
                }
                let is_silent = |link: &Link| link.last_answer.silence() >= LEAST_PATIENCE;
                processes.iter().any(|process| state.link_to(process).is_some_and(is_silent))
            };
            if processes.is_empty() || (begun.elapsed() >= NEWS_OF_A_DEATH && !is_silent) {
                return None;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}
