//! The proofs of a caller: both ports of a worker accept and refuse the same.

use std::sync::Arc;

use bytes::Bytes;
use daft_k8s_core::WorkerId;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use crate::fixture::{LONG, Session, Settings};

/// gRPC statuses: the call got past the check, to a method that does not exist; it did not.
const PASSED: &str = "12";
const UNAUTHENTICATED: &str = "16";
const ANOTHER_WORKER: &str = "9";

/// A name, the headers of a call to worker-0 of the session with the token "correct-horse", and the status of the answer.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const CASES: [Case; 17] = [
    ("the token", &[("authorization", "Bearer correct-horse")], PASSED),
    ("a scheme in another case", &[("authorization", "bEARER correct-horse")], PASSED),
    ("the worker", &[("authorization", "Bearer correct-horse"), ("daft-k8s-worker", "worker-0")], PASSED),
    ("another worker", &[("authorization", "Bearer correct-horse"), ("daft-k8s-worker", "worker-7")], ANOTHER_WORKER),
    ("no worker", &[("authorization", "Bearer correct-horse"), ("daft-k8s-worker", "")], ANOTHER_WORKER),
    (
        "a wrong token for another worker",
        &[("authorization", "Bearer x"), ("daft-k8s-worker", "worker-7")],
        UNAUTHENTICATED,
    ),
    ("no headers", &[], UNAUTHENTICATED),
    ("nothing", &[("authorization", "")], UNAUTHENTICATED),
    ("no token", &[("authorization", "Bearer")], UNAUTHENTICATED),
    ("a blank token", &[("authorization", "Bearer ")], UNAUTHENTICATED),
    ("no scheme", &[("authorization", "correct-horse")], UNAUTHENTICATED),
    ("another scheme", &[("authorization", "Basic correct-horse")], UNAUTHENTICATED),
    ("a token in another case", &[("authorization", "Bearer Correct-Horse")], UNAUTHENTICATED),
    ("a token that is too short", &[("authorization", "Bearer correct-hors")], UNAUTHENTICATED),
    ("a token that is too long", &[("authorization", "Bearer correct-horses")], UNAUTHENTICATED),
    ("two blanks", &[("authorization", "Bearer  correct-horse")], UNAUTHENTICATED),
    ("a tab", &[("authorization", "Bearer\tcorrect-horse")], UNAUTHENTICATED),
];

async fn status(address: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let response = sender.send_request(request.body(message).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let status = head.headers.get("grpc-status").or(trailers.get("grpc-status"));
    status.expect("the answer has no status").to_str().unwrap().to_owned()
}

#[test]
fn both_ports_accept_and_refuse_the_same_and_count_the_peers_that_they_reject() {
    for port in ["control", "data"] {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let on_worker_log = Arc::new(move |line: &str| sink.lock().push(line.to_owned()));
        let settings = Settings { workers: 0, on_worker_log, ..Settings::default() };
        let session = Session::new(settings);
        let worker = session.worker(WorkerId(0));
        let (address, path) = match port {
            "control" => (worker.control(), "/daft_k8s.v1.Worker/NoSuchCall"),
            _ => (worker.data(), "/arrow.flight.protocol.FlightService/NoSuchCall"),
        };
        for (name, headers, expected) in CASES {
            let call = async { tokio::time::timeout(LONG, status(&address, path, headers)).await };
            assert_eq!(session.runtime.block_on(call).expect("no answer"), expected, "{name}, at the {port} port");
        }
        let lines = lines.lock();
        assert_eq!(lines.len(), 1, "one line a minute: {lines:?}");
        assert!(lines[0].starts_with("rejected peer 127.0.0.1:") && lines[0].contains("token is wrong"), "{lines:?}");
    }
}
