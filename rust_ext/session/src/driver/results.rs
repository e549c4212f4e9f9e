//! Fetching partitions to the driver.

use std::{collections::HashMap, sync::Arc};

use daft_k8s_flight::FetchError;
use daft_k8s_ipc::{PartitionData, Ticket};
use futures::future::try_join_all;

use super::{Driver, Partition, Place, losses, process::Process};

/// Why partitions could not be fetched, for people.
#[derive(Debug, Clone)]
pub enum FetchFailure {
    /// A partition is gone: its worker was lost, or it was dropped.
    Gone(String),
    /// The worker could not be reached or did not answer as it should.
    Connection(String),
    /// The worker sent nothing for too long.
    TimedOut(String),
}

impl Driver {
    /// The partitions, in order; one request per worker that holds some that are not at hand.
    pub async fn fetch(&self, partitions: &[Partition]) -> Result<Vec<PartitionData>, FetchFailure> {
        partitions.iter().for_each(Partition::mark_read);
        let (mut found, remote) = by_holder(partitions)?;
        let fetches = remote.into_iter().map(|(holder, wanted)| self.fetch_from(holder, wanted));
        for fetched in try_join_all(fetches).await? {
            for (position, data) in fetched {
                if let Some(place) = found.get_mut(position) {
                    *place = Some(data);
                }
            }
        }
        found
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| FetchFailure::Connection("a worker sent fewer partitions than were asked for".to_owned()))
    }

    async fn fetch_from(
        &self,
        process: Arc<Process>,
        wanted: Vec<(usize, Ticket)>,
    ) -> Result<Vec<(usize, PartitionData)>, FetchFailure> {
        {
            let state = self.inner.state.lock();
            if state.link_to(&process).is_none() {
                return Err(FetchFailure::Gone(losses::of_process(&state, &process)));
            }
        }
        let tickets: Vec<Ticket> = wanted.iter().map(|(_, ticket)| ticket.clone()).collect();
        match self.inner.data.fetch(process.data_server(), &tickets).await {
            Ok(data) => Ok(wanted.into_iter().map(|(position, _)| position).zip(data).collect()),
            Err(error) => Err(self.explain_fetch(&process, error).await),
        }
    }

    /// A broken connection usually means that the worker died; its reason says more than the socket's.
    async fn explain_fetch(&self, process: &Arc<Process>, error: FetchError) -> FetchFailure {
        if let Some(reason) = self.inner.await_loss(std::slice::from_ref(process)).await {
            return FetchFailure::Gone(reason);
        }
        let message = format!("fetching results from {} failed: {error}", process.worker);
        match error {
            FetchError::NotFound(_) | FetchError::Lost { .. } => FetchFailure::Gone(message),
            FetchError::TimedOut { .. } => FetchFailure::TimedOut(message),
            _ => FetchFailure::Connection(message),
        }
    }
}

/// A process, and the tickets that are wanted of it with their positions in the answer.
type OfHolder = (Arc<Process>, Vec<(usize, Ticket)>);

/// Partitions that are at hand, in their places, and the others by the process that holds them.
///
/// Not part of the `async` function: the map's keys are pointers, which a future that moves between threads may not hold.
fn by_holder(partitions: &[Partition]) -> Result<(Vec<Option<PartitionData>>, Vec<OfHolder>), FetchFailure> {
    let mut found: Vec<Option<PartitionData>> = vec![None; partitions.len()];
    let mut remote: HashMap<*const Process, OfHolder> = HashMap::new();
    for (position, (place, partition)) in found.iter_mut().zip(partitions).enumerate() {
        let at_hand = partition.at_hand();
        *place = at_hand.map_err(|error| FetchFailure::Gone(format!("a result cannot be read: {error}")))?;
        if let (None, Place::Worker(process)) = (&place, partition.place()) {
            let ticket = partition.ticket().parse().map_err(|error| FetchFailure::Gone(format!("{error}")))?;
            let of_process = remote.entry(Arc::as_ptr(process)).or_insert_with(|| (process.clone(), Vec::new()));
            of_process.1.push((position, ticket));
        }
    }
    Ok((found, remote.into_values().collect()))
}
