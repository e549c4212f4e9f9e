//! Calls of actors between workers. They carry data, so they travel in pieces.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use daft_k8s_control::{Client, proto::ActorPiece};
use daft_k8s_net::tls::ClientTls;
use futures::{Stream, stream};
use parking_lot::Mutex;
use tonic::{Status, Streaming};

/// Far below the size of a message that any worker takes.
const PIECE_BYTES: usize = 1 << 20;
/// With more connections than this all are closed, and opened again as they are needed.
const MAX_CLIENTS: usize = 1024;

/// Cuts a call or an answer; there is always a first piece, and it alone names the actor.
pub(super) fn pieces(actor_id: String, data: Bytes) -> impl Stream<Item = ActorPiece> + Send + use<> {
    stream::unfold(Some((actor_id, data)), |rest| async move {
        let (actor_id, mut data) = rest?;
        let piece = data.split_to(data.len().min(PIECE_BYTES));
        let rest = (!data.is_empty()).then_some((String::new(), data));
        Some((ActorPiece { actor_id, data: piece }, rest))
    })
}

/// The inverse of [`pieces`].
pub(super) async fn gather(mut stream: Streaming<ActorPiece>) -> Result<(String, Bytes), Status> {
    let Some(first) = stream.message().await? else {
        return Err(Status::invalid_argument("the call of an actor is empty"));
    };
    let mut next = stream.message().await?;
    if next.is_none() {
        return Ok((first.actor_id, first.data));
    }
    let mut data = BytesMut::from(first.data);
    while let Some(piece) = next {
        data.extend_from_slice(&piece.data);
        next = stream.message().await?;
    }
    Ok((first.actor_id, data.freeze()))
}

/// Connections to the control servers of other workers.
pub(super) struct Peers {
    token: String,
    tls: Option<ClientTls>,
    clients: Mutex<HashMap<String, Client>>,
}

impl Peers {
    pub(super) fn new(token: &str, tls: Option<ClientTls>) -> Self {
        Self { token: token.to_owned(), tls, clients: Mutex::default() }
    }

    pub(super) async fn call(&self, address: &str, actor_id: String, payload: Bytes) -> Result<Bytes, String> {
        let mut client = self.client(address)?;
        let answer = async { gather(client.call_actor(pieces(actor_id, payload)).await?.into_inner()).await };
        answer.await.map(|(_, data)| data).map_err(|status| {
            // The next call connects anew: the process at that address may have been replaced.
            self.clients.lock().remove(address);
            daft_k8s_control::describe(&status)
        })
    }

    fn client(&self, address: &str) -> Result<Client, String> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        let client =
            daft_k8s_control::connect_lazily(address, &self.token, self.tls.clone(), daft_k8s_control::CONNECT_TIMEOUT);
        let client = client.map_err(|error| error.to_string())?;
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_call_is_cut_into_pieces_of_which_the_first_names_the_actor() {
        let data = Bytes::from(vec![7; 2 * PIECE_BYTES + 1]);
        let cut: Vec<ActorPiece> = pieces("pool/1".to_owned(), data.clone()).collect().await;
        let sizes: Vec<usize> = cut.iter().map(|piece| piece.data.len()).collect();
        assert_eq!(sizes, [PIECE_BYTES, PIECE_BYTES, 1]);
        assert_eq!(cut.iter().map(|piece| piece.actor_id.as_str()).collect::<Vec<_>>(), ["pool/1", "", ""]);
        assert_eq!(cut.concat_data(), data);
    }

    #[tokio::test]
    async fn a_call_without_data_is_one_piece() {
        let cut: Vec<ActorPiece> = pieces("pool/1".to_owned(), Bytes::new()).collect().await;
        assert_eq!(cut.len(), 1);
    }

    trait ConcatData {
        fn concat_data(&self) -> Bytes;
    }

    impl ConcatData for Vec<ActorPiece> {
        fn concat_data(&self) -> Bytes {
            self.iter().flat_map(|piece| piece.data.to_vec()).collect()
        }
    }
}
