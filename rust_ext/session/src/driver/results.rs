//! Fetching partitions to the driver.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use daft_k8s_core::{Event, FetchId, Location, SlotId, WorkerId};
use daft_k8s_flight::FetchError;
use daft_k8s_ipc::{PartitionData, Ticket};
use futures::future::try_join_all;
use tokio::sync::oneshot;

use super::{Driver, Inner, Partition, State, process::Process};

/// The verdict on partitions that could not be read.
#[derive(Debug)]
pub(super) enum Verdict {
    /// One is lost: the reason, for people.
    Lost(String),
    /// Their holders live.
    There,
    /// One was lost, and has been recomputed.
    Recomputed,
}

/// The reason why a try to fetch partitions failed.
enum Failure {
    /// For the caller.
    Final(FetchFailure),
    /// Lost data has been recomputed: another try finds it. The core bounds how often that happens.
    Recomputed,
}

/// The reason why partitions could not be fetched, for people.
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
    /// The partitions, in order; one request per worker that holds some that are not at hand. Waits for those that are
    /// recomputed.
    pub async fn fetch(&self, partitions: &[Partition]) -> Result<Vec<PartitionData>, FetchFailure> {
        loop {
            match self.try_fetch(partitions).await {
                Ok(data) => return Ok(data),
                Err(Failure::Final(failure)) => return Err(failure),
                Err(Failure::Recomputed) => {}
            }
        }
    }

    async fn try_fetch(&self, partitions: &[Partition]) -> Result<Vec<PartitionData>, Failure> {
        let slots = remote_slots(partitions);
        let located = self.inner.begin_fetch(partitions, &slots).map_err(Failure::Final)?;
        let Some((mut found, remote)) = located else {
            let reason = match self.inner.ask_for_verdict(slots).await {
                Verdict::Recomputed => return Err(Failure::Recomputed),
                Verdict::Lost(reason) => reason,
                Verdict::There => "a result is not held by any worker any more".to_owned(),
            };
            return Err(Failure::Final(FetchFailure::Gone(reason)));
        };
        let fetches = remote.into_values().map(|wanted| self.fetch_from(wanted));
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
            .map_err(Failure::Final)
    }

    async fn fetch_from(&self, wanted: Wanted) -> Result<Vec<(usize, PartitionData)>, Failure> {
        match self.inner.data.fetch(wanted.holder.data_server(), &wanted.tickets).await {
            Ok(data) => Ok(wanted.positions.into_iter().zip(data).collect()),
            Err(error) => Err(self.explain_fetch(wanted, error).await),
        }
    }

    /// A broken connection usually means that the worker died; its reason says more than the socket's.
    async fn explain_fetch(&self, wanted: Wanted, error: FetchError) -> Failure {
        match self.inner.ask_for_verdict(wanted.slots).await {
            Verdict::Lost(reason) => return Failure::Final(FetchFailure::Gone(reason)),
            Verdict::Recomputed => return Failure::Recomputed,
            Verdict::There => {}
        }
        let message = format!("fetching results from {} failed: {error}", wanted.holder.worker);
        Failure::Final(match error {
            FetchError::NotFound(_) | FetchError::Lost { .. } => FetchFailure::Gone(message),
            FetchError::TimedOut { .. } => FetchFailure::TimedOut(message),
            _ => FetchFailure::Connection(message),
        })
    }
}

/// The partitions that are wanted of one worker.
struct Wanted {
    holder: Arc<Process>,
    slots: Vec<SlotId>,
    tickets: Vec<Ticket>,
    /// The positions in the answer.
    positions: Vec<usize>,
}

/// Partitions that are at hand, in their places, and the others by the worker that holds them.
type Found = (Vec<Option<PartitionData>>, HashMap<WorkerId, Wanted>);

fn remote_slots(partitions: &[Partition]) -> Vec<SlotId> {
    partitions.iter().filter(|partition| partition.is_remote()).map(Partition::slot).collect()
}

impl Inner {
    /// Marks the partitions as read and finds them; `None` if one is not to be had.
    fn begin_fetch(
        self: &Arc<Self>,
        partitions: &[Partition],
        slots: &[SlotId],
    ) -> Result<Option<Found>, FetchFailure> {
        let mut found = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let at_hand = partition.at_hand();
            found.push(at_hand.map_err(|error| FetchFailure::Gone(format!("a result cannot be read: {error}")))?);
        }
        let mut state = self.state.lock();
        self.act(&mut state, Event::Read(slots.to_vec()), &mut None);
        let mut remote = HashMap::new();
        for (position, partition) in partitions.iter().enumerate().filter(|(_, partition)| partition.is_remote()) {
            let Some((holder, ticket)) = state.holder_of(partition) else { return Ok(None) };
            let ticket = ticket.parse().map_err(|error| FetchFailure::Gone(format!("{error}")))?;
            let (slots, tickets, positions) = (Vec::new(), Vec::new(), Vec::new());
            let wanted = remote.entry(holder.worker).or_insert_with(|| Wanted { holder, slots, tickets, positions });
            wanted.slots.push(partition.slot());
            wanted.tickets.push(ticket);
            wanted.positions.push(position);
        }
        Ok(Some((found, remote)))
    }

    /// The verdict on these slots, which could not be read.
    async fn ask_for_verdict(self: &Arc<Self>, slots: Vec<SlotId>) -> Verdict {
        let fetch = FetchId(self.next_fetch.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.fetches.insert(fetch, tell);
            self.act(&mut state, Event::FetchFailed { fetch, slots }, &mut None);
        }
        told.await.unwrap_or(Verdict::There)
    }
}

impl State {
    /// The process that holds a remote partition, and the partition's ticket there; `None` if it is lost.
    pub(super) fn holder_of(&self, partition: &Partition) -> Option<(Arc<Process>, String)> {
        let slot = partition.slot();
        let Location::At(worker) = self.core.location(slot)? else { return None };
        let ticket = partition.ticket(self.core.generation(slot)?);
        Some((self.links.get(worker)?.process.clone(), ticket))
    }
}
