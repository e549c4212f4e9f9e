//! Not a test but a measurement: `cargo test --release -p daft_k8s_flight -- --ignored --nocapture throughput`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use daft_k8s_flight::Limits;
use daft_k8s_ipc::Ticket;
use daft_k8s_net::tls::issue;
use daft_k8s_store::Store;

use crate::{
    fixture::Server,
    samples::{numbers, partition},
};

const ROUNDS: usize = 7;

/// This process's time on CPUs.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Vec<u64> = stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|w| w.parse().ok()).collect();
    // State is no number, so utime and stime are the 11th and 12th.
    Duration::from_millis((ticks[10] + ticks[11]) * 10)
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

/// One GiB in partitions of this many bytes, and many requests for a tiny one, plain and over TLS in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn throughput_plain_and_over_tls() {
    let servers = [("plain", Server::start().await), ("TLS", Server::start_tls(&issue("s").unwrap()).await)];
    for partition_bytes in [64_usize << 10, 1 << 20, 64 << 20] {
        let count = (1 << 30) / partition_bytes;
        let tickets: Vec<_> = (0..count as u32).map(|slot| Ticket::new("t", slot)).collect();
        let partition = numbers(partition_bytes as i64 / 8);
        for (_, server) in &servers {
            server.store.publish("t", (0..count).map(|_| partition.clone()).collect());
        }
        let mut measured = [vec![], vec![]];
        for round in 0..=ROUNDS {
            for ((_, server), measured) in servers.iter().zip(&mut measured) {
                let (begin, cpu_before) = (Instant::now(), cpu());
                for part in tickets.chunks((64 << 20) / partition_bytes) {
                    assert_eq!(server.client.fetch(&server.address, part).await.unwrap().len(), part.len());
                }
                if round > 0 {
                    measured.push((begin.elapsed(), cpu() - cpu_before));
                }
            }
        }
        for ((name, _), measured) in servers.iter().zip(measured) {
            let wall = median(measured.iter().map(|(wall, _)| *wall).collect());
            let cpu = median(measured.iter().map(|(_, cpu)| *cpu).collect());
            println!(
                "{name:>5}, partitions of {:>5} KiB: {:.2} GiB/s, {:.2} s of CPU a GiB on both ends",
                partition_bytes >> 10,
                1.0 / wall.as_secs_f64(),
                cpu.as_secs_f64()
            );
        }
        for (_, server) in &servers {
            server.store.drop_tickets(&tickets);
        }
    }
    for (name, server) in &servers {
        server.store.publish("u", vec![numbers(10)]);
        let ticket = [Ticket::new("u", 0)];
        let mut times = Vec::new();
        for _ in 0..3000 {
            let begin = Instant::now();
            server.client.fetch(&server.address, &ticket).await.unwrap();
            times.push(begin.elapsed());
        }
        println!("{name:>5}, a tiny partition: {:.0} us", median(times).as_secs_f64() * 1e6);
        let begin = Instant::now();
        for _ in 0..200 {
            server.client.forget(&server.address);
            server.client.fetch(&server.address, &ticket).await.unwrap();
        }
        println!("{name:>5}, with a new connection: {:.2} ms", begin.elapsed().as_secs_f64() * 5.0);
    }
}

/// A quarter of a GiB of numbers and one of texts, each in four partitions, written to disk and mapped back from the
/// page cache. The figures are for a GiB.
#[test]
#[ignore = "a measurement"]
fn throughput_of_spilling() {
    const ROWS: i64 = 8 << 20;
    let texts = (0..ROWS / 2).map(|row| format!("{row:016}"));
    let columns: [(&str, ArrayRef); 2] = [
        ("numbers", Arc::new(Int64Array::from_iter_values(0..ROWS))),
        ("texts", Arc::new(StringArray::from_iter_values(texts))),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (name, column) in columns {
        let parts = vec![partition(vec![RecordBatch::try_from_iter([(name, column)]).unwrap()]); 4];
        let gib = parts.iter().map(|part| part.size_bytes).sum::<u64>() as f64 / f64::from(1 << 30);
        let server = runtime.block_on(Server::start_with(1, Limits::default()));
        let (mut written, mut mapped) = (vec![], vec![]);
        for round in 0..=ROUNDS {
            let (begin, cpu_before) = (Instant::now(), cpu());
            server.store.publish("t", parts.clone());
            let spilled = (begin.elapsed(), cpu() - cpu_before);
            let (begin, cpu_before) = (Instant::now(), cpu());
            for slot in 0..4 {
                server.store.get(&Ticket::new("t", slot)).unwrap();
            }
            if round > 0 {
                written.push(spilled);
                mapped.push((begin.elapsed(), cpu() - cpu_before));
            }
        }
        for (what, measured) in [("written", written), ("mapped", mapped)] {
            let wall = median(measured.iter().map(|(wall, _)| *wall).collect()).as_secs_f64() / gib;
            let cpu = median(measured.iter().map(|(_, cpu)| *cpu).collect()).as_secs_f64() / gib;
            println!("{name:>7} {what}: {wall:.3} s, {cpu:.3} s of CPU a GiB");
        }
    }
}
