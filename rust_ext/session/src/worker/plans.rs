//! Plans by content hash, so that a plan shared by many tasks travels once.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// Plans beyond this are forgotten, oldest first; the driver sends a forgotten one again when asked.
const CAPACITY_BYTES: usize = 64 << 20;

/// A bounded cache of pickled plans.
#[derive(Debug, Default)]
pub(super) struct Plans {
    by_hash: HashMap<Bytes, Bytes>,
    order: VecDeque<Bytes>,
    bytes: usize,
}

impl Plans {
    pub(super) fn insert(&mut self, hash: Bytes, body: Bytes) {
        self.bytes += body.len();
        if let Some(old) = self.by_hash.insert(hash.clone(), body) {
            self.bytes -= old.len();
            return;
        }
        self.order.push_back(hash);
        while self.bytes > CAPACITY_BYTES && self.order.len() > 1 {
            if let Some(body) = self.order.pop_front().and_then(|oldest| self.by_hash.remove(&oldest)) {
                self.bytes -= body.len();
            }
        }
    }

    pub(super) fn get(&self, hash: &Bytes) -> Option<Bytes> {
        self.by_hash.get(hash).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_found_by_its_hash() {
        let mut plans = Plans::default();
        plans.insert(Bytes::from_static(b"h"), Bytes::from_static(b"plan"));
        assert_eq!(plans.get(&Bytes::from_static(b"h")), Some(Bytes::from_static(b"plan")));
        assert_eq!(plans.get(&Bytes::from_static(b"x")), None);
    }

    #[test]
    fn the_oldest_plans_are_forgotten_first_and_the_newest_always_stays() {
        let mut plans = Plans::default();
        let body = Bytes::from(vec![0; CAPACITY_BYTES / 2 + 1]);
        for hash in [&b"1"[..], b"2", b"3"] {
            plans.insert(Bytes::from_static(hash), body.clone());
        }
        assert!(plans.get(&Bytes::from_static(b"1")).is_none());
        assert!(plans.get(&Bytes::from_static(b"3")).is_some());
        assert!(plans.bytes <= body.len());
    }
}
