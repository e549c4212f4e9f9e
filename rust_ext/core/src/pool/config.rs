//! The numbers that the pool decides by.

use std::time::Duration;

use crate::backoff::Backoff;

/// How often and how long the pool tries. Every wait and every retry of the pool has its end here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Tasks that a worker runs at the same time.
    pub slots_per_worker: u32,
    /// Tasks sent to a worker beyond its slots, so that it fetches their inputs while others run.
    pub queue_ahead: u32,
    /// The longest that a launch may take until the worker has shaken hands.
    pub start_timeout: Duration,
    /// How many attempts of a task may be lost with their workers before it fails; at least 1.
    /// Sends that the worker refused do not count, nor do those that only waited there.
    pub max_task_attempts: u32,
    /// How many of these may be lost to workers that were killed for their memory; at least 1.
    pub max_oom_attempts: u32,
    /// How often one worker is started again within [`restart_window`](Self::restart_window) without
    /// running a task to its end in between.
    pub max_worker_restarts: u32,
    /// The sliding window over which restarts are counted.
    pub restart_window: Duration,
    /// The wait before a worker is started again; doubles with each restart in the window.
    pub restart_backoff: Backoff,
    /// The wait after a worker refused a task: the task waits that long before it is tried again, and
    /// the worker before it is offered any task.
    pub bounce_backoff: Backoff,
    /// How long a task may be kept back by refusals (waits for room do not count) before it fails.
    pub bounce_limit: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            slots_per_worker: 1,
            queue_ahead: 1,
            start_timeout: Duration::from_secs(300),
            max_task_attempts: 4,
            max_oom_attempts: 2,
            max_worker_restarts: 5,
            restart_window: Duration::from_secs(600),
            restart_backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            bounce_backoff: Backoff::new(Duration::from_millis(50), Duration::from_secs(2)),
            bounce_limit: Duration::from_secs(120),
        }
    }
}

impl PoolConfig {
    /// How many tasks may be at one worker at the same time; at least 1.
    #[must_use]
    pub fn worker_capacity(&self) -> usize {
        (self.slots_per_worker as usize).saturating_add(self.queue_ahead as usize).max(1)
    }
}
