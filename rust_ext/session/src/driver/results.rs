//! Fetching partitions to the driver.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use daft_k8s_core::{Event, FetchId, Generation, Location, SlotRead, WorkerId};
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
        let (mut found, remote) = match self.inner.begin_fetch(partitions).map_err(Failure::Final)? {
            Located::Found(found, remote) => (found, remote),
            Located::Missing(reads) => {
                let reason = match self.inner.ask_for_verdict(reads).await {
                    Verdict::Recomputed => return Err(Failure::Recomputed),
                    Verdict::Lost(reason) => reason,
                    Verdict::There => "a result is not held by any worker any more".to_owned(),
                };
                return Err(Failure::Final(FetchFailure::Gone(reason)));
            }
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
        match self.inner.ask_for_verdict(wanted.reads).await {
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
    reads: Vec<SlotRead>,
    tickets: Vec<Ticket>,
    /// The positions in the answer.
    positions: Vec<usize>,
}

/// The places of partitions that are to be fetched.
enum Located {
    /// Partitions that are at hand, in their places, and the others by the worker that holds them.
    Found(Vec<Option<PartitionData>>, HashMap<WorkerId, Wanted>),
    /// One is nowhere: all of them, as they were found.
    Missing(Vec<SlotRead>),
}

impl Inner {
    /// Marks the partitions as read and finds them.
    fn begin_fetch(self: &Arc<Self>, partitions: &[Partition]) -> Result<Located, FetchFailure> {
        let mut found = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let at_hand = partition.at_hand();
            found.push(at_hand.map_err(|error| FetchFailure::Gone(format!("a result cannot be read: {error}")))?);
        }
        let remote = || partitions.iter().enumerate().filter(|(_, partition)| partition.is_remote());
        let mut state = self.state.lock();
        self.act(&mut state, Event::Read(remote().map(|(_, partition)| partition.slot()).collect()), &mut None);
        let mut by_holder = HashMap::new();
        for (position, partition) in remote() {
            let Some((holder, generation)) = state.holder_of(partition) else {
                return Ok(Located::Missing(remote().map(|(_, partition)| state.read_of(partition)).collect()));
            };
            let ticket = partition.ticket(generation).parse();
            let ticket = ticket.map_err(|error| FetchFailure::Gone(format!("{error}")))?;
            let (reads, tickets, positions) = (Vec::new(), Vec::new(), Vec::new());
            let wanted = by_holder.entry(holder.worker).or_insert_with(|| Wanted { holder, reads, tickets, positions });
            wanted.reads.push(state.read_of(partition));
            wanted.tickets.push(ticket);
            wanted.positions.push(position);
        }
        Ok(Located::Found(found, by_holder))
    }

    /// The verdict on these slots, which could not be read.
    async fn ask_for_verdict(self: &Arc<Self>, reads: Vec<SlotRead>) -> Verdict {
        let fetch = FetchId(self.next_fetch.fetch_add(1, Ordering::Relaxed));
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state.lock();
            state.fetches.insert(fetch, tell);
            self.act(&mut state, Event::FetchFailed { fetch, reads }, &mut None);
        }
        told.await.unwrap_or(Verdict::There)
    }
}

impl State {
    /// The process that holds a remote partition, and the partition's generation; `None` if it is lost.
    pub(super) fn holder_of(&self, partition: &Partition) -> Option<(Arc<Process>, Generation)> {
        let slot = partition.slot();
        let Location::At(worker) = self.core.location(slot)? else { return None };
        Some((self.links.get(worker)?.process.clone(), self.core.generation(slot)?))
    }

    fn read_of(&self, partition: &Partition) -> SlotRead {
        let slot = partition.slot();
        SlotRead { slot, generation: self.core.generation(slot) }
    }
}
