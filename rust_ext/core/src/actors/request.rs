//! The request for a pool of actors, and the reasons why it fails.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use get_size2::GetSize;

use super::placement::most_per_worker;
use super::resources::Resources;
use crate::ids::WorkerId;

/// The shape of a pool of actors.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub struct ActorRequest {
    /// The name of the UDF, for people.
    pub name: Arc<str>,
    /// The number of actors; at least 1.
    pub count: u32,
    /// The need of each actor.
    pub need: Resources,
    /// The longest that the actors may take to start, with the time that they wait for room.
    pub start_timeout: Duration,
    /// True if a call may be made to any actor, and a new one is as good as the one that was lost.
    pub is_stateless: bool,
    /// True if the first actor may share the CPUs of other actors, where it would else wait for them.
    pub shares_cpus: bool,
}

impl ActorRequest {
    /// The number of actors that all workers together can ever hold, at most those that are asked for.
    ///
    /// # Errors
    ///
    /// No worker can hold a single one.
    pub fn admit(&self, capacity: &Resources, most_workers: u32) -> Result<u32, NeverFits> {
        let each = most_per_worker(capacity, &self.need, self.count);
        let most = each.saturating_mul(most_workers.max(1));
        if most == 0 {
            return Err(NeverFits { request: self.clone(), capacity: *capacity, most_workers });
        }
        Ok(most.min(self.count))
    }

    /// The warning for a pool of which only that many actors fit.
    pub(super) fn reduced(&self, capacity: &Resources, most_workers: u32, count: u32) -> String {
        format!(
            "{} asks for {} actors with {} in all, and {most_workers} workers with {} can hold {count} of them: it \
             goes on with {count}",
            self.name,
            self.count,
            self.need.times(self.count.into()),
            capacity.times(most_workers.into()),
        )
    }
}

/// No worker could ever hold an actor.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub struct NeverFits {
    request: ActorRequest,
    capacity: Resources,
    most_workers: u32,
}

impl fmt::Display for NeverFits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, capacity, most_workers } = self;
        write!(
            f,
            "No single actor can be scheduled: each actor of {} asks for {}, and each worker has {capacity} \
             ({most_workers} workers: {}); ask for less, or raise worker_cpu, worker_gpu or worker_memory",
            request.name,
            request.need,
            capacity.times((*most_workers).into()),
        )
    }
}

/// The reason why a pool of actors did not start.
#[derive(Debug, Clone, PartialEq, Eq, GetSize)]
pub enum ActorFailure {
    /// A constructor failed, for good.
    Constructor {
        /// The actor, for people.
        actor: String,
        /// The worker on which it was constructed.
        worker: Option<WorkerId>,
        /// The event, for people; with the traceback, if the constructor raised.
        reason: Arc<str>,
        /// The pickled exception; empty if the constructor raised none.
        error: Arc<[u8]>,
    },
    /// No actor came up, for want of room, workers or time; for people.
    NotStarted(String),
    /// The pool was ended before it had started; for people.
    Ended(String),
    /// The session was shut down.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(count: u32, cpus: f64, gpus: f64) -> ActorRequest {
        ActorRequest {
            name: "UDF f".into(),
            count,
            need: Resources::of_actor(cpus, gpus, 0.0).unwrap(),
            start_timeout: Duration::from_secs(10),
            is_stateless: true,
            shares_cpus: true,
        }
    }

    #[test]
    fn a_request_for_what_no_worker_could_hold_is_refused_with_the_sums() {
        let capacity = Resources::of_worker(2.0, 0.0, 1 << 30).unwrap();
        let refusal = request(1, 1.0, 3.0).admit(&capacity, 2).unwrap_err().to_string();
        let sums = "each actor of UDF f asks for 1 CPUs, 3 GPUs, and each worker has 2 CPUs, 1,024 MiB (2 workers: 4 \
                    CPUs, 2,048 MiB)";
        assert!(refusal.contains(sums), "{refusal}");
    }

    #[test]
    fn more_actors_than_fit_become_as_many_as_fit() {
        let capacity = Resources::of_worker(2.0, 1.0, 1 << 30).unwrap();
        assert_eq!(request(100, 1.0, 0.0).admit(&capacity, 2), Ok(4));
        assert_eq!(request(100, 1.0, 0.5).admit(&capacity, 2), Ok(4));
        assert_eq!(request(3, 1.0, 0.0).admit(&capacity, 2), Ok(3));
        let warning = request(100, 1.0, 0.0).reduced(&capacity, 2, 4);
        assert!(warning.contains("asks for 100 actors with 100 CPUs in all, and 2 workers with 4 CPUs, 2 GPUs"));
    }
}
