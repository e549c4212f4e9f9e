//! Calls of the worker to its driver, on a stream that the driver opened.

use std::collections::HashMap;

use bytes::Bytes;
use daft_k8s_control::proto::{DriverReply, WorkerCall, driver_reply};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::CallReply;

/// Calls that wait for an answer. They outlive the stream: a new stream gets all of them once more. The driver repeats
/// an earlier answer from memory.
#[derive(Default)]
pub(super) struct Calls {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    stream: Option<mpsc::UnboundedSender<WorkerCall>>,
    waiting: HashMap<u64, (WorkerCall, CallReply)>,
}

impl Calls {
    pub(super) fn call(&self, target: String, payload: Bytes, reply: CallReply) {
        let mut state = self.state.lock();
        state.next_id += 1;
        let call = WorkerCall { call_id: state.next_id, target, payload };
        if let Some(stream) = &state.stream {
            // A closed stream is no loss: the call is sent again on the next one.
            let _ = stream.send(call.clone());
        }
        state.waiting.insert(call.call_id, (call, reply));
    }

    /// A new stream of the driver; everything that waits is sent on it.
    pub(super) fn open(&self) -> mpsc::UnboundedReceiver<WorkerCall> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state.lock();
        let mut waiting: Vec<_> = state.waiting.values().map(|(call, _)| call.clone()).collect();
        waiting.sort_by_key(|call| call.call_id);
        for call in waiting {
            let _ = sender.send(call);
        }
        state.stream = Some(sender);
        receiver
    }

    pub(super) fn answer(&self, answer: DriverReply) {
        let Some((_, reply)) = self.state.lock().waiting.remove(&answer.call_id) else { return };
        reply(match answer.outcome {
            Some(driver_reply::Outcome::Payload(payload)) => Ok(payload),
            Some(driver_reply::Outcome::Error(message)) => Err(message),
            None => Err("the driver's answer is empty".to_owned()),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_call_made_before_the_driver_opens_its_stream_is_sent_when_it_does() {
        let calls = Calls::default();
        let (sender, answers) = channel();
        calls.call("limit/1".into(), Bytes::from_static(b"x"), Box::new(move |reply| sender.send(reply).unwrap()));
        let mut stream = calls.open();
        let call = stream.try_recv().unwrap();
        assert_eq!(call.target, "limit/1");
        let outcome = Some(driver_reply::Outcome::Payload(Bytes::from_static(b"y")));
        calls.answer(DriverReply { call_id: call.call_id, outcome });
        assert_eq!(answers.recv().unwrap(), Ok(Bytes::from_static(b"y")));
    }

    #[test]
    fn an_unanswered_call_is_sent_again_on_the_next_stream_and_answered_once() {
        let calls = Calls::default();
        let (sender, answers) = channel();
        let mut first = calls.open();
        calls.call("t".into(), Bytes::new(), Box::new(move |reply| sender.send(reply).unwrap()));
        let call = first.try_recv().unwrap();
        drop(first);
        let mut second = calls.open();
        assert_eq!(second.try_recv().unwrap().call_id, call.call_id);
        let answer = DriverReply { call_id: call.call_id, outcome: Some(driver_reply::Outcome::Error("no".into())) };
        calls.answer(answer.clone());
        calls.answer(answer);
        assert_eq!(answers.try_iter().count(), 1);
    }
}
