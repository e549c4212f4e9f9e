//! The accept loop, and what it must outlive. Not covered: a peer that vanishes without closing its socket
//! (the loopback cannot lose packets), which the keepalive pings are there for.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use daft_k8s_net::{AcceptOptions, Admission, serve_connections};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn usual() -> AcceptOptions {
    AcceptOptions::new(Admission::of_open_files())
}

/// Serves "ok" with these options; returns the address.
async fn server_with(options: AcceptOptions) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = hyper::service::service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::io::Error>(Response::new(Full::new(Bytes::from_static(b"ok"))))
    });
    tokio::spawn(serve_connections(listener, service, options, std::future::pending()));
    address
}

/// Fails the test if the future takes longer than any step of it should.
async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.unwrap()
}

/// Waits until the peer has closed; returns how long that took.
async fn closed(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    let mut bytes = [0; 1024];
    within(async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} }).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_is_shown_the_door() {
    let options = AcceptOptions { preface_timeout: Duration::from_millis(300), ..usual() };
    let address = server_with(options).await;
    for greeting in [&b""[..], b"P", &PREFACE[..23]] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        assert!(closed(&mut stream).await < Duration::from_secs(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_something_else_is_shown_the_door_at_once() {
    let address = server_with(AcceptOptions { preface_timeout: Duration::from_secs(60), ..usual() }).await;
    let garbage: Vec<u8> = (0..5000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // A frame of an impossible length; less wrong ones end with the first ping that is not answered.
    let after_preface = [PREFACE, &[0xff; 5000]].concat();
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 2, 0], &garbage, &after_preface] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let _ = stream.write_all(greeting).await;
        assert!(closed(&mut stream).await < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_answering_pings_is_given_up() {
    let options = AcceptOptions {
        keepalive_interval: Duration::from_millis(200),
        keepalive_timeout: Duration::from_millis(200),
        ..usual()
    };
    let mut stream = TcpStream::connect(server_with(options).await).await.unwrap();
    // The preface and empty SETTINGS: a proper beginning, and then nothing.
    stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    assert!(closed(&mut stream).await < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let options =
        AcceptOptions { preface_timeout: Duration::from_millis(300), ..AcceptOptions::new(Admission::new(2)) };
    let address = server_with(options).await;
    let idle: Vec<_> = futures::future::join_all((0..6).map(|_| TcpStream::connect(&address))).await;
    let mut last = TcpStream::connect(&address).await.unwrap();
    last.write_all(PREFACE).await.unwrap();
    let mut settings = [0; 9];
    within(last.read_exact(&mut settings)).await.unwrap();
    assert_eq!(settings[3], 4, "the server answers with SETTINGS");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ports_share_their_places() {
    let admission = Admission::new(8);
    let options = AcceptOptions { preface_timeout: Duration::from_secs(60), ..AcceptOptions::new(admission) };
    let addresses = [server_with(options.clone()).await, server_with(options).await];
    // Each accept loop holds a place for its next connection; a peer gets two for connections that say nothing.
    let mut silent = Vec::new();
    for number in 0..40 {
        silent.push(TcpStream::connect(&addresses[number % 2]).await.unwrap());
    }
    for stream in &mut silent[..38] {
        closed(stream).await;
    }
    let mut byte = [0];
    let quiet = tokio::time::timeout(Duration::from_millis(100), silent[39].read(&mut byte)).await;
    assert!(quiet.is_err(), "the newest connections stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_greets_and_makes_no_call_of_a_member_is_shown_the_door() {
    let options = AcceptOptions { newcomer_timeout: Duration::from_millis(300), ..usual() };
    let mut stream = TcpStream::connect(server_with(options).await).await.unwrap();
    stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    let took = closed(&mut stream).await;
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(3), "{took:?}");
}
