//! The numbers that the session decides by.

use std::time::Duration;

use crate::actors::{Resources, Share};
use crate::backoff::Backoff;
use crate::journal::JournalBounds;

/// The limits of all tries and waits. Every wait and every retry of the pool has its end here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The capacity of each worker, which its actors share.
    pub worker_resources: Resources,
    /// Tasks that a worker runs at the same time.
    pub slots_per_worker: u32,
    /// Tasks sent to a worker beyond its slots, so that it fetches their inputs while others run.
    pub queue_ahead: u32,
    /// A worker of an elastic pool that was idle for this long is released.
    pub idle_timeout: Duration,
    /// An elastic pool grows when its work is more than this percentage of the slots that are up or coming up.
    pub growth_threshold_percent: u32,
    /// The time between two rounds of growth; the work must be too much for as long before the first.
    pub growth_interval: Duration,
    /// The number of workers that one round of growth starts at most.
    pub growth_step: u32,
    /// The number of starts that may be under way before growth waits for them.
    pub max_pending_starts: u32,
    /// The wait between rounds of growth while starts fail; doubles with each round that failed.
    pub growth_backoff: Backoff,
    /// The longest that a launch may take until the worker has shaken hands.
    pub start_timeout: Duration,
    /// A worker that has not been heard for this long, and does not answer, is lost.
    pub unreachable_timeout: Duration,
    /// A worker that has not been heard for this long may be lost: readers of its partitions wait.
    pub suspect_timeout: Duration,
    /// The longest that news of a death may come after a socket broke.
    pub loss_news_grace: Duration,
    /// The number of attempts that a task may lose with its workers before it fails; at least 1.
    /// Sends that the worker refused do not count, nor do those that only waited there.
    pub max_task_attempts: u32,
    /// The number of these that may be lost to workers killed for their memory; at least 1.
    pub max_oom_attempts: u32,
    /// The number of times that one worker is started again within [`restart_window`](Self::restart_window) without
    /// running a task to its end in between.
    pub max_worker_restarts: u32,
    /// The sliding window over which restarts are counted.
    pub restart_window: Duration,
    /// The wait before a worker is started again; doubles with each restart in the window.
    pub restart_backoff: Backoff,
    /// The wait after a worker refused a task: the task waits that long before it is tried again, and
    /// the worker before it is offered any task.
    pub bounce_backoff: Backoff,
    /// The longest that refusals may keep a task back before it fails. Neither waits for room count, nor refusals by a
    /// worker that has other tasks, nor any time before the latest end of a task in the pool.
    pub bounce_limit: Duration,
    /// The longest that a cancelled task may go on before its worker counts as stuck, and is replaced where a task waits
    /// for its slot.
    pub cancel_patience: Duration,
    /// The same for a worker whose process holds partitions or actors, which are lost with it.
    pub cancel_patience_with_holds: Duration,
    /// The room for the session's history.
    pub journal: JournalBounds,
    /// The number of times that one task may be run again for outputs of it that were lost.
    pub max_recoveries_per_task: u32,
    /// The number of tasks, one after the other, that may be run again for one lost output.
    pub max_recovery_depth: u32,
    /// The number of times that tasks of one query may be run again for lost outputs.
    pub max_recoveries_per_query: u32,
    /// The bytes that the driver keeps for running tasks again; beyond this, it forgets the oldest. 0: it keeps nothing, and nothing is
    /// recomputed.
    pub lineage_limit_bytes: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            worker_resources: Resources { cpus: Share::ONE, gpus: Share::ZERO, memory_bytes: 1 << 30 },
            slots_per_worker: 1,
            queue_ahead: 1,
            idle_timeout: Duration::from_secs(120),
            growth_threshold_percent: 125,
            growth_interval: Duration::from_secs(1),
            growth_step: 10,
            max_pending_starts: 50,
            growth_backoff: Backoff::new(Duration::from_secs(2), Duration::from_secs(60)),
            start_timeout: Duration::from_secs(300),
            unreachable_timeout: Duration::from_secs(20),
            // A worker that lives answers the long poll within 2 s, give or take a moment.
            suspect_timeout: Duration::from_secs(3),
            loss_news_grace: Duration::from_secs(2),
            max_task_attempts: 4,
            max_oom_attempts: 2,
            max_worker_restarts: 5,
            restart_window: Duration::from_secs(600),
            restart_backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            bounce_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            bounce_limit: Duration::from_secs(120),
            cancel_patience: Duration::from_secs(10),
            cancel_patience_with_holds: Duration::from_secs(60),
            journal: JournalBounds::default(),
            max_recoveries_per_task: 8,
            max_recovery_depth: 64,
            max_recoveries_per_query: 100_000,
            lineage_limit_bytes: 256 << 20,
        }
    }
}

impl PoolConfig {
    /// The number of tasks that may be at one worker at the same time; at least 1.
    #[must_use]
    pub fn worker_capacity(&self) -> usize {
        (self.slots_per_worker as usize).saturating_add(self.queue_ahead as usize).max(1)
    }
}
