//! Fingerprints of partitions: two with the same rows have the same one, in whatever order the rows come.

use arrow_array::RecordBatch;
use arrow_row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64;

use crate::PartitionData;

/// Rows that are encoded at a time, so that their encoding stays in the caches.
const ROWS_AT_A_TIME: usize = 1024;

impl PartitionData {
    /// A digest of 64 bits of the rows as a multiset; `None`: it has columns of a type that cannot be encoded.
    ///
    /// A row's columns belong together: the same columns with their rows in different orders give another fingerprint.
    /// How rows are spread over batches does not matter. Reads all of the data, about 2 GiB a second; the same on every
    /// machine that runs the same version.
    #[must_use]
    pub fn fingerprint(&self) -> Option<u64> {
        if self.schema.fields().is_empty() {
            return u64::try_from(self.num_rows).ok();
        }
        let fields = self.schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect()).ok()?;
        let mut sum = 0_u64;
        for batch in &*self.batches {
            for from in (0..batch.num_rows()).step_by(ROWS_AT_A_TIME) {
                let part = batch.slice(from, ROWS_AT_A_TIME.min(batch.num_rows() - from));
                sum = sum.wrapping_add(sum_of_rows(&converter, &part)?);
            }
        }
        Some(sum)
    }
}

fn sum_of_rows(converter: &RowConverter, part: &RecordBatch) -> Option<u64> {
    let rows = converter.convert_columns(part.columns()).ok()?;
    Some(rows.iter().fold(0, |sum, row| sum.wrapping_add(xxh3_64(row.as_ref()))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, ListArray, StringArray, StructArray,
        types::{Int32Type, Int64Type},
    };
    use arrow_schema::Field;
    use proptest::prelude::*;

    use super::*;

    fn partition(columns: Vec<(&str, ArrayRef)>) -> PartitionData {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
        let batch = batch.unwrap();
        PartitionData::try_new(batch.schema(), vec![batch]).unwrap()
    }

    fn pairs(rows: &[(Option<i64>, String)]) -> PartitionData {
        let numbers: Int64Array = rows.iter().map(|(number, _)| *number).collect();
        let texts: StringArray = rows.iter().map(|(_, text)| Some(text)).collect();
        partition(vec![("a", Arc::new(numbers)), ("b", Arc::new(texts))])
    }

    fn in_batches(data: &PartitionData, length: usize) -> PartitionData {
        let batch = &data.batches[0];
        let cuts = (0..batch.num_rows()).step_by(length);
        let batches = cuts.map(|from| batch.slice(from, length.min(batch.num_rows() - from))).collect();
        PartitionData::try_new(data.schema.clone(), batches).unwrap()
    }

    proptest! {
        #[test]
        fn the_order_of_rows_and_their_batches_do_not_matter(
            rows in prop::collection::vec((any::<Option<i64>>(), "[a-c]{0,3}"), 1..40), seed: u64, length in 1..9_usize,
        ) {
            let mut shuffled = rows.clone();
            shuffled.sort_by_key(|row| xxh3_64(format!("{seed} {row:?}").as_bytes()));
            let fingerprint = pairs(&rows).fingerprint();
            prop_assert!(fingerprint.is_some());
            prop_assert_eq!(fingerprint, in_batches(&pairs(&shuffled), length).fingerprint());
        }

        #[test]
        fn other_rows_give_another_fingerprint(
            rows in prop::collection::vec((any::<Option<i64>>(), "[a-c]{0,3}"), 1..40),
            others in prop::collection::vec((any::<Option<i64>>(), "[a-c]{0,3}"), 1..40),
        ) {
            let sorted = |mut rows: Vec<_>| { rows.sort(); rows };
            let is_same = sorted(rows.clone()) == sorted(others.clone());
            prop_assert_eq!(pairs(&rows).fingerprint() == pairs(&others).fingerprint(), is_same);
        }
    }

    #[test]
    fn columns_whose_rows_are_paired_otherwise_give_another_fingerprint() {
        let rows =
            |first: &str, second: &str| pairs(&[(Some(1), first.into()), (Some(2), second.into())]).fingerprint();
        assert_ne!(rows("x", "y"), rows("y", "x"));
    }

    #[test]
    fn the_number_of_equal_rows_counts() {
        let rows = |count: usize| pairs(&vec![(None, "x".into()); count]).fingerprint();
        assert_ne!(rows(1), rows(3));
    }

    #[test]
    fn without_columns_the_number_of_rows_is_all() {
        let schema = Arc::new(arrow_schema::Schema::empty());
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(5));
        let batch = RecordBatch::try_new_with_options(schema.clone(), vec![], &options).unwrap();
        assert_eq!(PartitionData::try_new(schema, vec![batch]).unwrap().fingerprint(), Some(5));
    }

    #[test]
    fn nested_columns_dictionaries_and_floats_have_fingerprints() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ]));
        let words: ArrayRef = Arc::new(["x", "y", "x"].into_iter().collect::<DictionaryArray<Int32Type>>());
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5, f64::NAN, -0.0]));
        let field = Arc::new(Field::new("inner", floats.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(field, floats.clone())]));
        let data = partition(vec![("l", lists), ("w", words), ("f", floats), ("s", structs)]);
        let fingerprint = data.fingerprint();
        assert!(fingerprint.is_some());
        assert_eq!(fingerprint, in_batches(&data, 1).fingerprint());
    }
}
