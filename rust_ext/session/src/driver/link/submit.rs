//! Submissions: many tasks a call, each plan once, the driver's own partitions ahead of their task.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use daft_k8s_control::proto::{Bounce, Plan, SubmitTaskRequest, bounce::Reason};
use daft_k8s_core::Event;
use daft_k8s_data::{PartitionData, Ticket};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc};

use super::{CALL_TIMEOUT, Peer, RETRY};
use crate::{Level, driver::task::Submission};

/// Tasks in one call at most.
const BATCH: usize = 256;

/// Partitions of the driver that this process was given.
#[derive(Default)]
pub(super) struct Uploads {
    by_ticket: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
}

impl Uploads {
    pub(super) fn forget(&self, ticket: &str) -> bool {
        self.by_ticket.lock().remove(ticket).is_some()
    }

    fn cell(&self, ticket: &str) -> Arc<OnceCell<()>> {
        self.by_ticket.lock().entry(ticket.to_owned()).or_default().clone()
    }
}

impl Peer {
    pub(super) async fn submit_all(
        mut self,
        mut submissions: mpsc::UnboundedReceiver<Submission>,
        resubmit: mpsc::WeakUnboundedSender<Submission>,
        uploads: Arc<Uploads>,
    ) {
        let mut known_plans = HashSet::new();
        let mut batch = Vec::with_capacity(BATCH);
        while submissions.recv_many(&mut batch, BATCH).await > 0 {
            let (ready, waiting): (Vec<_>, Vec<_>) =
                batch.drain(..).partition(|submission| submission.uploads.is_empty());
            for submission in waiting {
                tokio::spawn(self.clone().upload_then_submit(submission, uploads.clone(), resubmit.clone()));
            }
            if !ready.is_empty() {
                self.submit_batch(ready, &mut known_plans).await;
            }
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
        self.inner.data.put(&self.data_address, &ticket, data).await.map_err(|error| error.to_string())
    }

    async fn submit_batch(&mut self, batch: Vec<Submission>, known_plans: &mut HashSet<bytes::Bytes>) {
        let mut remaining = batch;
        while !remaining.is_empty() {
            let bounces = self.call(&remaining, known_plans).await;
            let mut again = Vec::new();
            for bounce in bounces {
                let position = remaining.iter().position(|submission| submission.key == bounce.key);
                let Some(submission) = position.map(|position| remaining.swap_remove(position)) else { continue };
                if bounce.reason() == Reason::UnknownPlan {
                    // Forgotten by the worker's bounded cache: send it once more.
                    known_plans.remove(&submission.spec.plan_hash);
                    again.push(submission);
                } else {
                    self.bounced(&submission, bounce.message);
                }
            }
            remaining = again;
        }
    }

    /// One SubmitTask, repeated until it is answered: a worker takes a key once, however often it hears it.
    async fn call(&mut self, batch: &[Submission], known_plans: &mut HashSet<bytes::Bytes>) -> Vec<Bounce> {
        let mut request = SubmitTaskRequest::default();
        let mut index = HashMap::new();
        for submission in batch {
            request.tasks.push(submission.to_wire(&mut request.addresses, &mut index));
            if known_plans.insert(submission.spec.plan_hash.clone()) {
                let (hash, body) = (submission.spec.plan_hash.clone(), submission.spec.plan.clone());
                request.plans.push(Plan { hash, body });
            }
        }
        loop {
            let problem = match tokio::time::timeout(CALL_TIMEOUT, self.client.submit_task(request.clone())).await {
                Ok(Ok(reply)) => return reply.into_inner().bounced,
                Ok(Err(status)) if status.code() == tonic::Code::OutOfRange => {
                    return self.too_large(batch, status.message());
                }
                Ok(Err(status)) => daft_k8s_control::describe(&status),
                Err(_) => "no answer".to_owned(),
            };
            self.log(Level::Debug, &format!("submission failed, trying again: {problem}"));
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The worker refuses a message of this size: the tasks fail rather than be tried for ever.
    fn too_large(&self, batch: &[Submission], message: &str) -> Vec<Bounce> {
        for submission in batch {
            let reason = format!(
                "the task is too large to be sent ({message}); raise max_message_bytes or pass less data in the plan"
            );
            self.inner.feed(Event::InputsLost { task: submission.task, reason });
        }
        Vec::new()
    }

    fn bounced(&self, submission: &Submission, reason: String) {
        let (worker, launch) = (self.worker, self.launch);
        let (task, attempt) = (submission.task, submission.attempt);
        self.inner.feed(Event::Bounced { task, worker, launch, attempt, reason });
    }
}
