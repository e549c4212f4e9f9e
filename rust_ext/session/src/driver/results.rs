//! Fetching partitions to the driver.

use std::{collections::HashMap, sync::Arc};

use daft_k8s_core::{LaunchId, WorkerId};
use daft_k8s_data::{FetchError, PartitionData, Ticket};
use futures::future::try_join_all;

use super::{Driver, Partition, Place, task::loss_of_input};

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
        let mut found: Vec<Option<PartitionData>> = vec![None; partitions.len()];
        let mut remote: HashMap<(WorkerId, LaunchId), Vec<(usize, Ticket)>> = HashMap::new();
        for (position, (place, partition)) in found.iter_mut().zip(partitions).enumerate() {
            *place = partition.at_hand();
            if let (None, Place::Worker(worker, launch)) = (&place, partition.place()) {
                let ticket = partition.ticket().parse().map_err(|error| FetchFailure::Gone(format!("{error}")))?;
                remote.entry((*worker, *launch)).or_default().push((position, ticket));
            }
        }
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
        (worker, launch): (WorkerId, LaunchId),
        wanted: Vec<(usize, Ticket)>,
    ) -> Result<Vec<(usize, PartitionData)>, FetchFailure> {
        let address: Arc<str> = {
            let state = self.inner.state.lock();
            match state.links.get(&worker) {
                Some(link) if link.launch == launch => link.addresses.data.clone(),
                _ => return Err(FetchFailure::Gone(loss_of_input(&state, worker, launch))),
            }
        };
        let tickets: Vec<Ticket> = wanted.iter().map(|(_, ticket)| ticket.clone()).collect();
        match self.inner.data.fetch(&address, &tickets).await {
            Ok(data) => Ok(wanted.into_iter().map(|(position, _)| position).zip(data).collect()),
            Err(error) => Err(self.explain_fetch(worker, launch, error).await),
        }
    }

    /// A broken connection usually means that the worker died; its reason says more than the socket's.
    async fn explain_fetch(&self, worker: WorkerId, launch: LaunchId, error: FetchError) -> FetchFailure {
        if let Some(reason) = self.inner.await_loss(&[(worker, launch)]).await {
            return FetchFailure::Gone(reason);
        }
        let message = format!("fetching results from {worker} failed: {error}");
        match error {
            FetchError::NotFound(_) => FetchFailure::Gone(message),
            FetchError::TimedOut { .. } => FetchFailure::TimedOut(message),
            _ => FetchFailure::Connection(message),
        }
    }
}
