//! The queries that pools of actors end with.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{ActorPoolId, QueryId};

/// Daft does not say for which query it starts a pool: that shows when a task of a query uses it.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// Queries that have begun and not ended.
    queries: BTreeSet<QueryId>,
    /// Pools that a task of the query has used.
    of_query: BTreeMap<QueryId, BTreeSet<ActorPoolId>>,
    /// Pools that no task has used, with the queries that they may belong to.
    candidates: BTreeMap<ActorPoolId, BTreeSet<QueryId>>,
}

impl Owners {
    /// A query begins, to which pools that start from now on may belong.
    pub fn begin(&mut self, query: QueryId) {
        self.queries.insert(query);
    }

    /// A pool starts. Until a task uses it, it may belong to any query that runs now.
    pub fn add(&mut self, pool: ActorPoolId) {
        self.candidates.insert(pool, self.queries.clone());
    }

    /// Tasks of a query use these pools. Returns false if the query is over: it was cancelled while Daft submitted the
    /// task, and nothing else would end the pools.
    pub fn bind(&mut self, query: &QueryId, pools: &[ActorPoolId]) -> bool {
        if !self.queries.contains(query) {
            return false;
        }
        for pool in pools {
            self.of_query.entry(query.clone()).or_default().insert(*pool);
            self.candidates.remove(pool);
        }
        true
    }

    /// A query has ended. Returns the pools that end with it, also those that no other query can want any more.
    pub fn end(&mut self, query: &QueryId) -> BTreeSet<ActorPoolId> {
        self.queries.remove(query);
        let mut ended = self.of_query.remove(query).unwrap_or_default();
        for (pool, candidates) in &mut self.candidates {
            candidates.remove(query);
            if candidates.is_empty() {
                ended.insert(*pool);
            }
        }
        ended
    }

    /// A pool has ended.
    pub fn remove(&mut self, pool: ActorPoolId) {
        self.candidates.remove(&pool);
        self.of_query.retain(|_, pools| {
            pools.remove(&pool);
            !pools.is_empty()
        });
    }

    /// The number of queries that have not ended.
    pub fn len(&self) -> usize {
        self.queries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: ActorPoolId = ActorPoolId(1);

    fn owners(queries: &[&str]) -> Owners {
        let mut owners = Owners::default();
        queries.iter().for_each(|query| owners.begin((*query).into()));
        owners.add(P);
        owners
    }

    #[test]
    fn a_pool_that_a_task_uses_ends_with_the_query_of_that_task() {
        let mut owners = owners(&["a", "b"]);
        assert!(owners.bind(&"a".into(), &[P]));
        assert!(owners.end(&"b".into()).is_empty());
        assert_eq!(owners.end(&"a".into()), [P].into());
        assert_eq!(owners.len(), 0);
    }

    #[test]
    fn a_pool_that_no_task_uses_ends_with_the_last_query_that_may_want_it() {
        let mut owners = owners(&["a", "b"]);
        owners.begin("later".into());
        assert!(owners.end(&"a".into()).is_empty());
        assert_eq!(owners.end(&"b".into()), [P].into());
    }

    #[test]
    fn a_query_that_is_over_owns_nothing() {
        let mut owners = owners(&["a", "b"]);
        assert!(owners.end(&"a".into()).is_empty());
        assert!(!owners.bind(&"a".into(), &[P]));
    }

    #[test]
    fn a_pool_that_has_ended_is_forgotten() {
        let mut owners = owners(&["a"]);
        assert!(owners.bind(&"a".into(), &[P]));
        owners.remove(P);
        assert!(owners.end(&"a".into()).is_empty());
    }
}
