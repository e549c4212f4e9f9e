//! The connection to one process of a worker: handshake, submissions, the long poll, calls, drops.

mod calls;
mod known_plans;
mod poll;
mod requests;
mod submit;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use daft_k8s_control::{
    Client, ClientError, OnProgress, PROTOCOL_VERSION,
    proto::{HandshakeRequest, StartActorRequest},
};
use daft_k8s_core::{Event, Incarnation};
use daft_k8s_net::Destination;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::{requests::Request, submit::Uploads};
use super::{Inner, process::Process, task::Submission};
use crate::panic_text;

/// Between two tries of a call that failed.
const RETRY: Duration = Duration::from_millis(100);
/// A call that has no business to take long is given up after this.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A call may take this much longer for each KiB that it carries.
const TIME_PER_KIB: Duration = Duration::from_millis(1);

/// A worker that lives answers the long poll within 2 s, give or take a moment.
const LEAST_PATIENCE: Duration = Duration::from_secs(3);

/// Dropped in one call at most; far below the size of a message that a worker takes.
const TICKETS_PER_CALL: usize = 2048;

/// The handle of a link. Dropping it closes the connection.
pub(super) struct Link {
    pub(super) process: Arc<Process>,
    submissions: mpsc::UnboundedSender<Submission>,
    requests: mpsc::UnboundedSender<Request>,
    uploads: Arc<Uploads>,
    last_answer: Arc<LastAnswer>,
    /// Never sent to: its end tells the tasks behind the link to stop.
    _open: watch::Sender<()>,
}

/// Notes when data of an answer comes from the worker.
#[derive(Debug)]
struct LastAnswer {
    /// The latest such time, or the opening of the link: a call's time-out counts from there.
    at: Mutex<Instant>,
    /// True if data came since the core was told.
    is_news: AtomicBool,
}

impl LastAnswer {
    fn is_now(&self) {
        *self.at.lock() = Instant::now();
        self.is_news.store(true, Ordering::Relaxed);
    }

    /// Waits for a call's end as long as the worker is heard; `None` once it has been silent for `patience`.
    async fn while_heard<T>(&self, patience: Duration, call: impl Future<Output = T>) -> Option<T> {
        let begun = Instant::now();
        let last_heard = || begun.max(*self.at.lock());
        let mut call = std::pin::pin!(call);
        loop {
            let heard = last_heard();
            match tokio::time::timeout_at((heard + patience).into(), &mut call).await {
                Ok(output) => return Some(output),
                Err(_) if last_heard() == heard => return None,
                Err(_) => {}
            }
        }
    }
}

/// The things that the tasks behind a link share.
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
        let last_answer = Arc::new(LastAnswer { at: Mutex::new(Instant::now()), is_news: AtomicBool::new(false) });
        // The launcher's news come on a thread of its own; the channel is made for ours.
        let _entered = inner.runtime.enter();
        let config = &inner.config;
        let timeout = config.connect_timeout();
        let address = Destination { address: &process.addresses.control, worker_id: Some(&process.worker_id) };
        let heard = last_answer.clone();
        let on_progress: OnProgress = Arc::new(move || heard.is_now());
        let client =
            daft_k8s_control::connect_observed(address, &config.token, config.tls.clone(), timeout, Some(on_progress));
        match client {
            Ok(client) => {
                let last_answer = last_answer.clone();
                let peer = Peer { inner: inner.clone(), process: process.clone(), client, last_answer };
                let guard = peer.clone();
                let behind = peer.run(known, to_submit, submissions.downgrade(), to_request, uploads.clone());
                inner.runtime.spawn(until_closed(closed, guard.guard("connected", behind)));
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

    pub(super) fn start_actor(&self, request: StartActorRequest) {
        let _ = self.requests.send(Request::StartActor(request));
    }

    pub(super) fn stop_actor(&self, actor_id: String, generation: u32) {
        let _ = self.requests.send(Request::StopActor(actor_id, generation));
    }

    /// True if data came from the worker since the last call of this.
    pub(super) fn take_heard(&self) -> bool {
        self.last_answer.is_news.swap(false, Ordering::Relaxed)
    }

    /// As if data came from the worker.
    #[cfg(test)]
    pub(super) fn note_heard(&self) {
        self.last_answer.is_now();
    }

    /// Number of partitions of the driver that the worker was given and keeps.
    pub(super) fn uploaded(&self) -> usize {
        self.uploads.len()
    }

    /// True if the worker was given this partition of the driver; it has to be told to drop it then.
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
        tasks.spawn(self.clone().guard("took in ends of tasks", self.clone().poll(incarnation)));
        let submitting = self.clone().submit_all(submissions, resubmit, uploads);
        tasks.spawn(self.clone().guard("submitted tasks", submitting));
        tasks.spawn(self.clone().guard("answered calls", self.clone().serve_calls()));
        tasks.spawn(self.clone().guard("sent requests", self.request_all(requests)));
        // Ends when the link is closed, which drops this future and with it the tasks.
        while tasks.join_next().await.is_some() {}
    }

    /// Asks the process who it is, and whether it fits.
    async fn ask_for_incarnation(&mut self) -> Result<Incarnation, ClientError> {
        let config = &self.inner.config;
        let request = HandshakeRequest {
            protocol_version: PROTOCOL_VERSION,
            session_id: config.session_id.clone(),
            worker_id: self.process.worker_id.to_string(),
            daft_version: config.daft_version.clone(),
            python_version: config.python_version.clone(),
        };
        let reply = daft_k8s_control::handshake(&mut self.client, request).await?;
        Ok(Incarnation::from(reply.instance_id))
    }

    /// Tries until the process answers; the pool's start time-out ends this by closing the link.
    async fn shake_hands(&mut self) -> Option<Incarnation> {
        loop {
            match self.ask_for_incarnation().await {
                Ok(incarnation) => return Some(incarnation),
                // The address was dealt anew before its process was met. Another start may go better.
                Err(refused @ ClientError::AnotherWorker(_)) => {
                    let (worker, launch, reason) = (self.process.worker, self.process.launch, refused.to_string());
                    self.inner.feed(Event::Unreachable { worker, launch, reason });
                    return None;
                }
                Err(ClientError::Call(reason)) => {
                    self.log_trouble(&format!("handshake failed: {reason}"));
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

    /// Runs a part of the link. A panic in it is a loss of the link: a part that is gone would leave tasks without end.
    async fn guard(self, part: &'static str, work: impl Future<Output = ()>) {
        let Err(panic) = AssertUnwindSafe(work).catch_unwind().await else { return };
        let reason = format!("the driver panicked while it {part}: {}", panic_text(&*panic));
        let Process { worker, launch, .. } = &*self.process;
        tracing::error!(%worker, launch = launch.0, "{worker}: {reason}");
        self.inner.unreachable(&self.process, reason);
    }

    /// Logs trouble that passes, for developers.
    fn log_trouble(&self, message: &str) {
        let Process { worker, launch, .. } = &*self.process;
        tracing::debug!(%worker, launch = launch.0, "{worker}: {message}");
    }

    fn warn(&self, message: &str) {
        let Process { worker, launch, .. } = &*self.process;
        tracing::warn!(%worker, launch = launch.0, "{worker}: {message}");
    }
}
