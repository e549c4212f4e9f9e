//! Partitions that the driver itself owns.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use daft_k8s_ipc::PartitionData;

use crate::fixture::{Session, Settings, numbers, rows, until};

#[test]
fn a_partition_of_the_driver_is_sent_once_and_dropped_with_its_last_reference() {
    let (session, workers) = Session::with_workers(Settings::default());
    let given = session.driver.put(numbers(0..100));
    for task in 0..3 {
        let ending = session.submit(task, vec![given.clone()]);
        let delivery = workers[0].next_run();
        assert_eq!(rows(&delivery.inputs[0].1), [100]);
        workers[0].finish(&delivery.key, []);
        assert!(ending.partitions().is_empty());
    }
    assert_eq!(workers[0].partitions(), 1);
    drop(given);
    until(|| workers[0].partitions() == 0, "the upload was not dropped");
}

#[test]
fn a_partition_without_batches_keeps_its_schema() {
    let (session, workers) = Session::with_workers(Settings::default());
    let schema = Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true)]));
    let given = session.driver.put(PartitionData::try_new(schema.clone(), vec![]).unwrap());
    assert_eq!(rows(&session.fetch(std::slice::from_ref(&given)).unwrap()), [0]);
    let ending = session.submit(1, vec![given]);
    let delivery = workers[0].next_run();
    assert_eq!(delivery.inputs[0].1[0].schema, schema);
    workers[0].finish(&delivery.key, []);
    assert!(ending.partitions().is_empty());
}
