//! Inputs that were spilled: damage is a loss that is told, trouble with the disk is not, and reading stops no other work.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use daft_k8s_session::driver::Partition;

use crate::fixture::{Session, Settings, TestWorker, numbers, rows, until};

/// Sessions whose workers spill everything.
fn spilling(workers: u32, slots: u32) -> (Session, Vec<TestWorker>) {
    Session::with_workers(Settings { workers, slots, store_memory_bytes: 1, ..Settings::default() })
}

/// A partition of this worker, on its disk.
fn spilled(session: &Session, worker: u32, at: &TestWorker, task: u64) -> (Partition, PathBuf) {
    let before = files(at);
    let ending = session.submit_to(worker, task, vec![]);
    // More than travels with the news of the task's end.
    at.finish(&at.next_run().key, [numbers(0..2000)]);
    let partition = ending.partitions().remove(0);
    until(|| files(at).len() > before.len(), "nothing was spilled");
    let path = files(at).into_iter().find(|path| !before.contains(path)).unwrap();
    until(|| at.worker.store().stats().store_bytes == 0, "the spill does not end");
    (partition, path)
}

fn files(at: &TestWorker) -> Vec<PathBuf> {
    fs::read_dir(at.spill.path().join("spill"))
        .map_or(vec![], |found| found.map(|entry| entry.unwrap().path()).collect())
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_changed_spill_file_is_a_lost_partition_that_is_named_with_its_worker_and_file() {
    let (session, workers) = spilling(2, 1);
    let (partition, path) = spilled(&session, 0, &workers[0], 1);
    flip(&path);
    for (reader, task) in [(0, 2), (1, 3)] {
        let message = session.submit_to(reader, task, vec![partition.clone()]).lost();
        for named in ["worker-0", "q/1.1:0", path.to_str().unwrap()] {
            assert!(message.contains(named), "{named} is not in: {message}");
        }
    }
    let message = session.fetch(&[partition]).unwrap_err();
    assert!(message.contains("Gone") && message.contains(path.to_str().unwrap()), "{message}");
}

#[test]
fn a_spill_file_that_cannot_be_read_for_a_while_is_read_again() {
    let (session, workers) = spilling(1, 1);
    let (partition, path) = spilled(&session, 0, &workers[0], 1);
    let aside = workers[0].spill.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let reader = session.submit(2, vec![partition]);
    until(|| workers[0].worker.unfinished_tasks() == 1, "the task does not come");
    until(|| workers[0].worker.unfinished_tasks() == 0, "the task has its input");
    fs::rename(&aside, &path).unwrap();
    let delivery = workers[0].next_run();
    assert_eq!(rows(&delivery.inputs[0].1), [2000]);
    workers[0].finish(&delivery.key, []);
    assert!(reader.partitions().is_empty());
}

#[test]
fn a_disk_that_answers_late_stops_no_other_work_of_its_worker() {
    let (session, workers) = spilling(1, 4);
    let spilled: Vec<_> = (1..=3).map(|task| spilled(&session, 0, &workers[0], task)).collect();
    for (_, path) in &spilled {
        // A pipe is opened only once something writes to it.
        fs::remove_file(path).unwrap();
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    let mut paths = Vec::new();
    let readers: Vec<_> = (11..)
        .zip(spilled)
        .map(|(task, (partition, path))| {
            paths.push(path);
            session.submit(task, vec![partition])
        })
        .collect();
    until(|| workers[0].worker.unfinished_tasks() == 3, "the tasks do not come");
    thread::sleep(Duration::from_millis(100));
    let other = session.submit(4, vec![]);
    let posted = workers[0].posted.recv_timeout(Duration::from_secs(5));
    for path in &paths {
        drop(fs::OpenOptions::new().write(true).open(path).unwrap());
    }
    let Ok(crate::fixture::Posted::Run(delivery)) = posted else { panic!("the control server waits for the disk") };
    workers[0].finish(&delivery.key, []);
    assert!(other.partitions().is_empty());
    readers.iter().for_each(|reader| assert!(reader.lost().contains("bytes")));
}
