//! The plans that a worker process was given.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

/// Hashes beyond this are forgotten, oldest first: such a plan is sent once more, should it be needed.
const REMEMBERED: usize = 4096;

/// Hashes of plans that need not be sent again.
#[derive(Debug, Default)]
pub(super) struct KnownPlans {
    hashes: HashSet<Bytes>,
    order: VecDeque<Bytes>,
}

impl KnownPlans {
    pub(super) fn contains(&self, hash: &Bytes) -> bool {
        self.hashes.contains(hash)
    }

    pub(super) fn insert(&mut self, hash: Bytes) {
        if self.hashes.insert(hash.clone()) {
            self.order.push_back(hash);
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.hashes.remove(&oldest);
            }
        }
    }

    /// The worker says that it does not have this plan (any more).
    pub(super) fn remove(&mut self, hash: &Bytes) {
        self.hashes.remove(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> Bytes {
        Bytes::from(number.to_string())
    }

    #[test]
    fn the_newest_plans_are_known_and_their_number_is_bounded() {
        let mut known = KnownPlans::default();
        (0..3 * REMEMBERED).for_each(|number| known.insert(hash(number)));
        assert!(known.hashes.len() <= REMEMBERED && known.order.len() <= REMEMBERED);
        assert!(known.contains(&hash(3 * REMEMBERED - 1)) && !known.contains(&hash(0)));
    }

    #[test]
    fn a_plan_that_a_worker_forgets_again_and_again_takes_no_more_room() {
        let mut known = KnownPlans::default();
        for _ in 0..3 * REMEMBERED {
            known.insert(hash(1));
            known.remove(&hash(1));
        }
        assert!(!known.contains(&hash(1)));
        assert!(known.order.len() <= REMEMBERED);
    }
}
