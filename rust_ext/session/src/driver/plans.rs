//! Plans of the tasks that are not over; equal ones are kept once.

use std::collections::HashMap;

use bytes::Bytes;

/// Bodies by hash, with how many tasks have them.
#[derive(Debug, Default)]
pub(super) struct Plans {
    by_hash: HashMap<Bytes, (Bytes, usize)>,
}

impl Plans {
    /// The body that tasks with this plan share. Each call is to be followed by one of [`Self::release`].
    pub(super) fn share(&mut self, hash: &Bytes, body: &Bytes) -> Bytes {
        let (shared, tasks) = self.by_hash.entry(hash.clone()).or_insert_with(|| (body.clone(), 0));
        *tasks += 1;
        shared.clone()
    }

    pub(super) fn knows(&self, hash: &Bytes) -> bool {
        self.by_hash.contains_key(hash)
    }

    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(super) fn release(&mut self, hash: &Bytes) {
        if let Some((_, tasks)) = self.by_hash.get_mut(hash) {
            *tasks -= 1;
            if *tasks == 0 {
                self.by_hash.remove(hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_plans_are_kept_once_and_only_as_long_as_a_task_has_them() {
        let hash = Bytes::from_static(b"h");
        let mut plans = Plans::default();
        let first = plans.share(&hash, &Bytes::from(vec![1; 9]));
        let second = plans.share(&hash, &Bytes::from(vec![1; 9]));
        assert_eq!(first.as_ptr(), second.as_ptr());
        plans.release(&hash);
        assert_eq!(plans.share(&hash, &Bytes::from(vec![1; 9])).as_ptr(), first.as_ptr());
        plans.release(&hash);
        plans.release(&hash);
        assert!(plans.by_hash.is_empty());
    }
}
