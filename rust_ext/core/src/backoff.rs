//! Exponential back-off as a plain rule: how long to wait after the n-th failure in a row.

use std::time::Duration;

/// Waits that start at `initial` and double up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub initial: Duration,
    /// The longest wait; reached by doubling.
    pub max: Duration,
}

impl Backoff {
    /// A rule that starts at `initial` and never exceeds `max`.
    #[must_use]
    pub const fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max }
    }

    /// The wait after `earlier` failures have already been waited for: `initial * 2^earlier`, capped.
    #[must_use]
    pub fn delay(&self, earlier: u32) -> Duration {
        1u32.checked_shl(earlier)
            .and_then(|factor| self.initial.checked_mul(factor))
            .map_or(self.max, |delay| delay.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_the_cap() {
        let rule = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let waits: Vec<u128> = (0..8).map(|n| rule.delay(n).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_huge_number_of_failures_is_capped_and_does_not_overflow() {
        let rule = Backoff::new(Duration::from_secs(u64::MAX / 2), Duration::from_secs(9));
        assert_eq!(rule.delay(31), Duration::from_secs(9));
        assert_eq!(rule.delay(u32::MAX), Duration::from_secs(9));
    }
}
