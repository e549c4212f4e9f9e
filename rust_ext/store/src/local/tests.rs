#![allow(clippy::unwrap_used)]
//! Covers the store without a network: what is visible, what is accounted, when and how partitions
//! go to disk and come back. Not covered: a disk that fails half-way through a file.

use std::{
    collections::HashMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use arrow_array::{
    Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StructArray,
    types::Int8Type,
};
use arrow_schema::{DataType, Field, Schema};
use daft_k8s_testlog::Hook;
use parking_lot::Mutex;
use tracing::{Level, Metadata, subscriber::DefaultGuard};

use super::*;
use crate::MemoryLevel;

const MIB: u64 = 1 << 20;

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

struct Fixture {
    store: LocalStore,
    resident: Arc<AtomicU64>,
    lines: Lines,
    #[expect(dead_code, reason = "held for as long as lines are captured")]
    logged: DefaultGuard,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn spill_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("spill")
    }

    fn files(&self) -> usize {
        files_in(&self.spill_dir())
    }
}

fn files_in(path: &Path) -> usize {
    std::fs::read_dir(path).map_or(0, Iterator::count)
}

/// A store of `store_memory_bytes`, in a process whose memory is what the test says it is.
fn fixture(store_memory_bytes: u64, worker_memory_bytes: u64) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let resident = Arc::new(AtomicU64::new(0));
    let lines = Lines::default();
    let config = StoreConfig { store_memory_bytes, worker_memory_bytes, spill_dir: dir.path().join("spill") };
    let log = {
        let lines = lines.clone();
        Hook(move |metadata: &Metadata<'_>, text: &str| lines.lock().push((*metadata.level(), text.to_owned())))
    };
    let logged = tracing::subscriber::set_default(log);
    let source: ResidentSource = {
        let resident = resident.clone();
        Box::new(move || Some(resident.load(Ordering::Relaxed)))
    };
    let store = LocalStore::with_resident_source(config, source).unwrap();
    Fixture { store, resident, lines, dir, logged }
}

fn numbers(bytes: u64, first: i64) -> PartitionData {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + (bytes / 8) as i64));
    partition(vec![RecordBatch::try_from_iter([("number", column)]).unwrap()])
}

fn partition(batches: Vec<RecordBatch>) -> PartitionData {
    PartitionData::try_new(batches[0].schema(), batches).unwrap()
}

fn assert_same(left: &PartitionData, right: &PartitionData) {
    assert_eq!(left.schema, right.schema);
    assert_eq!(left.batches, right.batches);
    assert_eq!((left.num_rows, left.size_bytes), (right.num_rows, right.size_bytes));
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn outputs_of_a_task_are_found_by_slot_until_they_are_dropped() {
    let Fixture { store, .. } = fixture(0, 0);
    let parts = [numbers(80, 0), numbers(800, 10), numbers(8, 5)];
    store.publish("q/1.0", parts.to_vec());
    for (slot, part) in parts.iter().enumerate() {
        assert_same(&store.get(&Ticket::new("q/1.0", slot as u32)).unwrap(), part);
    }
    let missing = Ticket::new("q/1.0", 3);
    assert!(matches!(store.get(&missing), Err(StoreError::NotFound(ticket)) if ticket == missing));

    store.drop_tickets(&[Ticket::new("q/1.0", 1), missing, Ticket::new("q/1.1", 0)]);
    assert!(store.look_up(&Ticket::new("q/1.0", 1)).is_err());
    assert!(store.look_up(&Ticket::new("q/1.0", 2)).is_ok());
    assert_eq!((store.stats().partitions, store.stats().store_bytes), (2, 88));

    store.drop_task("q/1.0");
    assert_eq!((store.stats().partitions, store.stats().store_bytes), (0, 0));
}

#[test]
fn publishing_again_replaces_and_putting_adds() {
    let Fixture { store, .. } = fixture(0, 0);
    store.publish("t", vec![numbers(80, 0), numbers(80, 0)]);
    store.publish("t", vec![numbers(8, 7)]);
    store.put(&Ticket::new("t", 4_000_000_000), numbers(16, 0));
    store.put(&Ticket::new("t", 4_000_000_000), numbers(24, 0));
    assert_eq!((store.stats().partitions, store.stats().store_bytes), (2, 32));
}

#[test]
fn slices_of_one_parent_fit_where_the_parent_fits() {
    let Fixture { store, .. } = fixture(16 * MIB, 0);
    let parent = numbers(8 * MIB, 0);
    let slices = (0..64).map(|part| partition(vec![parent.batches[0].slice(part * 16_384, 16_384)])).collect();
    store.publish("t", slices);
    assert_eq!(store.stats().store_bytes, 8 * MIB);
    assert_eq!(store.stats().level, MemoryLevel::Normal);
}

#[test]
fn publishing_more_than_fits_returns_within_budget_and_loses_nothing() {
    let fixture = fixture(8 * MIB, 0);
    let store = &fixture.store;
    for task in 0..20 {
        store.publish(&format!("t{task}"), vec![numbers(MIB, task), numbers(MIB, -task)]);
        assert!(store.stats().store_bytes < 8 * MIB, "over budget after task {task}");
    }
    let stats = store.stats();
    assert_eq!(stats.partitions, 40);
    // It goes on spilling to below the budget by itself.
    eventually("a file for each spilled partition", || store.stats().spilled_partitions == fixture.files());
    assert_eq!(stats.store_bytes + stats.spilled_bytes, 40 * MIB);
    for task in 0..20 {
        assert_same(&store.get(&Ticket::new(format!("t{task}"), 0)).unwrap(), &numbers(MIB, task));
        assert_same(&store.get(&Ticket::new(format!("t{task}"), 1)).unwrap(), &numbers(MIB, -task));
    }
}

#[test]
fn one_partition_larger_than_the_store_goes_to_disk_at_once() {
    let fixture = fixture(MIB, 0);
    fixture.store.publish("t", vec![numbers(4 * MIB, 3)]);
    assert_eq!((fixture.store.stats().store_bytes, fixture.files()), (0, 1));
    assert_same(&fixture.store.get(&Ticket::new("t", 0)).unwrap(), &numbers(4 * MIB, 3));
}

#[test]
fn many_publishers_at_once_keep_the_budget_too() {
    let fixture = fixture(8 * MIB, 0);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let store = &fixture.store;
            scope.spawn(move || {
                for task in 0..10 {
                    store.publish(&format!("{worker}/{task}"), vec![numbers(MIB, task)]);
                    if task % 3 == 0 {
                        store.drop_task(&format!("{worker}/{task}"));
                    }
                }
            });
        }
    });
    let stats = fixture.store.stats();
    assert!(stats.store_bytes < 8 * MIB);
    assert_eq!((stats.partitions, stats.store_bytes + stats.spilled_bytes), (24, 24 * MIB));
    eventually("a file for each spilled partition", || fixture.store.stats().spilled_partitions == fixture.files());
}

#[test]
fn the_thread_spills_before_the_store_is_full() {
    let fixture = fixture(10 * MIB, 0);
    fixture.store.publish("t", (0..9).map(|number| numbers(MIB, number)).collect());
    eventually("back under 70 %", || fixture.store.stats().store_bytes <= 7 * MIB);
    assert!(fixture.store.stats().spilled_partitions >= 2);
    eventually("the spill was reported", || {
        let lines = fixture.lines.lock();
        lines.iter().any(|(_, text)| text.starts_with("spilled "))
            && lines.iter().any(|(_, text)| text.contains("-> normal"))
    });
    assert!(fixture.lines.lock().iter().any(|(level, text)| *level == Level::WARN && text.contains("normal -> spill")));
}

#[test]
fn a_log_that_panics_does_not_end_the_spilling() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { store_memory_bytes: 8 * MIB, worker_memory_bytes: 0, spill_dir: dir.path().join("s") };
    let log = Hook(|_: &Metadata<'_>, text: &str| assert!(!text.starts_with("spilled"), "the log trips"));
    let _logged = tracing::subscriber::set_default(log);
    let store = LocalStore::with_resident_source(config, Box::new(|| None)).unwrap();
    for task in ["a", "b"] {
        // Between the share at which the thread spills and that at which the caller has to.
        store.publish(task, vec![numbers(7 * MIB, 0), numbers(MIB / 64, 0)]);
        eventually("the thread has spilled", || store.stats().store_bytes < MIB);
    }
}

#[test]
fn storing_never_waits_for_the_disk_and_says_that_memory_has_run_out() {
    let fixture = fixture(MIB, 0);
    assert_eq!(fixture.store.insert("small", vec![numbers(MIB / 4, 0)]), Pressure::None);
    assert_eq!(fixture.store.insert("large", vec![numbers(4 * MIB, 0)]), Pressure::OutOfMemory);
    assert!(fixture.store.look_up(&Ticket::new("large", 0)).is_ok());
    fixture.store.relieve();
    assert!(fixture.store.stats().store_bytes <= MIB / 4);
}

#[test]
fn the_largest_go_first_and_among_equals_the_oldest() {
    let fixture = fixture(10 * MIB, 0);
    fixture.store.publish("small", vec![numbers(MIB / 64, 0)]);
    fixture.store.publish("old", vec![numbers(3 * MIB, 0)]);
    fixture.store.publish("young", vec![numbers(3 * MIB, 0)]);
    fixture.store.publish("youngest", vec![numbers(3 * MIB, 0)]);
    eventually("something was spilled", || fixture.store.stats().spilled_partitions > 0);
    let in_memory = |task: &str| matches!(fixture.store.look_up(&Ticket::new(task, 0)).unwrap(), Found::Memory(_));
    assert_eq!((in_memory("small"), in_memory("old"), in_memory("youngest")), (true, false, true));
}

#[test]
fn a_process_short_of_memory_spills_although_the_store_is_small() {
    let fixture = fixture(1000 * MIB, 1000 * MIB);
    fixture.store.publish("t", vec![numbers(4 * MIB, 0), numbers(64, 0)]);
    assert_eq!(fixture.store.stats().level, MemoryLevel::Normal);
    fixture.resident.store(960 * MIB, Ordering::Relaxed);
    eventually("the large partition is on disk", || fixture.store.stats().spilled_partitions == 1);
    assert_eq!(fixture.store.stats().level, MemoryLevel::Refuse);
    assert_eq!(fixture.store.stats().store_bytes, 64);
    fixture.resident.store(100 * MIB, Ordering::Relaxed);
    eventually("calm again", || fixture.store.stats().level == MemoryLevel::Normal);
}

#[test]
fn a_process_out_of_memory_holds_back_who_publishes() {
    let fixture = fixture(0, 100 * MIB);
    fixture.resident.store(200 * MIB, Ordering::Relaxed);
    eventually("the sample was taken", || fixture.store.stats().level == MemoryLevel::Refuse);
    eventually("a partition is on disk when its publication returns", || {
        fixture.store.publish("t", vec![numbers(MIB, 0)]);
        fixture.store.stats().store_bytes == 0
    });
}

#[test]
fn every_shape_comes_back_from_disk_as_it_was_and_in_place() {
    let strings: ArrayRef = Arc::new(StringArray::from_iter((0..5000).map(|n| (n % 7 != 0).then(|| format!("é{n}")))));
    let words: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(
        (0..5000).map(|n| (n % 3 != 0).then_some(["a", "b", "c"][n % 3])),
    ));
    let others: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter((0..5000).map(|n| Some(["x", "y"][n % 2]))));
    let extension = HashMap::from([("ARROW:extension:name".to_owned(), "daft.x".to_owned())]);
    let fields =
        |array: &ArrayRef| vec![Field::new("w", array.data_type().clone(), true).with_metadata(extension.clone())];
    let schema = Arc::new(Schema::new_with_metadata(
        vec![
            Field::new("nested", DataType::Struct(fields(&words).into()), true),
            Field::new("text", DataType::Utf8, true),
        ],
        HashMap::from([("owner".to_owned(), "us".to_owned())]),
    ));
    let batch = |words: &ArrayRef| {
        let nested: ArrayRef = Arc::new(StructArray::new(fields(words).into(), vec![words.clone()], None));
        RecordBatch::try_new(schema.clone(), vec![nested, strings.clone()]).unwrap()
    };
    // The second batch has another dictionary, the third is a slice, the fourth has no rows.
    let batches = vec![batch(&words), batch(&others), batch(&words).slice(13, 1001), batch(&words).slice(0, 0)];
    let no_columns = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(77));
    let counted = RecordBatch::try_new_with_options(no_columns.clone(), vec![], &options).unwrap();
    let partitions = vec![
        PartitionData::try_new(schema.clone(), batches).unwrap(),
        PartitionData::try_new(schema.clone(), vec![]).unwrap(),
        PartitionData::try_new(no_columns.clone(), vec![counted]).unwrap(),
        PartitionData::try_new(no_columns, vec![]).unwrap(),
    ];
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = spill_file::SpillDir::new(dir.path().join("spill"));
    for partition in partitions {
        let file = spill_dir.write(&Ticket::new("t", 0), &partition).unwrap();
        let back = file.map().unwrap();
        assert_same(&back, &partition);
        drop(file);
        assert_eq!(files_in(spill_dir.path()), 0);
        // What is mapped outlives its file.
        assert_same(&back, &partition);
    }
    assert!(spill_dir.path().is_dir());
    drop(spill_dir);
    assert!(!dir.path().join("spill").exists());
}

#[test]
fn mapped_values_are_aligned_and_share_the_mapping() {
    let dir = tempfile::tempdir().unwrap();
    let spill_dir = spill_file::SpillDir::new(dir.path().to_owned());
    let back = spill_dir.write(&Ticket::new("t", 0), &numbers(MIB, 0)).unwrap().map().unwrap();
    let data = back.batches[0].column(0).to_data();
    let buffer = &data.buffers()[0];
    assert_eq!(buffer.as_ptr() as usize % 64, 0);
    assert!(buffer.ptr_offset() > 0, "the values were copied out of the file's mapping");
}

#[test]
fn files_go_with_their_partitions_and_the_directory_with_the_store() {
    let fixture = fixture(MIB, 0);
    let store = &fixture.store;
    store.publish("a", vec![numbers(4 * MIB, 0), numbers(4 * MIB, 0)]);
    store.publish("b", vec![numbers(4 * MIB, 0)]);
    assert_eq!(fixture.files(), 3);
    store.drop_tickets(&[Ticket::new("a", 1)]);
    assert_eq!(fixture.files(), 2);
    store.drop_task("b");
    assert_eq!(fixture.files(), 1);
    let held = store.get(&Ticket::new("a", 0)).unwrap();
    store.clear();
    assert!(!fixture.spill_dir().exists());
    assert_eq!(store.stats().spilled_bytes, 0);
    store.publish("c", vec![numbers(4 * MIB, 0)]);
    assert_eq!(fixture.files(), 1);
    let Fixture { store, dir, .. } = fixture;
    drop(store);
    assert!(!dir.path().join("spill").exists());
    assert_same(&held, &numbers(4 * MIB, 0));
}

#[test]
fn a_disk_that_refuses_is_reported_once_and_partitions_stay_in_memory() {
    let fixture = fixture(MIB, 0);
    std::fs::write(fixture.spill_dir(), "a file stands where the directory should be").unwrap();
    for task in 0..5 {
        fixture.store.publish(&format!("t{task}"), vec![numbers(4 * MIB, task)]);
    }
    for task in 0..5 {
        assert_same(&fixture.store.get(&Ticket::new(format!("t{task}"), 0)).unwrap(), &numbers(4 * MIB, task));
    }
    assert_eq!(fixture.store.stats().level, MemoryLevel::Refuse);
    let errors = fixture.lines.lock().iter().filter(|(level, _)| *level == Level::ERROR).count();
    assert_eq!(errors, 1);
}

#[test]
fn a_closed_store_writes_no_file_any_more() {
    let fixture = fixture(MIB, 0);
    fixture.store.publish("a", vec![numbers(4 * MIB, 0)]);
    assert_eq!(fixture.files(), 1);
    fixture.store.close();
    fixture.store.publish("b", vec![numbers(4 * MIB, 1)]);
    assert!(!fixture.spill_dir().exists());
    assert_same(&fixture.store.get(&Ticket::new("b", 0)).unwrap(), &numbers(4 * MIB, 1));
}

#[test]
fn a_stale_file_of_a_killed_process_is_left_alone() {
    let fixture = fixture(MIB, 0);
    std::fs::create_dir(fixture.spill_dir()).unwrap();
    std::fs::write(fixture.spill_dir().join("0.arrows"), "stale").unwrap();
    fixture.store.publish("t", vec![numbers(4 * MIB, 1)]);
    assert_same(&fixture.store.get(&Ticket::new("t", 0)).unwrap(), &numbers(4 * MIB, 1));
    assert_eq!(std::fs::read(fixture.spill_dir().join("0.arrows")).unwrap(), b"stale");
}

/// A store with one spilled partition of dictionaries, texts and nulls, under the ticket "t:0".
fn with_spilled(rows: usize) -> (Fixture, Ticket, PartitionData, std::path::PathBuf) {
    let fixture = fixture(1, 0);
    let words: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::from_iter(
        (0..rows).map(|n| (n % 3 != 0).then_some(["a", "b", "c"][n % 3])),
    ));
    let texts: ArrayRef = Arc::new(StringArray::from_iter((0..rows).map(|n| (n % 7 != 0).then(|| format!("é{n}")))));
    let batch = RecordBatch::try_from_iter([("word", words), ("text", texts)]).unwrap();
    let data = partition(vec![batch.clone(), batch.slice(0, rows / 2)]);
    fixture.store.publish("t", vec![data.clone()]);
    let path = std::fs::read_dir(fixture.spill_dir()).unwrap().next().unwrap().unwrap().path();
    (fixture, Ticket::new("t", 0), data, path)
}

fn assert_lost(found: Result<PartitionData, StoreError>, path: &Path, what: &str) {
    let error = found.expect_err(what);
    let text = error.to_string();
    assert!(error.is_final(), "{what}: {text}");
    assert!(text.contains("t:0") && text.contains(path.to_str().unwrap()), "{what}: {text}");
}

#[test]
fn a_spill_file_with_any_byte_flipped_is_a_lost_partition() {
    let (fixture, ticket, data, path) = with_spilled(40);
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(&path, &damaged).unwrap();
        assert_lost(fixture.store.get(&ticket), &path, &format!("byte {at} of {}", sound.len()));
    }
    for length in [0, 1, 8, sound.len() / 2, sound.len() - 8, sound.len() - 1] {
        std::fs::write(&path, &sound[..length]).unwrap();
        assert_lost(fixture.store.get(&ticket), &path, &format!("cut at {length}"));
    }
    std::fs::write(&path, [&sound[..], &[0; 8]].concat()).unwrap();
    assert_lost(fixture.store.get(&ticket), &path, "longer");
    std::fs::write(&path, &sound).unwrap();
    assert_same(&fixture.store.get(&ticket).unwrap(), &data);
    std::fs::remove_file(&path).unwrap();
    assert_lost(fixture.store.get(&ticket), &path, "deleted");
}

#[test]
fn a_mapped_spill_file_with_a_flipped_byte_is_a_lost_partition() {
    let (fixture, ticket, data, path) = with_spilled(300_000);
    let sound = std::fs::read(&path).unwrap();
    assert!(sound.len() > 3 << 20);
    for at in [0, 4, 100, 5000, (1 << 20) - 1, 1 << 20, sound.len() / 2, sound.len() - 9, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        std::fs::write(&path, &damaged).unwrap();
        assert_lost(fixture.store.get(&ticket), &path, &format!("byte {at} of {}", sound.len()));
    }
    std::fs::write(&path, &sound).unwrap();
    assert_same(&fixture.store.get(&ticket).unwrap(), &data);
}

#[test]
fn a_spill_file_that_cannot_be_read_for_a_moment_is_no_loss() {
    let (fixture, ticket, data, path) = with_spilled(40);
    let aside = path.with_extension("aside");
    let break_file = || {
        std::fs::rename(&path, &aside).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
    };
    let mend_file = || std::fs::rename(&aside, &path).unwrap();
    break_file();
    let error = fixture.store.get(&ticket).unwrap_err();
    assert!(!error.is_final(), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    mend_file();
    assert_same(&fixture.store.get(&ticket).unwrap(), &data);
    break_file();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| fixture.store.get(&ticket));
        std::thread::sleep(Duration::from_millis(50));
        mend_file();
        assert_same(&reader.join().unwrap().unwrap(), &data);
    });
}
