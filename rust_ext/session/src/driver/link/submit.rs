//! Submissions: many tasks a call, each plan once, the driver's own partitions ahead of their task.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use daft_k8s_control::proto::{Bounce, CancelTaskRequest, Plan, SubmitTaskRequest, bounce::Reason};
use daft_k8s_core::Event;
use daft_k8s_ipc::{PartitionData, Ticket};
use parking_lot::Mutex;
use tokio::{
    sync::{OnceCell, mpsc},
    task::JoinSet,
};
use tonic::Code;

use super::{CALL_TIMEOUT, Peer, RETRY, call_timeout, known_plans::KnownPlans};
use crate::driver::task::{PeerTable, Report, Submission};

/// Tasks in one call at most.
const BATCH: usize = 256;
/// Bytes in one call beyond which no further task is added to it.
const BATCH_BYTES: usize = 4 << 20;

/// The reason why a call was not taken.
enum Refused {
    /// For what it says; saying it again would not help.
    Content(String),
    /// The worker lives, as the long poll knows, but this call does not get through.
    Patience(String),
}

/// Partitions of the driver that this process was given.
#[derive(Default)]
pub(super) struct Uploads {
    by_ticket: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl Uploads {
    pub(super) fn len(&self) -> usize {
        self.by_ticket.lock().len()
    }

    pub(super) fn forget(&self, ticket: &str) -> bool {
        self.by_ticket.lock().remove(ticket).is_some()
    }

    fn cell(&self, ticket: &str) -> Arc<OnceCell<()>> {
        self.by_ticket.lock().entry(ticket.to_owned()).or_default().clone()
    }
}

impl Peer {
    pub(super) async fn submit_all(
        self,
        mut submissions: mpsc::UnboundedReceiver<Submission>,
        resubmit: mpsc::WeakUnboundedSender<Submission>,
        uploads: Arc<Uploads>,
    ) {
        let mut known_plans = KnownPlans::default();
        let mut batch = Vec::with_capacity(BATCH);
        // Ends with the link.
        let mut uploading = JoinSet::new();
        while submissions.recv_many(&mut batch, BATCH).await > 0 {
            let (ready, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).partition(|submission| submission.uploads.is_empty());
            while uploading.try_join_next().is_some() {}
            let send_ahead = |submission: Submission| {
                let sending = self.clone().upload_then_submit(submission, uploads.clone(), resubmit.clone());
                self.clone().guard("sent a partition", sending)
            };
            waiting.into_iter().for_each(|submission| drop(uploading.spawn(send_ahead(submission))));
            let ahead = self.clone().submit(ready, &mut known_plans).await;
            ahead.into_iter().for_each(|submission| drop(uploading.spawn(send_ahead(submission))));
        }
    }

    async fn upload_then_submit(
        self,
        mut submission: Submission,
        uploads: Arc<Uploads>,
        resubmit: mpsc::WeakUnboundedSender<Submission>,
    ) {
        for (ticket, data) in std::mem::take(&mut submission.uploads) {
            let cell = uploads.cell(&ticket);
            if let Err(reason) = cell.get_or_try_init(|| self.upload(&ticket, &data)).await {
                self.bounced(&submission, format!("a partition of the driver could not be sent to it: {reason}"));
                return;
            }
        }
        if let Some(resubmit) = resubmit.upgrade() {
            // Fails only when the link is closing; the pool sends the task elsewhere then.
            let _ = resubmit.send(submission);
        }
    }

    async fn upload(&self, ticket: &str, data: &PartitionData) -> Result<(), String> {
        let ticket: Ticket = ticket.parse().map_err(|error| format!("{error}"))?;
        self.inner.data.put(self.process.data_server(), &ticket, data).await.map_err(|error| error.to_string())
    }

    /// Returns the tasks whose inputs are to be sent ahead, as the worker takes no message that carries them.
    async fn submit(&mut self, submissions: Vec<Submission>, known_plans: &mut KnownPlans) -> Vec<Submission> {
        let mut ahead = Vec::new();
        let mut batches = batches_of(submissions, known_plans);
        while let Some(mut batch) = batches.pop() {
            match self.call(&batch, known_plans).await {
                Ok(bounces) => {
                    let again = self.take_back(batch, bounces, known_plans);
                    if !again.is_empty() {
                        batches.push(again);
                    }
                }
                Err(Refused::Content(_)) if batch.len() > 1 => {
                    // Too large together, or one of them is to blame.
                    batches.push(batch.split_off(batch.len() / 2));
                    batches.push(batch);
                }
                Err(Refused::Content(reason)) => {
                    for mut submission in batch {
                        if submission.send_ahead() {
                            ahead.push(submission);
                        } else {
                            self.failed(&submission, &reason);
                        }
                    }
                }
                Err(Refused::Patience(reason)) => self.give_up(&batch, &reason).await,
            }
        }
        ahead
    }

    /// Tells of what the worker did not take, and returns what is to be sent again with its plan.
    fn take_back(&self, batch: Vec<Submission>, bounces: Vec<Bounce>, known_plans: &mut KnownPlans) -> Vec<Submission> {
        let mut by_key: HashMap<String, Bounce> =
            bounces.into_iter().map(|bounce| (bounce.key.clone(), bounce)).collect();
        let mut again = Vec::new();
        for submission in batch {
            match by_key.remove(&submission.key) {
                // Forgotten by the worker's bounded cache.
                Some(bounce) if bounce.reason() == Reason::UnknownPlan => {
                    known_plans.remove(&submission.spec.plan_hash);
                    again.push(submission);
                }
                Some(bounce) => {
                    if bounce.reason() == Reason::Draining {
                        let (worker, launch) = (self.process.worker, self.process.launch);
                        self.inner.feed_from(&self.process, Event::Leaving { worker, launch });
                    }
                    self.bounced(&submission, bounce.message);
                }
                None => {}
            }
        }
        again
    }

    /// One SubmitTask, repeated until it is answered: a worker takes a key once, however often it hears it.
    async fn call(&mut self, batch: &[Submission], known_plans: &mut KnownPlans) -> Result<Vec<Bounce>, Refused> {
        let mut request = SubmitTaskRequest::default();
        let mut plans = HashSet::new();
        let mut size_bytes = 0;
        let mut peers = PeerTable::default();
        for submission in batch {
            request.tasks.push(submission.to_wire(&mut peers));
            let (hash, body) = (&submission.spec.plan_hash, &submission.spec.plan);
            if !known_plans.contains(hash) && plans.insert(hash.clone()) {
                request.plans.push(Plan { hash: hash.clone(), body: body.clone() });
                size_bytes += body.len();
            }
            size_bytes += submission.size_bytes();
        }
        (request.addresses, request.holders) = (peers.addresses, peers.holders);
        let timeout = call_timeout(size_bytes);
        let end = Instant::now() + timeout + self.inner.config.pool.unreachable_timeout;
        loop {
            let problem = match tokio::time::timeout(timeout, self.client.submit_task(request.clone())).await {
                Ok(Ok(reply)) => {
                    plans.into_iter().for_each(|hash| known_plans.insert(hash));
                    return Ok(reply.into_inner().bounced);
                }
                Ok(Err(status)) if status.code() == Code::OutOfRange => {
                    let reason = "raise max_message_bytes or pass less data in the plan";
                    return Err(Refused::Content(format!(
                        "it is too large to be sent ({}); {reason}",
                        status.message()
                    )));
                }
                Ok(Err(status)) if status.code() == Code::InvalidArgument => {
                    return Err(Refused::Content(daft_k8s_control::describe(&status)));
                }
                Ok(Err(status)) => daft_k8s_control::describe(&status),
                Err(_) => "no answer".to_owned(),
            };
            if Instant::now() >= end {
                return Err(Refused::Patience(problem));
            }
            self.log_trouble(&format!("submission failed, trying again: {problem}"));
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The worker may or may not have the tasks. They are sent again, and not wanted here any more.
    async fn give_up(&mut self, batch: &[Submission], reason: &str) {
        for submission in batch {
            self.bounced(submission, format!("the task could not be sent to it: {reason}"));
        }
        let keys = batch.iter().map(|submission| submission.key.clone()).collect();
        let cancel = self.client.cancel_task(CancelTaskRequest { keys });
        // If this does not get through either, what the tasks make is dropped when it is reported.
        let _ = tokio::time::timeout(CALL_TIMEOUT, cancel).await;
    }

    /// The worker will not take this task, nor will another.
    fn failed(&self, submission: &Submission, reason: &str) {
        let (worker, launch) = (self.process.worker, self.process.launch);
        let (task, attempt) = (submission.task, submission.attempt);
        let message = format!("the task was refused: {reason}");
        let report = Report::Failed { error: Bytes::new(), message, worker };
        let event = Event::TaskFailed { task, worker, launch, attempt };
        self.inner.feed_report(&self.process, &submission.key, event, report);
    }

    fn bounced(&self, submission: &Submission, reason: String) {
        let (worker, launch) = (self.process.worker, self.process.launch);
        let (task, attempt) = (submission.task, submission.attempt);
        self.inner.feed_from(&self.process, Event::Bounced { task, worker, launch, attempt, reason });
    }
}

/// Splits by size; the first is the last.
fn batches_of(submissions: Vec<Submission>, known_plans: &KnownPlans) -> Vec<Vec<Submission>> {
    let mut batches: Vec<Vec<Submission>> = Vec::new();
    let (mut plans, mut size_bytes) = (HashSet::new(), usize::MAX);
    for submission in submissions {
        if size_bytes >= BATCH_BYTES {
            plans.clear();
            size_bytes = 0;
            batches.push(Vec::new());
        }
        let spec = &submission.spec;
        if !known_plans.contains(&spec.plan_hash) && plans.insert(spec.plan_hash.clone()) {
            size_bytes += spec.plan.len();
        }
        size_bytes += submission.size_bytes();
        if let Some(batch) = batches.last_mut() {
            batch.push(submission);
        }
    }
    batches.reverse();
    batches
}
