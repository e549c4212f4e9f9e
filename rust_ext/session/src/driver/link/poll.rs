//! The long poll for the ends of the tasks at this worker.

use bytes::Bytes;
use daft_k8s_control::{
    ClientError,
    auth::is_of_another_worker,
    proto::{AwaitTaskRequest, TaskEnd, task_end},
};
use daft_k8s_core::{Event, Incarnation, TaskKey};
use tonic::{Code, Status};

use super::{CALL_TIMEOUT, LEAST_PATIENCE, Peer, RETRY};
use crate::driver::task::{NewOutput, Report};

/// True if the answer came from another worker, or from a worker of another session.
fn is_of_another_process(status: &Status) -> bool {
    is_of_another_worker(status) || status.code() == Code::Unauthenticated
}

fn another_process(answer: &str) -> String {
    format!("its process is gone, another one answers at its address ({answer})")
}

impl Peer {
    pub(super) async fn poll(mut self, incarnation: Incarnation) {
        let (worker, launch) = (self.process.worker, self.process.launch);
        let (mut after_version, mut stuck) = (0, 0);
        self.last_answer.is_now();
        // No longer than a worker may be silent, which is then noticed in time.
        let call_timeout = self.inner.config.pool.unreachable_timeout.clamp(LEAST_PATIENCE, CALL_TIMEOUT);
        loop {
            let inline_full = self.inner.drops.inline_bytes().is_full();
            let call = self.client.await_task(AwaitTaskRequest { after_version, inline_full });
            let problem = match self.last_answer.while_heard(call_timeout, call).await {
                Some(Ok(reply)) => {
                    let reply = reply.into_inner();
                    self.last_answer.is_now();
                    if reply.instance_id != incarnation.as_str() {
                        if self.is_still_there(&incarnation).await {
                            continue;
                        }
                        return;
                    }
                    after_version = reply.version;
                    for end in reply.ended {
                        self.ended(end);
                    }
                    if reply.stuck_slots != stuck {
                        stuck = reply.stuck_slots;
                        let event = Event::Stuck { worker, launch, slots: stuck, calls: reply.stuck_calls };
                        self.inner.feed_from(&self.process, event);
                    }
                    continue;
                }
                // The process that was here is gone: its address is another one's now.
                Some(Err(status)) if is_of_another_process(&status) => {
                    return self.inner.unreachable(&self.process, another_process(status.message()));
                }
                Some(Err(status)) => daft_k8s_control::describe(&status),
                None => "no answer".to_owned(),
            };
            self.inner.unanswered(&self.process, problem);
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Another process answers at the address. It is believed to be this worker, restarted in place, only after a
    /// handshake: addresses of Pods are dealt anew. Returns true if the known process answers after all, as behind a
    /// proxy that switches back.
    async fn is_still_there(&mut self, known: &Incarnation) -> bool {
        let (worker, launch) = (self.process.worker, self.process.launch);
        loop {
            match self.ask_for_incarnation().await {
                Ok(incarnation) if incarnation == *known => return true,
                Ok(incarnation) => {
                    // Another link is open to the new process afterwards, or none.
                    self.inner.feed_from(&self.process, Event::Connected { worker, launch, incarnation });
                    return false;
                }
                Err(ClientError::Call(reason)) => {
                    self.inner.unanswered(&self.process, another_process(&reason));
                    tokio::time::sleep(RETRY).await;
                }
                Err(refused) => {
                    self.inner.unreachable(&self.process, another_process(&refused.to_string()));
                    return false;
                }
            }
        }
    }

    fn ended(&self, end: TaskEnd) {
        let (worker, launch) = (self.process.worker, self.process.launch);
        let Ok(key) = end.key.parse::<TaskKey>() else { return };
        let (task, attempt) = (self.inner.task_of(&key), key.attempt);
        let report = match end.outcome {
            Some(task_end::Outcome::Succeeded(succeeded)) => self.succeeded(succeeded),
            Some(task_end::Outcome::Failed(failed)) => {
                Report::Failed { error: failed.error, message: failed.message, worker }
            }
            Some(task_end::Outcome::InputsLost(lost)) => {
                let Some(task) = task else { return };
                let task_end::InputsLost { tickets, message, gone } = lost;
                let (slots, is_present) = self.inner.slots_of(task, &tickets);
                let gone = gone && is_present;
                let event = Event::InputsMissing { task, worker, launch, attempt, slots, gone, message };
                return self.inner.feed_from(&self.process, event);
            }
            Some(task_end::Outcome::Cancelled(_)) | None => {
                let Some(task) = task else { return };
                return self.inner.feed_from(&self.process, Event::TaskCancelled { task, worker, launch, attempt });
            }
        };
        // A report of a task that has ended is stale.
        let Some(task) = task else { return self.inner.state.lock().discard(&self.process, &end.key, &report) };
        let event = match &report {
            Report::Succeeded { .. } => Event::Succeeded { task, worker, launch, attempt, outputs: report.outputs() },
            Report::Failed { .. } => Event::TaskFailed { task, worker, launch, attempt },
        };
        self.inner.feed_report(&self.process, &end.key, event, report);
    }

    fn succeeded(&self, succeeded: task_end::Succeeded) -> Report {
        let outputs = succeeded.outputs.into_iter().map(|output| NewOutput {
            num_rows: output.num_rows,
            size_bytes: output.size_bytes,
            fingerprint: output.fingerprint,
            // A copy: a slice would keep the whole answer for as long as the output.
            stream: Bytes::copy_from_slice(&output.stream),
        });
        Report::Succeeded { outputs: outputs.collect(), stats: succeeded.stats, worker: self.process.worker }
    }
}
