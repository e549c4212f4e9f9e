//! The ids that driver and workers speak of, as newtypes with one text form each.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use get_size2::GetSize;

/// A text that is not the id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not of the form `worker-<number>`.
    #[error("{0:?} is not a worker id; expected worker-<number>, e.g. worker-0")]
    Worker(String),
    /// Not of the form `<query>/<task>.<attempt>`.
    #[error("{0:?} is not a task key; expected <query>/<task>.<attempt>, e.g. q1/7.1")]
    TaskKey(String),
    /// Not of the form `pool-<number>`.
    #[error("{0:?} is not the id of a pool of actors; expected pool-<number>, e.g. pool-1")]
    ActorPool(String),
    /// Not of the form `pool-<number>/<number>`.
    #[error("{0:?} is not the id of an actor; expected pool-<number>/<number>, e.g. pool-1/0")]
    Actor(String),
}

/// A logical worker, `worker-<n>`. It outlives the processes that stand behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct WorkerId(pub u32);

impl WorkerId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker-{}", self.0)
    }
}

impl FromStr for WorkerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("worker-")
            .and_then(canonical_number)
            .and_then(|number| u32::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| IdError::Worker(text.to_owned()))
    }
}

/// Counts the processes behind one logical worker; the first is 1. Never used twice for a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct LaunchId(pub u64);

impl fmt::Display for LaunchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A task of the driver session, numbered by the driver. Never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct TaskId(pub u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A query, as its tasks name it; unique in the session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct QueryId(Arc<str>);

impl From<&str> for QueryId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One output of a task, by its position, or a partition that the driver made. Unique in the session, whichever
/// attempt published it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct SlotId {
    /// The task that makes the partition.
    pub task: TaskId,
    /// The position among the task's outputs.
    pub slot: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.task, self.slot)
    }
}

/// A fetch of partitions to the driver, numbered by the driver. Never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct FetchId(pub u64);

/// A pool of actors, numbered by the driver. Never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct ActorPoolId(pub u64);

impl fmt::Display for ActorPoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool-{}", self.0)
    }
}

impl FromStr for ActorPoolId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = text.strip_prefix("pool-").and_then(canonical_number);
        number.map(Self).ok_or_else(|| IdError::ActorPool(text.to_owned()))
    }
}

/// One actor of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct ActorId {
    /// Its pool.
    pub pool: ActorPoolId,
    /// Its number in the pool.
    pub number: u32,
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pool, self.number)
    }
}

impl FromStr for ActorId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = text.split_once('/').and_then(|(pool, number)| {
            let number = canonical_number(number).and_then(|number| u32::try_from(number).ok())?;
            Some(Self { pool: pool.parse().ok()?, number })
        });
        parts.ok_or_else(|| IdError::Actor(text.to_owned()))
    }
}

/// A call of an actor that looks for its place, numbered by the driver. Never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct RouteId(pub u64);

/// Numbers the sends of one task; the first is 1. News of any but the latest is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The number of a task's first send.
    pub const FIRST: Self = Self(1);

    /// The number of the send after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts the runs of a task: 0 is the one that its owner was told of, each later one recomputes outputs that were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct Run(pub u32);

impl Run {
    /// The run that the task's owner was told of.
    pub const FIRST: Self = Self(0);

    /// The run after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The attempt that made the data of a slot; attempts count anew in each run of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct Generation {
    /// The run of the task.
    pub run: Run,
    /// The attempt of that run.
    pub attempt: Attempt,
}

impl Generation {
    /// The generation of an attempt of the first run.
    #[must_use]
    pub const fn first(attempt: Attempt) -> Self {
        Self { run: Run::FIRST, attempt }
    }
}

/// The UUID that a worker process makes at start; a changed one means that the old process is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, GetSize)]
pub struct Incarnation(Arc<str>);

impl Incarnation {
    /// The id as the worker reported it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Incarnation {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Incarnation {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One attempt of one task as driver and worker name it on the wire: `<query>/<task>.<attempt>`.
///
/// `task` is the number within the query. The query id is not empty; it may hold `/` and `.`, the
/// last of each separates. Text and key map one to one: `007` or `+7` is not a number here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// The query that the task belongs to.
    pub query: String,
    /// The task's number within its query.
    pub task: u64,
    /// The number of the send.
    pub attempt: Attempt,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.query, self.task, self.attempt)
    }
}

impl FromStr for TaskKey {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_key(text).ok_or_else(|| IdError::TaskKey(text.to_owned()))
    }
}

fn parse_key(text: &str) -> Option<TaskKey> {
    let (query, rest) = text.rsplit_once('/')?;
    let (task, attempt) = rest.split_once('.')?;
    if query.is_empty() {
        return None;
    }
    Some(TaskKey {
        query: query.to_owned(),
        task: canonical_number(task)?,
        attempt: Attempt(canonical_number(attempt)?.try_into().ok()?),
    })
}

/// A number in the one form that formatting gives: digits only, no leading zero.
fn canonical_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_task_key_reads_back_as_it_was_written(query in ".+", task: u64, attempt: u32) {
            let key = TaskKey { query, task, attempt: Attempt(attempt) };
            prop_assert_eq!(key.to_string().parse::<TaskKey>(), Ok(key));
        }

        #[test]
        fn any_text_that_parses_as_a_key_is_written_back_unchanged(text in "[a-z/.0-9+-]{0,12}") {
            if let Ok(key) = text.parse::<TaskKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }

        #[test]
        fn a_worker_id_reads_back_as_it_was_written(number: u32) {
            prop_assert_eq!(WorkerId(number).to_string().parse(), Ok(WorkerId(number)));
        }
    }

    #[test]
    fn a_malformed_task_key_is_an_error_that_shows_the_text() {
        for text in ["", "q", "q/7", "/7.1", "q/.1", "q/7.", "q/07.1", "q/+7.1", "q/7.1.2", "q/7.4294967296"] {
            let error = text.parse::<TaskKey>().unwrap_err();
            assert_eq!(error, IdError::TaskKey(text.to_owned()));
            assert!(error.to_string().contains(&format!("{text:?}")));
        }
    }

    #[test]
    fn a_malformed_worker_id_is_an_error() {
        for text in ["", "worker", "worker-", "worker-01", "worker--1", "Worker-1", "worker-4294967296"] {
            assert_eq!(text.parse::<WorkerId>(), Err(IdError::Worker(text.to_owned())));
        }
    }

    #[test]
    fn the_id_of_an_actor_reads_back_as_it_was_written_and_nothing_else_is_one() {
        let actor = ActorId { pool: ActorPoolId(7), number: 3 };
        assert_eq!((actor.to_string().as_str(), "pool-7/3".parse()), ("pool-7/3", Ok(actor)));
        for text in ["", "pool-7", "pool-7/", "pool-07/1", "7/1", "pool-7/01", "pool-7/1/2", "pool-7/4294967296"] {
            assert_eq!(text.parse::<ActorId>(), Err(IdError::Actor(text.to_owned())));
        }
        assert_eq!("pool-x".parse::<ActorPoolId>(), Err(IdError::ActorPool("pool-x".to_owned())));
    }
}
