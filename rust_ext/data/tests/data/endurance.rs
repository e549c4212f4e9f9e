//! What the accept loop must outlive. Not covered: a peer that vanishes without closing its socket
//! (the loopback cannot lose packets), which the keepalive pings are there for.

use std::time::{Duration, Instant};

use daft_k8s_data::{
    Limits, Ticket,
    accept::{AcceptOptions, serve_connections},
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    fixture::{Server, within},
    samples::numbers,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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

/// Waits until the peer has closed; returns how long that took.
async fn closed(stream: &mut TcpStream) -> Duration {
    let started = Instant::now();
    let mut bytes = [0; 1024];
    within(10, async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} }).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_is_shown_the_door() {
    let options = AcceptOptions { preface_timeout: Duration::from_millis(300), ..AcceptOptions::default() };
    let address = server_with(options).await;
    for greeting in [&b""[..], b"P", &PREFACE[..23]] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(greeting).await.unwrap();
        assert!(closed(&mut stream).await < Duration::from_secs(3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_something_else_is_shown_the_door_at_once() {
    let address =
        server_with(AcceptOptions { preface_timeout: Duration::from_secs(60), ..AcceptOptions::default() }).await;
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
        ..AcceptOptions::default()
    };
    let mut stream = TcpStream::connect(server_with(options).await).await.unwrap();
    // The preface and empty SETTINGS: a proper beginning, and then nothing.
    stream.write_all(&[PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).await.unwrap();
    assert!(closed(&mut stream).await < Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_their_turn() {
    let options = AcceptOptions {
        preface_timeout: Duration::from_millis(300),
        max_connections: Some(2),
        ..AcceptOptions::default()
    };
    let address = server_with(options).await;
    let idle: Vec<_> = futures::future::join_all((0..6).map(|_| TcpStream::connect(&address))).await;
    let mut last = TcpStream::connect(&address).await.unwrap();
    last.write_all(PREFACE).await.unwrap();
    let mut settings = [0; 9];
    within(10, last.read_exact(&mut settings)).await.unwrap();
    assert_eq!(settings[3], 4, "the server answers with SETTINGS");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_abandoned_connections_do_not_stop_the_service() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers(10)]);
    let mut kept = Vec::new();
    for at in 0..10_000 {
        // Some stay open without a word, as many as the process may have; most are closed.
        match TcpStream::connect(&server.address).await {
            Ok(stream) if at % 25 == 0 => kept.push(stream),
            Ok(_) => {}
            Err(error) => panic!("connection {at}: {error}"),
        }
        if at % 1000 == 0 {
            within(10, server.client.fetch(&server.address, &[Ticket::new("t", 0)])).await.unwrap();
        }
    }
    let started = Instant::now();
    within(10, server.client.fetch(&server.address, &[Ticket::new("t", 0)])).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_a_running_answer_finish() {
    let server = Server::start_with(0, Limits::default()).await;
    server.store.publish("t", (0..50).map(|_| numbers(200_000)).collect());
    let (client, address) = (server.client.clone(), server.address.clone());
    let tickets: Vec<_> = (0..50).map(|slot| Ticket::new("t", slot)).collect();
    client.fetch(&address, &tickets[..1]).await.unwrap();
    let fetch = tokio::spawn(async move { client.fetch(&address, &tickets).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    server.stop().await;
    assert_eq!(within(10, fetch).await.unwrap().unwrap().len(), 50);
}
