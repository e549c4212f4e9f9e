//! Partitions of every shape that has to survive a journey.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, DictionaryArray, FixedSizeBinaryArray,
    FixedSizeListArray, Float64Array, Int16Array, Int64Array, LargeListArray, LargeStringArray, ListArray, MapArray,
    NullArray, RecordBatch, RecordBatchOptions, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
    builder::{Int64Builder, MapBuilder, StringBuilder},
    types::{Float32Type, Int32Type, Int64Type},
};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field, Schema, SchemaRef};
use daft_k8s_ipc::PartitionData;

pub fn partition(batches: Vec<RecordBatch>) -> PartitionData {
    PartitionData::try_new(batches[0].schema(), batches).unwrap()
}

pub fn numbers(rows: i64) -> PartitionData {
    numbers_from(0, rows)
}

pub fn numbers_from(first: i64, rows: i64) -> PartitionData {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows));
    partition(vec![RecordBatch::try_from_iter([("number", column)]).unwrap()])
}

/// One array of each kind, with the `rows` first entries of a pattern in which nulls occur.
pub fn arrays(rows: usize, seed: usize) -> Vec<ArrayRef> {
    let entries = || (0..rows).map(move |row| row.wrapping_mul(7).wrapping_add(seed));
    let valid = |entry: usize| !entry.is_multiple_of(5);
    let some = |entry: usize| valid(entry).then_some(entry as i64);
    let text = |entry: usize| valid(entry).then(|| format!("{}ß{entry}", "x".repeat(entry % 11)));
    let list = |entry: usize| {
        valid(entry).then(|| (0..entry % 4).map(move |item| (item != 2).then_some(item as i64)).collect::<Vec<_>>())
    };
    let nulls = NullBuffer::from_iter(entries().map(valid));
    let inner = Field::new("inner", arrow_schema::DataType::Utf8, true).with_metadata(metadata(&[
        ("ARROW:extension:name", "daft.python"),
        ("ARROW:extension:metadata", "{\"é\": 1}"),
    ]));
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for entry in entries() {
        for key in 0..entry % 3 {
            map.keys().append_value(format!("k{key}"));
            map.values().append_option(some(entry + key));
        }
        map.append(valid(entry)).unwrap();
    }
    let map: MapArray = map.finish();
    vec![
        Arc::new(Int64Array::from_iter(entries().map(some))),
        Arc::new(Int16Array::from_iter_values(entries().map(|entry| entry as i16))),
        Arc::new(Float64Array::from_iter(entries().map(|entry| some(entry).map(|value| value as f64 / 3.0)))),
        Arc::new(BooleanArray::from_iter(entries().map(|entry| valid(entry).then_some(entry % 3 == 1)))),
        Arc::new(StringArray::from_iter(entries().map(text))),
        Arc::new(LargeStringArray::from_iter(entries().map(text))),
        Arc::new(StringViewArray::from_iter(entries().map(text))),
        Arc::new(BinaryArray::from_iter(entries().map(text))),
        Arc::new(
            FixedSizeBinaryArray::try_from_iter(entries().map(|entry| [entry as u8; 5]))
                .unwrap_or_else(|_| FixedSizeBinaryArray::new(5, Vec::<u8>::new().into(), None)),
        ),
        Arc::new(
            Decimal128Array::from_iter(entries().map(|entry| some(entry).map(i128::from)))
                .with_precision_and_scale(20, 3)
                .unwrap(),
        ),
        Arc::new(TimestampMicrosecondArray::from_iter(entries().map(some)).with_timezone("Europe/Berlin")),
        Arc::new(NullArray::new(rows)),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(entries().map(list))),
        Arc::new(LargeListArray::from_iter_primitive::<Int64Type, _, _>(entries().map(list))),
        Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
            entries().map(|entry| valid(entry).then(|| vec![Some(entry as f32), None, Some(0.5)])),
            3,
        )),
        Arc::new(StructArray::new(
            vec![inner].into(),
            vec![Arc::new(StringArray::from_iter(entries().map(text)))],
            Some(nulls),
        )),
        Arc::new(DictionaryArray::<Int32Type>::from_iter(
            entries().map(|entry| valid(entry).then_some(["one", "two", "three"][entry % 3])),
        )),
        Arc::new(map),
    ]
}

/// A schema with metadata everywhere that these arrays fit.
pub fn schema(arrays: &[ArrayRef]) -> SchemaRef {
    let field = |(at, array): (usize, &ArrayRef)| {
        Field::new(format!("column {at}"), array.data_type().clone(), true)
            .with_metadata(metadata(&[("at", &at.to_string())]))
    };
    let fields: Vec<_> = arrays.iter().enumerate().map(field).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata(&[("origin", "test")])))
}

fn metadata(entries: &[(&str, &str)]) -> HashMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Every kind of column at once.
pub fn mixed_batch(rows: usize, seed: usize) -> RecordBatch {
    let arrays = arrays(rows, seed);
    RecordBatch::try_new(schema(&arrays), arrays).unwrap()
}

/// All shapes, each with a name for the message of a failing test.
pub fn shapes() -> Vec<(&'static str, PartitionData)> {
    let batch = mixed_batch(1000, 3);
    let no_columns = Arc::new(Schema::empty());
    let rows_only = |rows| {
        RecordBatch::try_new_with_options(
            no_columns.clone(),
            vec![],
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )
        .unwrap()
    };
    vec![
        ("every type", partition(vec![batch.clone()])),
        ("sliced", partition(vec![batch.slice(17, 333)])),
        ("sliced to the last row", partition(vec![batch.slice(999, 1)])),
        (
            "many batches, some of them empty",
            partition(vec![batch.slice(0, 1), batch.slice(5, 0), mixed_batch(64, 9), batch.slice(500, 500)]),
        ),
        ("no rows", partition(vec![mixed_batch(0, 0)])),
        ("no batches", PartitionData::try_new(batch.schema(), vec![]).unwrap()),
        ("no columns", PartitionData::try_new(no_columns.clone(), vec![rows_only(12345), rows_only(1)]).unwrap()),
        ("nothing at all", PartitionData::try_new(no_columns.clone(), vec![]).unwrap()),
        ("large", numbers(3_000_000)),
    ]
}

#[track_caller]
pub fn assert_same(what: &str, left: &PartitionData, right: &PartitionData) {
    assert_eq!(left.schema, right.schema, "{what}: schema");
    assert_eq!(left.batches.len(), right.batches.len(), "{what}: number of batches");
    for (at, (left, right)) in left.batches.iter().zip(right.batches.iter()).enumerate() {
        assert!(left == right, "{what}: batch {at}");
        left.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
    }
    assert_eq!((left.num_rows, left.size_bytes), (right.num_rows, right.size_bytes), "{what}: rows and bytes");
}
