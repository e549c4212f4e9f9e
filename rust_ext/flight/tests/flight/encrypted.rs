//! The data plane over TLS: the same answers for members of the session, none for others.

use std::time::{Duration, Instant};

use daft_k8s_flight::{DataClient, FetchError};
use daft_k8s_ipc::Ticket;
use daft_k8s_net::tls::{Pem, issue};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    fixture::{Server, TOKEN, client_tls, within},
    samples::{assert_same, mixed_batch, numbers, partition},
};

fn ticket(slot: u32) -> Ticket {
    Ticket::new("t", slot)
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_all_sizes_arrive_as_they_are() {
    let session = issue("s").unwrap();
    let server = Server::start_tls(&session).await;
    let partitions = vec![numbers(0), partition(vec![mixed_batch(20, 1)]), numbers(5_000_000)];
    server.store.publish("t", partitions.clone());
    let tickets: Vec<_> = (0..3).map(ticket).collect();
    let worker = DataClient::with_tls(TOKEN, Some(client_tls(&session.worker)));
    for client in [&server.client, &worker] {
        let fetched = within(30, client.fetch(&server.address, &tickets)).await.unwrap();
        for (fetched, sent) in fetched.iter().zip(&partitions) {
            assert_same("over TLS", fetched, sent);
        }
    }
    within(30, server.client.put(&server.address, &ticket(7), &partitions[2])).await.unwrap();
    assert_same("put over TLS", &server.store.get(&ticket(7)).unwrap(), &partitions[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_taken_over_cannot_replace_what_another_holds() {
    let session = issue("s").unwrap();
    let server = Server::start_tls(&session).await;
    server.store.publish("t", vec![numbers(10)]);
    let worker = DataClient::with_tls(TOKEN, Some(client_tls(&session.worker)));
    for place in [ticket(0), ticket(7)] {
        let error = within(10, worker.put(&server.address, &place, &numbers(3))).await.unwrap_err();
        assert!(error.to_string().contains("only the session's driver may store partitions"), "{error}");
    }
    assert_same("as it was", &server.store.get(&ticket(0)).unwrap(), &numbers(10));
    assert!(server.store.get(&ticket(7)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_does_not_replace_the_token() {
    let session = issue("s").unwrap();
    let server = Server::start_tls(&session).await;
    server.store.publish("t", vec![numbers(10)]);
    let client = DataClient::with_tls("wrong", Some(client_tls(&session.worker)));
    let error = within(10, client.fetch(&server.address, &[ticket(0)])).await.unwrap_err();
    assert!(matches!(error, FetchError::Unauthenticated { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_does_not_replace_a_certificate() {
    let (session, other) = (issue("s").unwrap(), issue("s").unwrap());
    let server = Server::start_tls(&session).await;
    server.store.publish("t", vec![numbers(10)]);
    let forged = Pem { authority: session.worker.authority.clone(), ..other.worker.clone() };
    let clients = [
        (DataClient::new(TOKEN), "cannot reach"),
        (DataClient::with_tls(TOKEN, Some(client_tls(&other.worker))), "a certificate of another session"),
        (DataClient::with_tls(TOKEN, Some(client_tls(&forged))), "it refused our certificate"),
    ];
    for (client, reason) in clients {
        let error = within(10, client.fetch(&server.address, &[ticket(0)])).await.unwrap_err();
        assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let said = server.said.lock().clone();
    assert_eq!(said.len(), 1, "three rejected peers, one line: {said:?}");
    assert!(said[0].starts_with("rejected peer 127.0.0.1:"), "{said:?}");
    assert!(!said.concat().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_speak_tls_is_shown_the_door_at_once() {
    let server = Server::start_tls(&issue("s").unwrap()).await;
    for greeting in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 5000]] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(&server.address).await.unwrap();
        let _ = stream.write_all(greeting).await;
        let mut bytes = [0; 1024];
        within(10, async { while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {} }).await;
        assert!(started.elapsed() < Duration::from_secs(3), "far below the time-out of a handshake");
    }
    let said = server.said.lock().clone();
    assert!(matches!(&said[..], [line] if line.contains("does not speak TLS")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_abandoned_handshakes_do_not_stop_the_service() {
    let server = Server::start_tls(&issue("s").unwrap()).await;
    server.store.publish("t", vec![numbers(10)]);
    let mut kept = Vec::new();
    for at in 0..10_000 {
        let mut stream = TcpStream::connect(&server.address).await.unwrap_or_else(|error| panic!("{at}: {error}"));
        // The beginning of a greeting that never ends.
        let _ = stream.write_all(&[22, 3, 1, 2, 0]).await;
        if at % 25 == 0 {
            kept.push(stream);
        }
        if at % 1000 == 0 {
            within(10, server.client.fetch(&server.address, &[ticket(0)])).await.unwrap();
        }
    }
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    within(10, server.client.fetch(&server.address, &[ticket(0)])).await.unwrap();
    drop(kept);
    // Each was given up: what is left is this test's own and that of the tests beside it.
    let end = Instant::now() + Duration::from_secs(20);
    while files() > 300 {
        assert!(Instant::now() < end, "{} files are still open", files());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
