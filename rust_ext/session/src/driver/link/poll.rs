//! The long poll: what became of the tasks at this worker.

use bytes::Bytes;
use daft_k8s_control::{
    ClientError,
    auth::is_of_another_worker,
    proto::{AwaitTaskRequest, TaskEnd, task_end},
};
use daft_k8s_core::{Event, Incarnation, TaskId, TaskKey};
use tonic::{Code, Status};

use super::{CALL_TIMEOUT, LEAST_PATIENCE, Peer, RETRY};
use crate::driver::{Partition, Place, task::Report};

/// True if whoever answered is no process of this worker: another worker, or a worker of another session.
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
        let call_timeout = self.inner.config.unreachable_timeout.clamp(LEAST_PATIENCE, CALL_TIMEOUT);
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
                        self.inner.feed_from(&self.process, event, None);
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
            let silence = self.last_answer.silence();
            if silence >= self.inner.config.unreachable_timeout {
                let reason = format!("it has not answered for {:.0} s ({problem})", silence.as_secs_f64());
                return self.inner.unreachable(&self.process, reason);
            }
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
                    self.inner.feed_from(&self.process, Event::Connected { worker, launch, incarnation }, None);
                    return false;
                }
                Err(ClientError::Call(reason)) => {
                    let silence = self.last_answer.silence();
                    if silence >= self.inner.config.unreachable_timeout {
                        self.inner.unreachable(&self.process, another_process(&reason));
                        return false;
                    }
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
        let attempt = key.attempt;
        let mut outputs = 0;
        let report = match end.outcome {
            Some(task_end::Outcome::Succeeded(succeeded)) => {
                // What came inline is held by the driver alone.
                outputs = succeeded.outputs.iter().filter(|output| output.stream.is_empty()).count() as u64;
                Some((self.succeeded(&end.key, succeeded), true))
            }
            Some(task_end::Outcome::Failed(failed)) => {
                Some((Report::Failed { error: failed.error, message: failed.message, worker }, false))
            }
            Some(task_end::Outcome::InputsLost(lost)) => {
                let Some(task) = self.inner.task_of(&key) else { return };
                let peer = self.clone();
                let runtime = self.inner.runtime.clone();
                let guard = self.clone().guard("took in lost inputs", async move {
                    peer.inputs_lost(task, key, lost).await;
                });
                runtime.spawn(guard);
                return;
            }
            Some(task_end::Outcome::Cancelled(_)) | None => None,
        };
        // A report of a task that has ended is stale; its partitions are freed as it goes out of scope.
        let Some(task) = self.inner.task_of(&key) else {
            // They count as held until they are freed, like all others.
            return self.inner.feed_from(&self.process, Event::Hold { worker, launch, count: outputs }, None);
        };
        let (event, report) = match report {
            Some((report, true)) => (Event::Succeeded { task, worker, launch, attempt, outputs }, Some(report)),
            Some((report, false)) => (Event::TaskFailed { task, worker, launch, attempt }, Some(report)),
            None => (Event::TaskCancelled { task, worker, launch, attempt }, None),
        };
        self.inner.feed_from(&self.process, event, report);
    }

    fn succeeded(&self, key: &str, succeeded: task_end::Succeeded) -> Report {
        let outputs = succeeded.outputs.into_iter().enumerate();
        let partitions = outputs.map(|(slot, output)| {
            let ticket = format!("{key}:{slot}");
            let place = match output.stream {
                stream if stream.is_empty() => Place::Worker(self.process.clone()),
                // A copy: a slice would keep the whole answer for as long as the output.
                stream => Place::Inline(Bytes::copy_from_slice(&stream)),
            };
            Partition::new(ticket, output.num_rows, output.size_bytes, place, self.inner.drops.clone())
        });
        Report::Succeeded { partitions: partitions.collect(), stats: succeeded.stats, worker: self.process.worker }
    }

    /// Finds out whether the holder of the inputs is lost; if it lives, the task is tried again.
    async fn inputs_lost(&self, task: TaskId, key: TaskKey, lost: task_end::InputsLost) {
        let task_end::InputsLost { tickets, message, gone } = lost;
        let (worker, launch, attempt) = (self.process.worker, self.process.launch, key.attempt);
        let holders = self.inner.holders_of(task, &tickets);
        if let Some(reason) = self.inner.await_loss(&holders).await {
            self.inner.feed_inputs_lost(&self.process, (task, attempt), reason);
        } else if gone {
            let others = holders.iter().map(|process| process.worker).filter(|holder| *holder != worker);
            let of = others.map(|holder| format!(" of {holder}")).collect::<Vec<_>>().join(",");
            let reason = format!("{worker} could not read its inputs{of}: {message}; run the query again");
            self.inner.feed_inputs_lost(&self.process, (task, attempt), reason);
        } else {
            let reason = format!("it could not read inputs of the task: {message}");
            // This worker is not to blame: it is offered tasks as before.
            let event = Event::InputsUnavailable { task, worker, launch, attempt, reason };
            self.inner.feed_from(&self.process, event, None);
        }
    }
}
