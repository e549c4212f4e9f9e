//! Bytes that change on their way: an error, whatever byte it is. Never another value, never a panic.
//!
//! Not covered: damage below HTTP/2, which breaks its connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use daft_k8s_flight::{ClientConfig, DataClient, FetchError, Limits};
use daft_k8s_ipc::{Origin, PartitionData, Ticket};
use daft_k8s_store::Store;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    fixture::{Server, TOKEN, within},
    samples::{assert_same, mixed_batch, numbers_from, partition},
};

/// Changes requests and answers in between.
type Change = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// A server that passes calls on and changes the bytes of requests and of answers.
struct Changing {
    address: String,
    request: Arc<Mutex<Option<Change>>>,
    answer: Arc<Mutex<Option<Change>>>,
}

impl Changing {
    async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (request, answer) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        let far = TcpStream::connect(target).await.unwrap();
        far.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(far)).await.unwrap();
        tokio::spawn(connection);
        let passing = Passing { sender, request: request.clone(), answer: answer.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                near.set_nodelay(true).unwrap();
                let passing = passing.clone();
                let service = hyper::service::service_fn(move |request| passing.clone().pass_on(request));
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(near), service),
                );
            }
        });
        Self { address, request, answer }
    }
}

#[derive(Clone)]
struct Passing {
    sender: hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    request: Arc<Mutex<Option<Change>>>,
    answer: Arc<Mutex<Option<Change>>>,
}

impl Passing {
    async fn pass_on(mut self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let changed = |bytes: Bytes, change: &Mutex<Option<Change>>| {
            let mut bytes = bytes.to_vec();
            if let Some(change) = &*change.lock() {
                change(&mut bytes);
            }
            Full::new(Bytes::from(bytes))
        };
        let (head, body) = request.into_parts();
        let body = changed(body.collect().await?.to_bytes(), &self.request);
        let answer = self.sender.send_request(Request::from_parts(head, body)).await?;
        let (mut head, body) = answer.into_parts();
        let body = body.collect().await?;
        let trailers: HeaderMap = body.trailers().cloned().unwrap_or_default();
        head.headers.extend(trailers);
        Ok(Response::from_parts(head, changed(body.to_bytes(), &self.answer)))
    }
}

/// Flips one bit of the byte at a place that a test moves.
fn flip(at: &Arc<AtomicUsize>) -> Change {
    let at = at.clone();
    Arc::new(move |bytes| {
        let at = at.load(Ordering::Relaxed);
        if let Some(byte) = bytes.get_mut(at / 8) {
            *byte ^= 1 << (at % 8);
        }
    })
}

/// Small, as a call is made for each of its bytes: dictionary, text, nulls, more than one batch.
fn sample() -> PartitionData {
    let batch = mixed_batch(6, 1).project(&[4, 16]).unwrap();
    partition(vec![batch.clone(), batch.slice(2, 3)])
}

/// Counts the bytes that pass.
fn measure(length: &Arc<AtomicUsize>) -> Change {
    let length = length.clone();
    Arc::new(move |bytes| length.store(bytes.len(), Ordering::Relaxed))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_any_byte_flipped_is_an_error_that_names_peer_and_ticket() {
    for limits in [Limits::default(), Limits { max_answer_body_bytes: 100, ..Limits::default() }] {
        let server = Server::start_with(0, limits).await;
        server.store.publish("q/1.1", vec![sample(), numbers_from(5, 20)]);
        let tickets = [Ticket::new("q/1.1", 0), Ticket::new("q/1.1", 1)];
        let proxy = Changing::start(&server.address).await;
        let client = DataClient::new(TOKEN);
        let (length, at) = (Arc::default(), Arc::default());
        *proxy.answer.lock() = Some(measure(&length));
        let sound = client.fetch(&proxy.address, &tickets).await.unwrap();
        assert_eq!(sound.len(), 2);
        *proxy.answer.lock() = Some(flip(&at));
        let bytes = length.load(Ordering::Relaxed);
        assert!(bytes > 1_000, "{bytes}");
        for byte in 0..bytes {
            at.store(byte * 8 + byte % 8, Ordering::Relaxed);
            let error = within(5, client.fetch(&proxy.address, &tickets)).await;
            let error = error.expect_err(&format!("byte {byte} of {bytes}"));
            assert!(
                matches!(error, FetchError::Damaged { .. } | FetchError::Protocol { .. }),
                "byte {byte} of {bytes}: {error:?}"
            );
            let text = error.to_string();
            assert!(text.contains(&proxy.address) && text.contains("q/1.1:"), "{text}");
        }
        *proxy.answer.lock() = None;
        assert_eq!(client.fetch(&proxy.address, &tickets).await.unwrap().len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_changed_in_the_middle_of_a_large_answer_names_its_ticket() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers_from(0, 10), numbers_from(0, 1_000_000), numbers_from(0, 10)]);
    let proxy = Changing::start(&server.address).await;
    let at = Arc::new(AtomicUsize::new(4_000_000 * 8));
    *proxy.answer.lock() = Some(flip(&at));
    let tickets: Vec<_> = (0..3).map(|slot| Ticket::new("t", slot)).collect();
    let error = DataClient::new(TOKEN).fetch(&proxy.address, &tickets).await.unwrap_err();
    assert!(matches!(&error, FetchError::Damaged { ticket, .. } if *ticket == tickets[1]), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_any_bit_flipped_never_yields_another_partition_nor_a_loss() {
    let server = Server::start().await;
    server.store.publish("t", (0..20).map(|slot| numbers_from(slot, 5)).collect());
    let proxy = Changing::start(&server.address).await;
    let client = DataClient::new(TOKEN);
    let (length, at) = (Arc::default(), Arc::default());
    let tickets = [Ticket::new("t", 1), Ticket::new("t", 12)];
    *proxy.request.lock() = Some(measure(&length));
    client.fetch(&proxy.address, &tickets).await.unwrap();
    *proxy.request.lock() = Some(flip(&at));
    for bit in 0..length.load(Ordering::Relaxed) * 8 {
        at.store(bit, Ordering::Relaxed);
        match within(5, client.fetch(&proxy.address, &tickets)).await {
            Ok(found) => {
                assert_same("bit", &found[0], &numbers_from(1, 5));
                assert_same("bit", &found[1], &numbers_from(12, 5));
            }
            Err(error) => {
                assert!(!matches!(error, FetchError::NotFound(_) | FetchError::Lost { .. }), "bit {bit}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_with_any_byte_flipped_stores_what_was_sent_or_nothing() {
    let server = Server::start().await;
    let proxy = Changing::start(&server.address).await;
    let client = DataClient::new(TOKEN);
    let (length, at) = (Arc::default(), Arc::default());
    let (ticket, sent) = (Ticket::new("driver/1.1", 0), sample());
    *proxy.request.lock() = Some(measure(&length));
    client.put(&proxy.address, &ticket, &sent).await.unwrap();
    *proxy.request.lock() = Some(flip(&at));
    let bytes = length.load(Ordering::Relaxed);
    let mut accepted = 0;
    for byte in 0..bytes {
        server.store.drop_task(&ticket.task);
        at.store(byte * 8 + byte % 8, Ordering::Relaxed);
        let put = within(5, client.put(&proxy.address, &ticket, &sent)).await;
        if put.is_ok() {
            accepted += 1;
            let stored = server.store.get(&ticket).unwrap_or_else(|error| panic!("byte {byte}: {error}"));
            assert_same(
                &format!("byte {byte}"),
                &stored,
                &PartitionData { size_bytes: stored.size_bytes, ..sent.clone() },
            );
        } else {
            assert_eq!(server.store.stats().partitions, 0, "byte {byte}");
        }
    }
    // Only what marks the messages as sealed may be changed without harm.
    assert!(accepted <= 8, "{accepted} of {bytes} changes went unnoticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spill_file_that_was_changed_is_a_loss_to_a_reader_elsewhere() {
    let server = Server::start_with(1, Limits::default()).await;
    server.store.publish("t", vec![numbers_from(0, 100), numbers_from(0, 1000)]);
    let tickets = [Ticket::new("t", 0), Ticket::new("t", 1)];
    assert_eq!(server.client.fetch(&server.address, &tickets).await.unwrap().len(), 2);
    for entry in std::fs::read_dir(server.spill_dir.path().join("spill")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 5_000 {
            bytes[4_000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = server.client.fetch(&server.address, &tickets).await.unwrap_err();
    let FetchError::Lost { ticket, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*ticket, tickets[1]);
    assert!(message.contains(".arrows") && error.to_string().contains(&server.address), "{error}");
    assert_eq!(server.client.fetch(&server.address, &tickets[..1]).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_that_was_taken_over_seals_is_validated_by_a_client_that_does_not_trust_it() {
    let server = Server::start_with(0, Limits::default()).await;
    let bytes: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&b"fine"[..], &b"\xff\xfe no text"[..]]));
    let sound = partition(vec![RecordBatch::try_from_iter([("text", bytes)]).unwrap()]);
    let announced = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, false)]));
    server.store.publish("t", vec![PartitionData { schema: announced, ..sound }]);
    let tickets = [Ticket::new("t", 0)];
    let config = ClientConfig { origin: Origin::Anybody, ..ClientConfig::default() };
    let error = DataClient::with_config(TOKEN, config).fetch(&server.address, &tickets).await.unwrap_err();
    assert!(error.to_string().to_lowercase().replace('-', "").contains("utf8"), "{error}");
    assert!(server.client.fetch(&server.address, &tickets).await.is_ok(), "one that trusts it reads no text twice");
}
