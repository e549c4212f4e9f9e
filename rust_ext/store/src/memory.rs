//! The level of memory in use, and the actions that follow from it. Pure, but for one reader of `/proc`.

use std::fmt;

/// Above this share, people are warned.
pub const WARN_RATIO: f64 = 0.70;
/// Above this share, partitions go to disk.
pub const SPILL_RATIO: f64 = 0.85;
/// Above this share, no further task should be taken.
pub const REFUSE_RATIO: f64 = 0.95;
/// Spilling goes on until the share is this low, a little below [`WARN_RATIO`], so that the next
/// output does not start it again.
pub const CALM_RATIO: f64 = 0.65;

/// The worker's behaviour at a given share of memory in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryLevel {
    /// Nothing.
    Normal,
    /// Says so.
    Warn,
    /// Moves partitions to disk.
    Spill,
    /// Moves partitions to disk, and takes no further task.
    Refuse,
}

impl MemoryLevel {
    /// The level at a share of memory in use (1.0 is all of it).
    pub fn of(ratio: f64) -> Self {
        if ratio >= REFUSE_RATIO {
            Self::Refuse
        } else if ratio >= SPILL_RATIO {
            Self::Spill
        } else if ratio >= WARN_RATIO {
            Self::Warn
        } else {
            Self::Normal
        }
    }

    /// The level to report after the one reported before. It rises at once, and falls only when the share is clear of
    /// the threshold, so that the log has no flicker.
    pub fn settled(previous: Self, ratio: f64) -> Self {
        let now = Self::of(ratio);
        if now >= previous { now } else { Self::of(ratio + 0.03).min(previous) }
    }
}

impl fmt::Display for MemoryLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::Spill => "spill",
            Self::Refuse => "refuse",
        })
    }
}

/// Memory in use, and its limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// Bytes of partitions that the store holds in memory.
    pub store_bytes: u64,
    /// Bytes that the store may hold; 0: no limit.
    pub store_memory_bytes: u64,
    /// Anonymous resident memory of the process (mapped files do not count).
    pub resident_bytes: u64,
    /// Bytes that the process may use; 0: no limit.
    pub worker_memory_bytes: u64,
}

impl MemoryUsage {
    /// The share in use of the store's memory.
    pub fn store_ratio(&self) -> f64 {
        ratio(self.store_bytes, self.store_memory_bytes)
    }

    /// The share in use of the process's memory.
    pub fn resident_ratio(&self) -> f64 {
        ratio(self.resident_bytes, self.worker_memory_bytes)
    }

    /// The larger of both shares.
    pub fn ratio(&self) -> f64 {
        self.store_ratio().max(self.resident_ratio())
    }

    /// The behaviour that follows.
    pub fn level(&self) -> MemoryLevel {
        MemoryLevel::of(self.ratio())
    }

    /// Bytes of the store above the calm share of its own memory.
    pub fn store_excess_bytes(&self) -> u64 {
        excess(self.store_bytes, self.store_memory_bytes)
    }

    /// Bytes of the process above the calm share of its memory.
    pub fn resident_excess_bytes(&self) -> u64 {
        excess(self.resident_bytes, self.worker_memory_bytes)
    }
}

fn ratio(used: u64, limit: u64) -> f64 {
    if limit == 0 { 0.0 } else { used as f64 / limit as f64 }
}

fn excess(used: u64, limit: u64) -> u64 {
    if limit == 0 { 0 } else { used.saturating_sub((limit as f64 * CALM_RATIO) as u64) }
}

/// The anonymous resident memory of this process, where the system tells it.
pub fn anonymous_resident_bytes() -> Option<u64> {
    parse_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_begin_at_their_thresholds() {
        let cases = [(0.0, MemoryLevel::Normal), (0.6999, MemoryLevel::Normal), (0.70, MemoryLevel::Warn)];
        let more = [
            (0.85, MemoryLevel::Spill),
            (0.9499, MemoryLevel::Spill),
            (0.95, MemoryLevel::Refuse),
            (7.0, MemoryLevel::Refuse),
        ];
        for (ratio, level) in cases.into_iter().chain(more) {
            assert_eq!(MemoryLevel::of(ratio), level, "at {ratio}");
        }
    }

    #[test]
    fn the_fuller_of_store_and_process_decides() {
        let usage =
            MemoryUsage { store_bytes: 10, store_memory_bytes: 100, resident_bytes: 90, worker_memory_bytes: 100 };
        assert_eq!(usage.level(), MemoryLevel::Spill);
        let usage = MemoryUsage { store_bytes: 96, resident_bytes: 10, ..usage };
        assert_eq!(usage.level(), MemoryLevel::Refuse);
        assert_eq!((usage.store_excess_bytes(), usage.resident_excess_bytes()), (31, 0));
        assert_eq!(MemoryUsage { store_memory_bytes: 0, ..usage }.level(), MemoryLevel::Normal);
    }

    #[test]
    fn a_reported_level_does_not_flicker_around_its_threshold() {
        let mut level = MemoryLevel::Normal;
        let mut changes = 0;
        for step in 0..100 {
            let next = MemoryLevel::settled(level, if step % 2 == 0 { 0.851 } else { 0.849 });
            changes += u32::from(next != level);
            level = next;
        }
        assert_eq!(changes, 1);
        assert_eq!(MemoryLevel::settled(level, 0.2), MemoryLevel::Normal);
    }

    #[test]
    fn the_anonymous_memory_is_read_from_the_status_file() {
        assert_eq!(parse_status("VmRSS:\t  99 kB\nRssAnon:\t    1234 kB\nRssFile: 5 kB\n"), Some(1234 * 1024));
        assert_eq!(parse_status("VmRSS:\t  99 kB\n"), None);
        assert!(anonymous_resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }

    proptest! {
        #[test]
        fn more_use_never_means_a_lower_level(a in 0.0..2.0f64, b in 0.0..2.0f64) {
            prop_assert!(MemoryLevel::of(a.max(b)) >= MemoryLevel::of(a.min(b)));
        }

        #[test]
        fn a_settled_level_lies_between_the_old_and_the_true_one(old in 0.0..1.2f64, now in 0.0..1.2f64) {
            let (old, true_level) = (MemoryLevel::of(old), MemoryLevel::of(now));
            let settled = MemoryLevel::settled(old, now);
            prop_assert!(settled >= true_level && settled <= old.max(true_level));
        }
    }
}
