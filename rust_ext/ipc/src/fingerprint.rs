//! Fingerprints of partitions: two with the same rows have the same one, in whatever order the rows come.

use std::{ops::Range, sync::Arc};

use arrow_array::{Array, ArrayRef, ListLikeArray, StructArray, UInt64Array, cast::AsArray, make_array};
use arrow_buffer::NullBuffer;
use arrow_data::ArrayData;
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::PartitionData;

/// Rows that are encoded at a time, and their bytes: the encoding stays in the caches. That of a nested value may take
/// thirty times its bytes.
const ROWS_AT_A_TIME: u64 = 1024;
const BYTES_AT_A_TIME: u64 = 256 << 10;

impl PartitionData {
    /// A digest of 64 bits of the rows as a multiset; `None`: it has columns of a type that cannot be encoded.
    ///
    /// A row's columns belong together: the same columns with their rows in different orders give another fingerprint.
    /// The batches do not matter. Reads all of the data, about 2 GiB a second; the same on every
    /// machine that runs the same version.
    #[must_use]
    pub fn fingerprint(&self) -> Option<u64> {
        if self.schema.fields().is_empty() {
            return u64::try_from(self.num_rows).ok();
        }
        let row_bytes = self.size_bytes / (self.num_rows.max(1) as u64);
        let step = usize::try_from((BYTES_AT_A_TIME / row_bytes.max(1)).clamp(1, ROWS_AT_A_TIME)).ok()?;
        let mut sum = 0_u64;
        for batch in &*self.batches {
            for from in (0..batch.num_rows()).step_by(step) {
                let part = batch.slice(from, step.min(batch.num_rows() - from));
                sum = sum.wrapping_add(sum_of_rows(part.columns())?);
            }
        }
        Some(sum)
    }
}

fn sum_of_rows(columns: &[ArrayRef]) -> Option<u64> {
    let mut flat = Vec::new();
    for column in columns {
        flatten(column, None, &mut flat);
    }
    let fields = flat.iter().map(|column| SortField::new(column.data_type().clone()));
    let rows = RowConverter::new(fields.collect()).ok()?.convert_columns(&flat).ok()?;
    Some(rows.iter().fold(0, |sum, row| sum.wrapping_add(xxh3_64(row.as_ref()))))
}

/// Adds the columns that stand for one: a struct's fields, the digests of lists of numbers, or itself. What these hold,
/// as images and embeddings do, is large, and a general encoding of it far larger.
fn flatten(column: &ArrayRef, parent: Option<&NullBuffer>, flat: &mut Vec<ArrayRef>) {
    let nulls = NullBuffer::union(parent, column.nulls());
    match column.data_type() {
        DataType::Struct(_) => {
            let fields: &StructArray = column.as_struct();
            // A struct that is null is another one than a struct of nulls.
            let is_there = (0..column.len()).map(|row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
            flat.push(Arc::new(is_there.map(u64::from).collect::<UInt64Array>()));
            for field in fields.columns() {
                flatten(field, nulls.as_ref(), flat);
            }
        }
        DataType::List(_) => flat.push(list(column.as_list::<i32>(), column, nulls)),
        DataType::LargeList(_) => flat.push(list(column.as_list::<i64>(), column, nulls)),
        DataType::FixedSizeList(_, _) => flat.push(list(column.as_fixed_size_list(), column, nulls)),
        _ => flat.push(masked(column, nulls)),
    }
}

/// The column with these nulls: whatever lies below a null does not count.
fn masked(column: &ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    if nulls.as_ref() == column.nulls() {
        return column.clone();
    }
    let data = column.to_data().into_builder().nulls(nulls).build();
    data.map_or_else(|_| column.clone(), make_array)
}

/// The digests of a column of lists; if the elements are no numbers, the lists themselves.
fn list(lists: &impl ListLikeArray, column: &ArrayRef, nulls: Option<NullBuffer>) -> ArrayRef {
    let Some(width) = lists.values().data_type().primitive_width() else {
        return masked(column, nulls);
    };
    let data = lists.values().to_data();
    let is_there = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let digests = (0..lists.len()).map(|row| is_there(row).then(|| digest(&data, width, lists.element_range(row))));
    Arc::new(digests.collect::<UInt64Array>())
}

/// The digest of the elements of a list. Those that are null count as such, whatever lies below.
fn digest(data: &ArrayData, width: usize, elements: Range<usize>) -> u64 {
    let (first, last) = ((data.offset() + elements.start) * width, (data.offset() + elements.end) * width);
    let bytes = data.buffers()[0].get(first..last).unwrap_or_default();
    let is_null = |place: usize| data.nulls().is_some_and(|nulls| nulls.is_null(elements.start + place));
    if !(0..elements.len()).any(is_null) {
        return xxh3_64(bytes);
    }
    let mut known = bytes.to_vec();
    for (place, element) in known.chunks_exact_mut(width).enumerate() {
        if is_null(place) {
            element.fill(0);
        }
    }
    known.extend((0..elements.len()).map(|place| u8::from(is_null(place))));
    xxh3_64_with_seed(&known, 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        DictionaryArray, FixedSizeListArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray,
        types::{Int32Type, Int64Type, UInt8Type},
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

    fn lists(rows: Vec<Option<Vec<Option<u8>>>>) -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<UInt8Type, _, _>(rows))
    }

    fn image(pixels: ArrayRef, nulls: Option<NullBuffer>) -> PartitionData {
        let field = Arc::new(Field::new("data", pixels.data_type().clone(), true));
        partition(vec![("image", Arc::new(StructArray::new(vec![field].into(), vec![pixels], nulls)))])
    }

    #[test]
    fn lists_of_numbers_count_by_their_elements_wherever_they_lie() {
        let rows =
            vec![Some(vec![Some(1), Some(2)]), None, Some(vec![]), Some(vec![None, Some(0)]), Some(vec![Some(3)])];
        let of = |rows: &[Option<Vec<Option<u8>>>]| partition(vec![("l", lists(rows.to_vec()))]).fingerprint();
        let whole = of(&rows);
        let data = partition(vec![("l", lists(rows.clone()))]);
        assert!([1, 2, 3].iter().all(|length| in_batches(&data, *length).fingerprint() == whole));
        for (place, other) in [
            (0, Some(vec![Some(2), Some(1)])),
            (1, Some(vec![])),
            (2, Some(vec![None])),
            (3, Some(vec![Some(0), Some(0)])),
            (3, Some(vec![Some(0), None])),
            (4, Some(vec![Some(4)])),
        ] {
            let mut changed = rows.clone();
            changed[place] = other;
            assert_ne!(of(&changed), whole, "{changed:?}");
        }
    }

    #[test]
    fn what_lies_below_a_null_does_not_count() {
        let nulls = NullBuffer::from(vec![true, false]);
        let below = |hidden: u8| image(lists(vec![Some(vec![Some(1)]), Some(vec![Some(hidden)])]), Some(nulls.clone()));
        assert_eq!(below(2).fingerprint(), below(3).fingerprint());
        let shown = image(lists(vec![Some(vec![Some(1)]), None]), None);
        assert_ne!(below(2).fingerprint(), shown.fingerprint(), "a struct of nulls is no null");
    }

    #[test]
    fn an_embedding_counts_by_its_elements() {
        let of = |rows: Vec<Option<Vec<Option<i64>>>>| {
            let array: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(rows, 2));
            partition(vec![("e", array)])
        };
        let data = of(vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(3), None])]);
        assert_eq!(data.fingerprint(), in_batches(&data, 1).fingerprint());
        let other = of(vec![Some(vec![Some(1), Some(2)]), None, Some(vec![Some(4), None])]);
        assert_ne!(data.fingerprint(), other.fingerprint());
    }
}
