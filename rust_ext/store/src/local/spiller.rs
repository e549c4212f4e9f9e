//! Keeps the store within its memory: samples, reports, and moves partitions to disk.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{StoreConfig, index::Index, spill_file::SpillDir};
use crate::{MemoryLevel, MemoryUsage, Pressure, sys};

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// The pause of spilling after the disk has refused, so that spilling does not fail in a loop.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// From this much freed memory on it pays to make the allocator give it back.
const TRIM_BYTES: u64 = 64 << 20;
/// When the process (not the store) is short of memory, smaller partitions would not help.
const LEAST_WORTHWHILE_BYTES: u64 = 64 << 10;

/// Tells the anonymous memory of the process.
pub(super) type ResidentSource = Box<dyn Fn() -> Option<u64> + Send + Sync>;

pub(super) struct Spiller {
    pub(super) index: Mutex<Index>,
    pub(super) spill_dir: Arc<SpillDir>,
    config: StoreConfig,
    resident_source: ResidentSource,
    resident_bytes: AtomicU64,
    freed_bytes: AtomicU64,
    /// The time until which spilling rests. Locked by the one thread that spills.
    resting_until: Mutex<Option<Instant>>,
    wanted: Mutex<bool>,
    wake: Condvar,
    stopping: AtomicBool,
}

impl Spiller {
    pub(super) fn new(config: StoreConfig, resident_source: ResidentSource) -> Self {
        let spiller = Self {
            index: Mutex::default(),
            spill_dir: SpillDir::new(config.spill_dir.clone()),
            config,
            resident_source,
            resident_bytes: AtomicU64::new(0),
            freed_bytes: AtomicU64::new(0),
            resting_until: Mutex::new(None),
            wanted: Mutex::new(false),
            wake: Condvar::new(),
            stopping: AtomicBool::new(false),
        };
        spiller.sample();
        spiller
    }

    /// The body of the store's thread.
    pub(super) fn run(&self) {
        let mut reported = MemoryLevel::Normal;
        while !self.stopping.load(Ordering::Acquire) {
            // A thread that is gone would never spill again: the store would fill up.
            let idle = catch_unwind(AssertUnwindSafe(|| self.look(&mut reported))).unwrap_or(true);
            self.rest(idle);
        }
    }

    /// Samples, reports, spills and gives back what is due. True if nothing could be done about the memory.
    fn look(&self, reported: &mut MemoryLevel) -> bool {
        self.sample();
        *reported = self.report(*reported);
        let mut idle = false;
        if self.usage().level() >= MemoryLevel::Spill {
            idle = self.spill() == 0;
            *reported = self.report(*reported);
        }
        if self.freed_bytes.load(Ordering::Relaxed) >= TRIM_BYTES && self.usage().level() >= MemoryLevel::Warn {
            self.trim();
        }
        idle
    }

    /// Waits for the next sample; what is stored meanwhile ends the wait, unless the last look
    /// found that nothing can be done.
    fn rest(&self, idle: bool) {
        let deadline = Instant::now() + SAMPLE_INTERVAL;
        let mut wanted = self.wanted.lock();
        while (idle || !*wanted) && !self.stopping.load(Ordering::Acquire) {
            if self.wake.wait_until(&mut wanted, deadline).timed_out() {
                break;
            }
        }
        *wanted = false;
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.notify();
    }

    /// Ends all spilling; nothing is written any more once this returns.
    pub(super) fn stop_spilling(&self) {
        self.stop();
        drop(self.resting_until.lock());
    }

    fn notify(&self) {
        *self.wanted.lock() = true;
        self.wake.notify_one();
    }

    fn sample(&self) {
        if let Some(bytes) = (self.resident_source)() {
            self.resident_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn usage(&self) -> MemoryUsage {
        MemoryUsage {
            store_bytes: self.index.lock().counts().store_bytes,
            store_memory_bytes: self.config.store_memory_bytes,
            resident_bytes: self.resident_bytes.load(Ordering::Relaxed),
            worker_memory_bytes: self.config.worker_memory_bytes,
        }
    }

    fn report(&self, reported: MemoryLevel) -> MemoryLevel {
        let usage = self.usage();
        let level = MemoryLevel::settled(reported, usage.ratio());
        if level != reported {
            let text = format!(
                "memory level {reported} -> {level}: store {} of {}, process {} of {}",
                human(usage.store_bytes),
                limit(usage.store_memory_bytes),
                human(usage.resident_bytes),
                limit(usage.worker_memory_bytes),
            );
            let (store_bytes, resident_bytes) = (usage.store_bytes, usage.resident_bytes);
            if level > MemoryLevel::Normal {
                tracing::warn!(store_bytes, resident_bytes, "{text}");
            } else {
                tracing::info!(store_bytes, resident_bytes, "{text}");
            }
        }
        level
    }

    /// After something was stored: wakes the thread if memory runs short, and says if it has run out.
    pub(super) fn note_stored(&self) -> Pressure {
        if self.usage().level() >= MemoryLevel::Warn {
            self.sample();
        }
        match self.usage().level() {
            MemoryLevel::Refuse => return Pressure::OutOfMemory,
            MemoryLevel::Spill | MemoryLevel::Warn => self.notify(),
            MemoryLevel::Normal => {}
        }
        Pressure::None
    }

    /// Spills on the caller's thread, or waits for the thread that spills, if memory has run out.
    pub(super) fn relieve(&self) {
        if self.usage().level() >= MemoryLevel::Refuse {
            self.spill();
        }
    }

    /// Counts memory that was freed, so that it is given back once that is worth the effort.
    pub(super) fn freed(&self, bytes: u64) {
        self.freed_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn trim(&self) {
        self.freed_bytes.store(0, Ordering::Relaxed);
        sys::trim_heap();
        self.sample();
    }

    /// Moves partitions to disk until the memory is calm, nothing is left, or the disk refuses.
    /// Returns how many.
    fn spill(&self) -> usize {
        let mut resting_until = self.resting_until.lock();
        if resting_until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        *resting_until = None;
        let started = Instant::now();
        let (mut partitions, mut bytes) = (0_usize, 0_u64);
        while self.usage().level() >= MemoryLevel::Spill && !self.stopping.load(Ordering::Acquire) {
            match self.spill_round() {
                Ok(None) => {
                    // All that is left is too small to help the process: do not look again and again.
                    *resting_until = Some(Instant::now() + SAMPLE_INTERVAL);
                    break;
                }
                Ok(Some((round_partitions, round_bytes))) => {
                    partitions += round_partitions;
                    bytes += round_bytes;
                }
                Err(message) => {
                    *resting_until = Some(Instant::now() + REST_AFTER_FAILURE);
                    tracing::error!("{message}");
                    break;
                }
            }
        }
        drop(resting_until);
        if partitions > 0 {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(
                partitions,
                bytes,
                seconds,
                "spilled {partitions} partitions ({}) to {} in {seconds:.2} s",
                human(bytes),
                self.spill_dir.path().display()
            );
        }
        partitions
    }

    /// Spills what the last sample calls for. Returns how many partitions and bytes left memory;
    /// `None` if none may.
    fn spill_round(&self) -> Result<Option<(usize, u64)>, String> {
        let usage = self.usage();
        let (store_excess, resident_excess) = (usage.store_excess_bytes(), usage.resident_excess_bytes());
        let least = if store_excess >= resident_excess { 0 } else { LEAST_WORTHWHILE_BYTES };
        let victims = self.index.lock().victims(store_excess.max(resident_excess), least);
        if victims.is_empty() {
            return Ok(None);
        }
        let (mut partitions, mut bytes) = (0, 0);
        for victim in victims {
            if self.stopping.load(Ordering::Acquire) {
                break;
            }
            let file = self.spill_dir.write(&victim.ticket, &victim.data).map_err(|error| {
                let room = self.spill_dir.path().display();
                format!("cannot spill partition {}, it stays in memory: {error}; give {room} more room", victim.ticket)
            })?;
            let outcome = self.index.lock().spilled(&victim, file);
            if outcome.is_ok() {
                partitions += 1;
                bytes += victim.data.size_bytes;
            }
            drop(outcome);
            self.freed(victim.data.size_bytes);
            drop(victim);
            if self.freed_bytes.load(Ordering::Relaxed) >= TRIM_BYTES {
                self.trim();
            } else {
                self.sample();
            }
        }
        Ok(Some((partitions, bytes)))
    }
}

fn limit(bytes: u64) -> String {
    if bytes == 0 { "no limit".into() } else { human(bytes) }
}

fn human(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}
