//! Calls of the worker to its driver, on a stream that the driver opens, and opens again when it breaks.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use daft_k8s_control::proto::{DriverReply, WorkerCall, driver_reply};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Peer, RETRY};
use crate::driver::Call;

/// Answers that are kept to repeat them, should the stream break before the worker has read them.
const REMEMBERED: usize = 1024;

/// Larger answers are not kept. They belong to calls that only read, such as one for a piece of the driver's code, so
/// a repeated call is made again.
const LARGEST_REMEMBERED_BYTES: usize = 64 << 10;

/// Calls that were taken, with their answers: a call that comes again is not made again.
#[derive(Default)]
struct Taken {
    answers: HashMap<u64, Option<DriverReply>>,
    order: VecDeque<u64>,
}

impl Taken {
    /// False if the call was taken before.
    fn take(&mut self, call_id: u64) -> bool {
        if self.answers.contains_key(&call_id) {
            return false;
        }
        self.answers.insert(call_id, None);
        self.order.push_back(call_id);
        while self.order.len() > REMEMBERED {
            let oldest_is_answered =
                self.order.front().is_some_and(|oldest| self.answers.get(oldest).is_none_or(Option::is_some));
            if !oldest_is_answered {
                break;
            }
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
        true
    }

    fn answered(&mut self, answer: &DriverReply) {
        let is_large = matches!(&answer.outcome, Some(driver_reply::Outcome::Payload(payload))
            if payload.len() > LARGEST_REMEMBERED_BYTES);
        if is_large {
            self.answers.remove(&answer.call_id);
        } else {
            self.answers.insert(answer.call_id, Some(answer.clone()));
        }
    }
}

impl Peer {
    pub(super) async fn serve_calls(mut self) {
        let mut taken = Taken::default();
        let (answers, mut answered) = mpsc::unbounded_channel::<DriverReply>();
        loop {
            let (replies, to_send) = mpsc::unbounded_channel();
            let opened = self.client.driver_calls(UnboundedReceiverStream::new(to_send)).await;
            let mut calls = match opened {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    self.log_trouble(&format!("no stream for calls: {}", status.message()));
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            loop {
                tokio::select! {
                    Some(answer) = answered.recv() => {
                        taken.answered(&answer);
                        // A broken stream is noticed below, and the answer repeated on the next one.
                        let _ = replies.send(answer);
                    }
                    call = calls.message() => match call {
                        Ok(Some(call)) => {
                            if taken.take(call.call_id) {
                                self.hand_over(call, answers.clone());
                            } else if let Some(Some(answer)) = taken.answers.get(&call.call_id) {
                                let _ = replies.send(answer.clone());
                            }
                        }
                        Ok(None) => break,
                        Err(status) => {
                            self.log_trouble(&format!("the stream for calls broke: {}", status.message()));
                            break;
                        }
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn hand_over(&self, call: WorkerCall, answers: mpsc::UnboundedSender<DriverReply>) {
        let answer = Answer { call_id: call.call_id, to: Some(answers) };
        let answer = Box::new(move |result| answer.give(result));
        self.inner.host.worker_call(Call {
            worker: self.process.worker,
            target: call.target,
            payload: call.payload,
            answer,
        });
    }
}

/// The one answer to a call: what is given, or, if this is dropped, an error.
struct Answer {
    call_id: u64,
    to: Option<mpsc::UnboundedSender<DriverReply>>,
}

impl Answer {
    fn give(mut self, result: Result<Bytes, String>) {
        self.send(result);
    }

    fn send(&mut self, result: Result<Bytes, String>) {
        let outcome = Some(match result {
            Ok(payload) => driver_reply::Outcome::Payload(payload),
            Err(message) => driver_reply::Outcome::Error(message),
        });
        if let Some(answers) = self.to.take() {
            // Nobody listens any more when the worker is lost.
            let _ = answers.send(DriverReply { call_id: self.call_id, outcome });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.send(Err("the driver did not answer this call".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(call_id: u64, bytes: usize) -> DriverReply {
        let outcome = Some(driver_reply::Outcome::Payload(Bytes::from(vec![0; bytes])));
        DriverReply { call_id, outcome }
    }

    #[test]
    fn a_small_answer_is_repeated_and_a_call_with_a_large_one_is_made_again() {
        let mut taken = Taken::default();
        assert!(taken.take(1) && taken.take(2));
        taken.answered(&answer(1, 8));
        taken.answered(&answer(2, LARGEST_REMEMBERED_BYTES + 1));
        assert!(!taken.take(1));
        assert!(taken.take(2));
    }

    #[test]
    fn what_is_remembered_is_bounded_whatever_was_answered() {
        let mut taken = Taken::default();
        for call_id in 0..3 * REMEMBERED as u64 {
            assert!(taken.take(call_id));
            taken.answered(&answer(call_id, if call_id % 2 == 0 { 8 } else { LARGEST_REMEMBERED_BYTES + 1 }));
        }
        assert!(taken.answers.len() <= REMEMBERED && taken.order.len() <= REMEMBERED);
    }
}
