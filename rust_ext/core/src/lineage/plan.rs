//! The plan of a recovery: the tasks that have to run again for lost slots, parents first.

use std::collections::{BTreeSet, HashMap};

use super::{Determinism, Lineage, Obstacle, Record};
use crate::PoolConfig;
use crate::ids::{QueryId, SlotId, TaskId};
use crate::slots::{Location, Slots};

/// A plan in the making.
struct Draft<'a> {
    lineage: &'a Lineage,
    slots: &'a Slots,
    config: &'a PoolConfig,
    visited: BTreeSet<TaskId>,
    /// Parents before their children.
    order: Vec<TaskId>,
    /// The tasks of each query that would have been run again.
    reruns: HashMap<&'a QueryId, u32>,
}

impl Lineage {
    /// The tasks that have to be run again for these lost slots, besides those that run again already.
    pub fn plan(&self, slots: &Slots, lost: &[SlotId], config: &PoolConfig) -> Result<Vec<TaskId>, Obstacle> {
        if config.lineage_limit_bytes == 0 {
            return Err(Obstacle::SwitchedOff);
        }
        let (visited, order, reruns) = (BTreeSet::new(), Vec::new(), HashMap::new());
        let mut draft = Draft { lineage: self, slots, config, visited, order, reruns };
        for slot in lost {
            draft.visit(slot.task, 1)?;
        }
        Ok(draft.order)
    }
}

impl Draft<'_> {
    /// Adds a task, after what it needs. The depth is bounded by the configuration.
    fn visit(&mut self, task: TaskId, depth: u32) -> Result<(), Obstacle> {
        if !self.visited.insert(task) {
            return Ok(());
        }
        let record = self.lineage.records.get(&task).ok_or(Obstacle::NoRecord)?;
        if record.is_running() {
            return Ok(());
        }
        if depth > self.config.max_recovery_depth {
            return Err(Obstacle::TooDeep(self.config.max_recovery_depth));
        }
        check(record, self.config)?;
        let query = &record.origin.query;
        let before = self.lineage.queries.get(query).map_or(0, |tally| tally.reruns);
        let reruns = self.reruns.entry(query).or_insert(before);
        *reruns += 1;
        if *reruns > self.config.max_recoveries_per_query {
            return Err(Obstacle::TooMany(self.config.max_recoveries_per_query));
        }
        for input in &*record.origin.inputs {
            // One that was dropped is needed again.
            if !matches!(self.slots.location(*input), Some(Location::At(_))) {
                self.visit(input.task, depth + 1)?;
            }
        }
        self.order.push(task);
        Ok(())
    }
}

fn check(record: &Record, config: &PoolConfig) -> Result<(), Obstacle> {
    if let Some(obstacle) = &record.spoilt {
        return Err(obstacle.clone());
    }
    if record.origin.determinism != Determinism::Deterministic && record.fingerprints.is_none() {
        return Err(Obstacle::OrderDependent);
    }
    if record.run.0 >= config.max_recoveries_per_task {
        return Err(Obstacle::TooOften(record.run.0));
    }
    Ok(())
}
