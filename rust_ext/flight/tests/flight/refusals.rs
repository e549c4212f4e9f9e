//! Calls that must fail, and their errors: authentication, missing partitions, nonsense, broken peers.

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use daft_k8s_flight::{ClientConfig, DataClient, FetchError, Limits};
use daft_k8s_ipc::Ticket;
use daft_k8s_store::Store;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fixture::{Server, TOKEN, within},
    samples::{assert_same, numbers, numbers_from},
};

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";

fn ticket(slot: u32) -> Ticket {
    Ticket::new("t", slot)
}

/// Sends any bytes as the body of a call and returns HTTP status and gRPC status.
async fn call(server: &Server, path: &str, token: Option<&str>, body: Vec<u8>) -> (StatusCode, Option<u32>) {
    let stream = TcpStream::connect(&server.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request =
        Request::post(format!("http://{}{path}", server.address)).header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = within(5, sender.send_request(request.body(Full::new(Bytes::from(body))).unwrap())).await.unwrap();
    let status = response.status();
    let code =
        |headers: &http::HeaderMap| headers.get("grpc-status").map(|value| value.to_str().unwrap().parse().unwrap());
    let in_head = code(response.headers());
    let collected = within(5, response.into_body().collect()).await.unwrap();
    (status, in_head.or_else(|| collected.trailers().and_then(code)))
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// Messages of a `Ticket` and of a `FlightDescriptor` path, both short.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, value.len() as u8], value].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_gets_neither_in_nor_out() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers(10)]);
    for token in ["", "wrong", "correct horsf", "bad\nheader"] {
        let client = DataClient::new(token);
        let fetched = client.fetch(&server.address, &[ticket(0)]).await;
        assert!(matches!(fetched, Err(FetchError::Unauthenticated { .. })), "{fetched:?}");
        let put = client.put(&server.address, &ticket(1), &numbers(1_000_000)).await;
        assert!(matches!(put, Err(FetchError::Unauthenticated { .. })), "{put:?}");
    }
    assert_eq!(server.store.stats().partitions, 1);
    for token in [None, Some("Bearer wrong"), Some("Basic correct horse")] {
        assert_eq!(call(&server, DO_GET, token, framed(&field(1, b"t:0"))).await, (StatusCode::OK, Some(16)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_partition_is_named_and_nothing_is_sent() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers(10), numbers(10)]);
    let missing = Ticket::new("q ü/7.1", 9);
    let error = server.client.fetch(&server.address, &[ticket(0), missing.clone(), ticket(1)]).await.unwrap_err();
    assert!(matches!(&error, FetchError::NotFound(ticket) if *ticket == missing), "{error:?}");
    server.store.drop_tickets(&[ticket(1)]);
    let error = server.client.fetch(&server.address, &[ticket(0), ticket(1)]).await.unwrap_err();
    assert!(matches!(&error, FetchError::NotFound(missing) if *missing == ticket(1)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_with_the_right_status() {
    let server = Server::start_with(0, Limits { max_message_bytes: 1000, ..Limits::default() }).await;
    let token = bearer();
    let token = Some(&*token);
    let cases: Vec<(&str, &str, Vec<u8>, u32)> = vec![
        ("no message", DO_GET, vec![], 3),
        ("half a prefix", DO_GET, vec![0, 0, 0], 3),
        ("half a message", DO_GET, vec![0, 0, 0, 0, 9, 1], 3),
        ("two messages", DO_GET, [framed(b""), framed(b"")].concat(), 3),
        ("no protobuf", DO_GET, framed(&[0xff; 40]), 3),
        ("no ticket", DO_GET, framed(&field(1, b"hello")), 3),
        ("an empty ticket", DO_GET, framed(&[]), 3),
        ("compressed", DO_GET, vec![1, 0, 0, 0, 0], 12),
        ("announced too large", DO_GET, vec![0, 0xff, 0xff, 0xff, 0xff], 8),
        ("too large", DO_GET, framed(&[0; 2000]), 8),
        ("an empty put", DO_PUT, vec![], 3),
        ("a put of nothing", DO_PUT, framed(&[]), 3),
        ("a put of garbage", DO_PUT, framed(&[0xff; 100]), 3),
        ("a put without schema", DO_PUT, framed(&field(1, &field(3, b"t:0"))), 3),
        ("a put of a bad schema", DO_PUT, framed(&[field(1, &field(3, b"t:0")), field(2, &[7; 64])].concat()), 3),
        ("a put without ticket", DO_PUT, framed(&field(2, &[7; 64])), 3),
        ("a put too large", DO_PUT, framed(&[0; 2000]), 8),
        ("a put cut off", DO_PUT, vec![0, 0, 0, 1, 0, 1], 3),
        ("another method", "/arrow.flight.protocol.FlightService/ListFlights", framed(&[]), 12),
        ("another service", "/grpc.health.v1.Health/Check", framed(&[]), 12),
    ];
    for (name, path, body, code) in cases {
        assert_eq!(call(&server, path, token, body).await, (StatusCode::OK, Some(code)), "{name}");
    }
    let too_large = server.client.put(&server.address, &ticket(0), &numbers(10_000)).await;
    assert!(matches!(too_large, Err(FetchError::Refused { code: 8, .. })), "{too_large:?}");
    assert_eq!(server.store.stats().partitions, 0);
}

/// A `FlightData`, in the order of its fields.
#[derive(Clone, PartialEq, prost::Message)]
struct FlightData {
    #[prost(bytes = "vec", tag = "1")]
    descriptor: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    header: Vec<u8>,
    #[prost(bytes = "vec", tag = "1000")]
    body: Vec<u8>,
}

/// The messages as a client sends them that knows nothing of our checksums.
fn unsealed(mut recorded: &[u8]) -> Vec<u8> {
    let mut messages = Vec::new();
    while let Some((prefix, rest)) = recorded.split_first_chunk::<5>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize);
        let message: FlightData = prost::Message::decode(message).unwrap();
        messages.extend(framed(&prost::Message::encode_to_vec(&message)));
        recorded = rest;
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_puts_never_break_the_server() {
    let server = Server::start().await;
    // What our own client sends, as a plain HTTP/2 server sees it.
    let recorder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = recorder.local_addr().unwrap().to_string();
    let recorded = tokio::spawn(async move {
        let (stream, _) = recorder.accept().await.unwrap();
        let (sent, received) = tokio::sync::oneshot::channel();
        let sent = std::sync::Mutex::new(Some(sent));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let sent = sent.lock().unwrap().take();
            async move {
                let bytes = request.into_body().collect().await?.to_bytes();
                sent.unwrap().send(bytes).unwrap();
                Ok::<_, hyper::Error>(Response::new(Full::new(Bytes::new())))
            }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
        received.await.unwrap()
    });
    let part = crate::samples::partition(vec![crate::samples::mixed_batch(20, 1)]);
    let _ = server.client.put(&target, &ticket(0), &part).await;
    let recorded = unsealed(&within(5, recorded).await.unwrap());
    let token = bearer();
    assert_eq!(call(&server, DO_PUT, Some(&token), recorded.clone()).await.1, Some(0));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for at in 0..400 {
        let mut damaged = recorded.clone();
        let place = (at * 7919) % damaged.len();
        damaged[place] ^= 1 << (at % 8);
        damaged[(place + at * 31) % recorded.len()] = 0xff;
        let (status, code) = call(&server, DO_PUT, Some(&token), damaged).await;
        assert_eq!(status, StatusCode::OK);
        assert!(matches!(code, Some(0 | 3 | 8 | 12)), "{code:?}");
        if let Ok(stored) = server.store.get(&ticket(0)) {
            stored
                .batches
                .iter()
                .for_each(|batch| batch.columns().iter().for_each(|column| column.to_data().validate_full().unwrap()));
        }
    }
    std::panic::set_hook(hook);
}

/// A server that reads a request and then does what `answer` says.
async fn fake_server(
    answer: impl FnOnce(Request<Incoming>) -> Response<Full<Bytes>> + Clone + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = hyper::service::service_fn(move |request| {
                let answer = answer.clone();
                async move { Ok::<_, io::Error>(answer(request)) }
            });
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_early_is_an_error() {
    let client = DataClient::new(TOKEN);
    let grpc = |body: &'static [u8]| {
        move |_| {
            Response::builder()
                .header("content-type", "application/grpc")
                .body(Full::new(Bytes::from_static(body)))
                .unwrap()
        }
    };
    for body in [&b""[..], &[0, 0, 0, 0, 9], &[0, 0, 0, 0, 0]] {
        let error = client.fetch(&fake_server(grpc(body)).await, &[ticket(0)]).await.unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. }), "{error:?}");
    }
    let ok_but_empty = |_| {
        Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "0")
            .body(Full::default())
            .unwrap()
    };
    let error = client.fetch(&fake_server(ok_but_empty).await, &[ticket(0)]).await.unwrap_err();
    assert!(matches!(&error, FetchError::Protocol { message, .. } if message.contains("0 of 1 tickets")), "{error:?}");
    let web_page = |_| {
        Response::builder().header("content-type", "text/html").body(Full::new(Bytes::from_static(b"hello"))).unwrap()
    };
    let error = client.fetch(&fake_server(web_page).await, &[ticket(0)]).await.unwrap_err();
    assert!(matches!(error, FetchError::Protocol { .. }), "{error:?}");
}

/// Passes bytes on to the server until `limit` of them have come back, then cuts the connection.
async fn cutting_proxy(server: String, limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&server).await.unwrap();
            let ((mut near_read, mut near_write), (mut far_read, mut far_write)) =
                (near.into_split(), far.into_split());
            let upward = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
            let mut left = limit;
            let mut bytes = vec![0; 65536];
            while left > 0 {
                let count = far_read.read(&mut bytes).await.unwrap_or(0);
                if count == 0 || near_write.write_all(&bytes[..count.min(left)]).await.is_err() {
                    break;
                }
                left = left.saturating_sub(count);
            }
            upward.abort();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_anywhere_never_yields_a_short_result() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers(50_000), numbers(50_000)]);
    for limit in [0, 10, 60, 100, 500, 100_000, 400_300, 400_900, 790_000] {
        let proxy = cutting_proxy(server.address.clone(), limit).await;
        let client = DataClient::new(TOKEN);
        let error = within(10, client.fetch(&proxy, &[ticket(0), ticket(1)])).await.unwrap_err();
        assert!(
            matches!(error, FetchError::Unreachable { .. } | FetchError::Protocol { .. }),
            "cut after {limit}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_address_is_unreachable_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let started = Instant::now();
    for address in [&*address, "no-such-host.invalid:1", "not an address", "1.2.3.4", ""] {
        let error = within(8, DataClient::new(TOKEN).fetch(address, &[ticket(0)])).await.unwrap_err();
        assert!(matches!(&error, FetchError::Unreachable { address: named, .. } if named == address), "{error:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_is_reached_again_without_an_error() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers_from(1, 5)]);
    let client = server.client.clone();
    let name = server.address.clone();
    client.fetch(&name, &[ticket(0)]).await.unwrap();
    let address = server.stop().await;
    let restarted = Server::start_at(address, 0, Limits::default()).await;
    restarted.store.publish("t", vec![numbers_from(2, 5)]);
    assert_same("after the restart", &client.fetch(&name, &[ticket(0)]).await.unwrap()[0], &numbers_from(2, 5));
    client.forget(&name);
    client.retain(&std::collections::HashSet::new());
    assert_same("after forgetting", &client.fetch(&name, &[ticket(0)]).await.unwrap()[0], &numbers_from(2, 5));
}

fn impatient() -> DataClient {
    DataClient::with_config(
        TOKEN,
        ClientConfig {
            keepalive_interval: Duration::from_millis(200),
            keepalive_timeout: Duration::from_millis(300),
            progress_timeout: Duration::from_secs(2),
            ..ClientConfig::default()
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_never_speaks_is_given_up_by_keepalive() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let started = Instant::now();
    let error = within(5, impatient().fetch(&address, &[ticket(0)])).await.unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_millis(1800));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_peer_that_answers_nothing_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|_: Request<Incoming>| {
            std::future::pending::<Result<Response<Full<Bytes>>, io::Error>>()
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    let error = within(5, impatient().fetch(&address, &[ticket(0)])).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_put_goes_on_as_long_as_it_moves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(|mut request: Request<Incoming>| async move {
            // Some 8 MB/s.
            let (started, mut bytes) = (tokio::time::Instant::now(), 0);
            while let Some(frame) = request.body_mut().frame().await {
                bytes += frame?.data_ref().map_or(0, Bytes::len);
                tokio::time::sleep_until(started + Duration::from_nanos(bytes as u64 * 125)).await;
            }
            let response = Response::builder().header("content-type", "application/grpc").header("grpc-status", "0");
            Ok::<_, hyper::Error>(response.body(Full::<Bytes>::default()).unwrap())
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(65_535).serve_connection(TokioIo::new(stream), service).await
    });
    let timeout = Duration::from_millis(1500);
    let config = ClientConfig { progress_timeout: timeout, ..ClientConfig::default() };
    let part = crate::samples::partition((0..30).map(|at| numbers_from(at, 80_000).batches[0].clone()).collect());
    let started = Instant::now();
    within(20, DataClient::with_config(TOKEN, config).put(&address, &ticket(0), &part)).await.unwrap();
    assert!(started.elapsed() > timeout, "the test is too fast to show anything");
}
