//! The inputs of a task: found in this worker's own store, or fetched from the workers that hold them.

use std::{collections::HashMap, sync::Arc};

use daft_k8s_control::proto::TaskInput;
use daft_k8s_flight::{DataClient, FetchError};
use daft_k8s_ipc::{CodecError, PartitionData, Ticket};
use daft_k8s_net::Destination;
use daft_k8s_store::{Store, StoreError};
use futures::{
    StreamExt, TryStreamExt,
    future::{try_join, try_join_all},
    stream,
};

/// Spilled partitions of one source that are read at once.
const READS_AT_ONCE: usize = 4;

/// The places of one request's inputs.
pub(super) struct PeerAddresses {
    pub addresses: Vec<String>,
    /// The workers at these addresses; may be shorter, for a driver that does not say.
    pub holders: Vec<String>,
}

impl PeerAddresses {
    fn get(&self, index: u32) -> Option<Destination<'_>> {
        let index = index as usize;
        let worker_id = self.holders.get(index).map(String::as_str).filter(|worker_id| !worker_id.is_empty());
        self.addresses.get(index).map(|address| Destination { address, worker_id })
    }
}

/// Why a task's inputs did not come together.
pub(super) struct InputsLost {
    pub tickets: Vec<String>,
    pub message: String,
    /// Their holder says that it does not have them, or not any more. Else another try may go better.
    pub gone: bool,
}

/// Brings inputs together.
pub(super) struct Inputs {
    store: Arc<dyn Store>,
    client: DataClient,
}

impl Inputs {
    pub(super) fn new(store: Arc<dyn Store>, client: DataClient) -> Self {
        Self { store, client }
    }

    /// The partitions of each source, in order. All of them or none.
    pub(super) async fn resolve(
        &self,
        inputs: &[TaskInput],
        peers: &PeerAddresses,
    ) -> Result<Vec<(u32, Vec<PartitionData>)>, InputsLost> {
        let sources = inputs.iter().map(|input| self.resolve_source(input, peers));
        let resolved = try_join_all(sources).await?;
        Ok(inputs.iter().map(|input| input.source_id).zip(resolved).collect())
    }

    /// The partitions of one source in order: own ones by reference, the others with one request per peer.
    async fn resolve_source(&self, input: &TaskInput, peers: &PeerAddresses) -> Result<Vec<PartitionData>, InputsLost> {
        let mut inline: Vec<(usize, PartitionData)> = Vec::new();
        let mut own: Vec<(usize, Ticket)> = Vec::new();
        let mut remote: HashMap<u32, (Destination<'_>, Vec<(usize, Ticket)>)> = HashMap::new();
        for (position, partition) in input.partitions.iter().enumerate() {
            let lost = |message: String| InputsLost { tickets: vec![partition.ticket.clone()], message, gone: true };
            if !partition.stream.is_empty() {
                let data = PartitionData::from_stream(&partition.stream, partition.stream.len() as u64);
                // What was changed on its way is sent again; what cannot be read will not be read next time.
                let unread = |error: CodecError| InputsLost {
                    gone: !matches!(error, CodecError::Damaged),
                    ..lost(error.to_string())
                };
                inline.push((position, data.map_err(unread)?));
                continue;
            }
            let ticket: Ticket = partition.ticket.parse().map_err(|error| lost(format!("{error}")))?;
            match peers.get(partition.address) {
                // The empty address stands for this worker itself.
                Some(Destination { address: "", .. }) => own.push((position, ticket)),
                Some(holder) => {
                    remote.entry(partition.address).or_insert((holder, Vec::new())).1.push((position, ticket));
                }
                None => return Err(lost("the driver sent no address for this input".to_owned())),
            }
        }
        let own = stream::iter(own).map(|(position, ticket)| self.own(position, ticket)).buffered(READS_AT_ONCE);
        let fetches = remote.into_values().map(|(holder, wanted)| async move {
            let tickets: Vec<Ticket> = wanted.iter().map(|(_, ticket)| ticket.clone()).collect();
            let fetched = self.client.fetch(holder, &tickets).await;
            fetched.map(|fetched| (wanted, fetched)).map_err(|error| inputs_lost(&tickets, &error))
        });
        let (own, fetched) = try_join(own.try_collect::<Vec<_>>(), try_join_all(fetches)).await?;
        let mut found: Vec<Option<PartitionData>> = vec![None; input.partitions.len()];
        let fetched = fetched.into_iter().flat_map(|(wanted, fetched)| wanted.into_iter().zip(fetched));
        for (position, data) in fetched.map(|((position, _), data)| (position, data)).chain(own).chain(inline) {
            if let Some(place) = found.get_mut(position) {
                *place = Some(data);
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| InputsLost {
            tickets: Vec::new(),
            message: "a peer answered with fewer partitions than were asked for".to_owned(),
            gone: false,
        })
    }

    /// An own partition: in memory in nearly all cases.
    async fn own(&self, position: usize, ticket: Ticket) -> Result<(usize, PartitionData), InputsLost> {
        let fetch = async { self.store.look_up(&ticket)?.fetch().await };
        match fetch.await {
            Ok(data) => Ok((position, data)),
            Err(error) => Err(InputsLost {
                tickets: vec![ticket.to_string()],
                gone: error.is_final(),
                message: match error {
                    named @ (StoreError::NotFound(_) | StoreError::Lost { .. }) => named.to_string(),
                    unnamed => format!("partition {ticket}: {unnamed}"),
                },
            }),
        }
    }
}

fn inputs_lost(tickets: &[Ticket], error: &FetchError) -> InputsLost {
    let (lost, gone) = match error {
        FetchError::NotFound(ticket) | FetchError::Lost { ticket, .. } => (vec![ticket.to_string()], true),
        FetchError::Damaged { ticket, .. } => (vec![ticket.to_string()], false),
        _ => (tickets.iter().map(ToString::to_string).collect(), false),
    };
    InputsLost { tickets: lost, message: error.to_string(), gone }
}
