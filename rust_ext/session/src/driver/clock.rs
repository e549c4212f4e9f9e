//! The time of a session. Decisions are the core's, for which the time is an argument and each wait a timer.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use daft_k8s_core::Event;

use super::Inner;
use crate::caught;

/// The pause between two looks at which workers were heard and what is due.
const TICK: Duration = Duration::from_millis(50);

/// Counts the time since the session's start.
#[derive(Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Tells the core which workers were heard, and lets it act on what is due.
pub(super) async fn tick(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(panic) = caught(|| inner.tick()) {
            tracing::error!("the driver panicked while it did what was due: {panic}");
        }
    }
}

impl Inner {
    fn tick(self: &Arc<Self>) {
        let mut state = self.state.lock();
        if let Some(heard) = state.take_heard() {
            self.act(&mut state, heard, &mut None);
        }
        if state.is_anything_due(self.clock.now()) {
            self.act(&mut state, Event::Tick, &mut None);
        }
    }
}
