//! What a task reads: found in this worker's own store, or fetched from the workers that hold it.

use std::collections::HashMap;

use daft_k8s_control::proto::TaskInput;
use daft_k8s_data::{DataClient, FetchError, PartitionData, Store, StoreError, Ticket};
use futures::future::try_join_all;

/// Why a task's inputs did not come together.
pub(super) struct InputsLost {
    pub tickets: Vec<String>,
    pub message: String,
    /// Their holder says that it does not have them.
    pub gone: bool,
}

/// Brings inputs together.
pub(super) struct Inputs {
    store: Store,
    client: DataClient,
}

impl Inputs {
    pub(super) const fn new(store: Store, client: DataClient) -> Self {
        Self { store, client }
    }

    /// The partitions of each source, in order. All of them or none.
    pub(super) async fn resolve(
        &self,
        inputs: &[TaskInput],
        addresses: &[String],
    ) -> Result<Vec<(u32, Vec<PartitionData>)>, InputsLost> {
        let sources = inputs.iter().map(|input| self.resolve_source(input, addresses));
        let resolved = try_join_all(sources).await?;
        Ok(inputs.iter().map(|input| input.source_id).zip(resolved).collect())
    }

    /// The partitions of one source in order: own ones by reference, the others with one request per peer.
    async fn resolve_source(&self, input: &TaskInput, addresses: &[String]) -> Result<Vec<PartitionData>, InputsLost> {
        let mut found: Vec<Option<PartitionData>> = vec![None; input.partitions.len()];
        let mut remote: HashMap<&str, Vec<(usize, Ticket)>> = HashMap::new();
        for (position, partition) in input.partitions.iter().enumerate() {
            let lost = |message: String| InputsLost { tickets: vec![partition.ticket.clone()], message, gone: true };
            let ticket: Ticket = partition.ticket.parse().map_err(|error| lost(format!("{error}")))?;
            match addresses.get(partition.address as usize).map(String::as_str) {
                // The empty address stands for this worker itself.
                Some("") => {
                    let data = self.own(ticket).await.map_err(|error| lost(error.to_string()))?;
                    if let Some(place) = found.get_mut(position) {
                        *place = Some(data);
                    }
                }
                Some(address) => remote.entry(address).or_default().push((position, ticket)),
                None => return Err(lost("the driver sent no address for this input".to_owned())),
            }
        }
        let fetches = remote.into_iter().map(|(address, wanted)| async move {
            let tickets: Vec<Ticket> = wanted.iter().map(|(_, ticket)| ticket.clone()).collect();
            let fetched = self.client.fetch(address, &tickets).await;
            fetched.map(|fetched| (wanted, fetched)).map_err(|error| inputs_lost(&tickets, &error))
        });
        for (wanted, fetched) in try_join_all(fetches).await? {
            for ((position, _), data) in wanted.into_iter().zip(fetched) {
                if let Some(place) = found.get_mut(position) {
                    *place = Some(data);
                }
            }
        }
        found.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| InputsLost {
            tickets: Vec::new(),
            message: "a peer answered with fewer partitions than were asked for".to_owned(),
            gone: false,
        })
    }

    async fn own(&self, ticket: Ticket) -> Result<PartitionData, StoreError> {
        // In memory in nearly all cases; a spilled partition is mapped, which reads only its footer.
        self.store.get(&ticket)
    }
}

fn inputs_lost(tickets: &[Ticket], error: &FetchError) -> InputsLost {
    let (lost, gone) = match error {
        FetchError::NotFound(ticket) => (vec![ticket.to_string()], true),
        _ => (tickets.iter().map(ToString::to_string).collect(), false),
    };
    InputsLost { tickets: lost, message: error.to_string(), gone }
}
