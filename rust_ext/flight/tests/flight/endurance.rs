//! The data server among many abandoned connections, and at its end.

use std::time::{Duration, Instant};

use daft_k8s_flight::Limits;
use daft_k8s_ipc::Ticket;
use tokio::net::TcpStream;

use crate::{
    fixture::{Server, within},
    samples::numbers,
};

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
