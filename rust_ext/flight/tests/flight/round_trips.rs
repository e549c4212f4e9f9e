//! Partitions of all shapes through server and client, on the loopback.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, LargeBinaryArray, RecordBatch};
use daft_k8s_flight::{ClientConfig, DataClient, Limits};
use daft_k8s_ipc::{PartitionData, Ticket};
use daft_k8s_store::Store;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::{
    fixture::{Server, TOKEN, within},
    samples::{assert_same, mixed_batch, numbers_from, partition, shapes},
};

fn tickets(task: &str, count: usize) -> Vec<Ticket> {
    (0..count).map(|slot| Ticket::new(task, slot as u32)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_survives_fetching_alone_and_together() {
    let server = Server::start().await;
    let (names, parts): (Vec<_>, Vec<PartitionData>) = shapes().into_iter().unzip();
    server.store.publish("q/1.0", parts.clone());
    let tickets = tickets("q/1.0", parts.len());
    let together = server.client.fetch(&server.address, &tickets).await.unwrap();
    for (at, part) in parts.iter().enumerate() {
        assert_same(names[at], &together[at], part);
        let alone = server.client.fetch(&server.address, &tickets[at..=at]).await.unwrap();
        assert_same(names[at], &alone[0], part);
    }
    assert!(server.client.fetch(&server.address, &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_survives_being_put() {
    let server = Server::start().await;
    for (at, (name, part)) in shapes().into_iter().enumerate() {
        let ticket = Ticket::new("driver", at as u32);
        server.client.put(&server.address, &ticket, &part).await.unwrap();
        assert_same(
            name,
            &server.store.get(&ticket).unwrap(),
            &PartitionData { size_bytes: server.store.get(&ticket).unwrap().size_bytes, ..part.clone() },
        );
        assert_same(
            name,
            &server.client.fetch(&server.address, std::slice::from_ref(&ticket)).await.unwrap()[0],
            &server.store.get(&ticket).unwrap(),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spilled_partitions_are_served_from_disk() {
    let server = Server::start_with(1 << 10, Limits::default()).await;
    let parts: Vec<_> = shapes().into_iter().map(|(_, part)| part).collect();
    server.store.publish("t", parts.clone());
    assert!(server.store.stats().spilled_partitions >= 4);
    let back = server.client.fetch(&server.address, &tickets("t", parts.len())).await.unwrap();
    for (left, right) in back.iter().zip(&parts) {
        assert_same("spilled", left, right);
    }
    server.store.close();
    assert!(!server.spill_dir.path().join("spill").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn fetched_values_are_aligned_and_not_copied_again() {
    let server = Server::start().await;
    server.store.publish("t", vec![numbers_from(0, 1_000_000), numbers_from(0, 100)]);
    for part in server.client.fetch(&server.address, &tickets("t", 2)).await.unwrap() {
        let data = part.batches[0].column(0).to_data();
        assert_eq!(data.buffers()[0].as_ptr() as usize % 64, 0);
        let body = data.buffers()[0].data_ptr();
        assert_eq!(body.as_ptr() as usize % 64, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tickets_than_fit_one_request_keep_their_order() {
    let server = Server::start().await;
    server.store.publish("t", (0..1000).map(|part| numbers_from(part, 3)).collect());
    let config = ClientConfig { tickets_per_request: 64, ..ClientConfig::default() };
    let client = DataClient::with_config(TOKEN, config);
    let mut wanted = tickets("t", 1000);
    wanted.reverse();
    wanted.push(wanted[500].clone());
    let back = client.fetch(&server.address, &wanted).await.unwrap();
    for (ticket, part) in wanted.iter().zip(&back) {
        assert_same("in order", part, &numbers_from(i64::from(ticket.slot), 3));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_are_split_to_fit_the_limit_of_the_server() {
    let server = Server::start_with(0, Limits { max_message_bytes: 100_000, ..Limits::default() }).await;
    let config = ClientConfig { max_put_message_bytes: 90_000, ..ClientConfig::default() };
    let (ticket, part) = (Ticket::new("t", 0), numbers_from(0, 100_000));
    DataClient::with_config(TOKEN, config).put(&server.address, &ticket, &part).await.unwrap();
    let stored = server.store.get(&ticket).unwrap();
    assert_eq!(stored.num_rows, part.num_rows);
    assert!(stored.batches.len() > 1);
    let mut first = 0;
    for batch in stored.batches.iter() {
        assert_eq!(batch, &part.batches[0].slice(first, batch.num_rows()));
        first += batch.num_rows();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_no_message_can_carry_survives_being_put_spilled_and_fetched() {
    let limits = Limits { max_message_bytes: 100_000, max_answer_body_bytes: 80_000, ..Limits::default() };
    let config = ClientConfig { max_put_message_bytes: 90_000, ..ClientConfig::default() };
    let client = DataClient::with_config(TOKEN, config);
    let values: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(
        [10, 700_000, 0, 3_000_000].map(|length: usize| (0..length).map(|at| at as u8).collect::<Vec<u8>>()),
    ));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4));
    let batch = RecordBatch::try_from_iter([("value", values), ("number", numbers)]).unwrap();
    let part = PartitionData::try_new(batch.schema(), vec![batch.clone()]).unwrap();
    for store_bytes in [0, 1] {
        let server = Server::start_with(store_bytes, limits.clone()).await;
        let ticket = Ticket::new("t", 0);
        client.put(&server.address, &ticket, &part).await.unwrap();
        let back = client.fetch(&server.address, &[ticket]).await.unwrap();
        let mut first = 0;
        for found in back[0].batches.iter() {
            assert_eq!(found, &batch.slice(first, found.num_rows()));
            first += found.num_rows();
        }
        assert_eq!(first, batch.num_rows());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fetches_at_once_share_a_few_connections() {
    let server = Server::start().await;
    server.store.publish("t", (0..64).map(|part| numbers_from(part, 20_000)).collect());
    let fetches: Vec<_> = (0..64_u32)
        .map(|slot| {
            let (client, address) = (server.client.clone(), server.address.clone());
            tokio::spawn(async move { (slot, client.fetch(&address, &[Ticket::new("t", slot)]).await.unwrap()) })
        })
        .collect();
    for fetch in fetches {
        let (slot, back) = within(20, fetch).await.unwrap();
        assert_same("concurrent", &back[0], &numbers_from(i64::from(slot), 20_000));
    }
}

#[test]
fn generated_partitions_survive_memory_disk_and_network() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (in_memory, on_disk) =
        runtime.block_on(async { (Server::start().await, Server::start_with(1, Limits::default()).await) });
    let batch = (0..200_usize, any::<u8>(), 0.0..1.0f64, 0.0..1.0f64).prop_map(|(rows, seed, start, length)| {
        let start = (rows as f64 * start) as usize;
        mixed_batch(rows, usize::from(seed)).slice(start, ((rows - start) as f64 * length) as usize)
    });
    let partitions = prop::collection::vec(prop::collection::vec(batch, 1..4), 1..4);
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&partitions, |partitions| {
            let parts: Vec<_> = partitions.into_iter().map(partition).collect();
            for server in [&in_memory, &on_disk] {
                server.store.publish("t", parts.clone());
                let back = runtime.block_on(server.client.fetch(&server.address, &tickets("t", parts.len())));
                for (left, right) in back.unwrap().iter().zip(&parts) {
                    assert_same("generated", left, right);
                }
            }
            Ok(())
        })
        .unwrap();
}
