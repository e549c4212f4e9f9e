//! The Flight client with which workers and the driver fetch partitions from one another.

mod call;
mod pool;

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use daft_k8s_ipc::{
    AnswerDecoder, CodecError, Encoder, FlightReader, FlightWriter, MAX_MESSAGE_BYTES, Origin, PartitionData, Ticket,
    TicketHeader, framed,
};
use daft_k8s_net::{BoxError, Credentials, Destination, tls::ClientTls};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;

use self::{
    call::{Answer, ClientBody, Progress},
    pool::Pool,
};
use crate::{
    FetchError,
    grpc::{self, Code, DescriptorMessage, Status, TicketMessage},
};

/// The time-outs and limits of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Encrypts, and proves who is who; `None`: as TCP carries it.
    pub tls: Option<ClientTls>,
    /// The time for a connection to come up.
    pub connect_timeout: Duration,
    /// A peer that has been silent for so long is pinged.
    pub keepalive_interval: Duration,
    /// A peer that does not answer a ping for so long is given up.
    pub keepalive_timeout: Duration,
    /// The time that a call may go without a single byte from the peer while the connection lives.
    pub progress_timeout: Duration,
    /// Connections to one peer; the second is opened when the first is busy. One connection is
    /// read by one core.
    pub connections_per_address: usize,
    /// Tickets in one request; more are asked for in several.
    pub tickets_per_request: usize,
    /// The origin of the answers; those of [`Origin::Anybody`] are validated.
    pub origin: Origin,
    /// No message that is put carries more of a batch; to be less than the peer's limit.
    pub max_put_message_bytes: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            tls: None,
            connect_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(5),
            keepalive_timeout: Duration::from_secs(10),
            progress_timeout: Duration::from_secs(60),
            connections_per_address: 2,
            tickets_per_request: 16_384,
            origin: Origin::Sealed,
            max_put_message_bytes: 64 << 20,
        }
    }
}

/// Fetches and puts partitions. A clone shares the connections.
#[derive(Clone)]
pub struct DataClient {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` if the token cannot stand in a header, so that no server can have it.
    credentials: Option<Credentials>,
    pool: Pool,
    config: ClientConfig,
}

impl DataClient {
    /// A client that presents this token. Opens nothing yet.
    pub fn new(token: &str) -> Self {
        Self::with_config(token, ClientConfig::default())
    }

    /// A client that presents this token, over connections that are encrypted if there is `tls`.
    pub fn with_tls(token: &str, tls: Option<ClientTls>) -> Self {
        Self::with_config(token, ClientConfig { tls, ..ClientConfig::default() })
    }

    /// A client with other settings.
    pub fn with_config(token: &str, config: ClientConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                credentials: Credentials::new(token).ok(),
                pool: Pool::new(config.clone()),
                config,
            }),
        }
    }

    /// Fetches the partitions of these tickets, in their order, from the store of `holder`. All of them or none.
    /// Must run within a tokio runtime.
    pub async fn fetch<'a>(
        &self,
        holder: impl Into<Destination<'a>>,
        tickets: &[Ticket],
    ) -> Result<Vec<PartitionData>, FetchError> {
        let holder = holder.into();
        let mut partitions = Vec::with_capacity(tickets.len());
        for part in tickets.chunks(self.inner.config.tickets_per_request.max(1)) {
            partitions.extend(self.fetch_part(holder, part).await?);
        }
        Ok(partitions)
    }

    async fn fetch_part(&self, holder: Destination<'_>, tickets: &[Ticket]) -> Result<Vec<PartitionData>, FetchError> {
        let address = holder.address;
        let request = framed(&TicketMessage { ticket: Ticket::join(tickets).into() }.encode_to_vec());
        let body = |_: &Progress| Full::new(request.clone()).map_err(|never: Infallible| match never {}).boxed_unsync();
        let mut answer = self.call(holder, grpc::DO_GET, body).await?;
        let mut reader = FlightReader::new(MAX_MESSAGE_BYTES);
        let mut decoder = AnswerDecoder::new(tickets, self.inner.config.origin);
        while let Some(chunk) = answer.next_chunk().await? {
            reader.push(chunk);
            if let Err(error) = read_some(&mut reader, &mut decoder) {
                return Err(unreadable(address, decoder.current_ticket(), error));
            }
        }
        check(address, answer.status()?, tickets)?;
        let ticket = decoder.current_ticket().cloned();
        reader.finish().and_then(|()| decoder.finish()).map_err(|error| unreadable(address, ticket.as_ref(), error))
    }

    /// Puts a partition into the store of `holder`, under this ticket.
    pub async fn put<'a>(
        &self,
        holder: impl Into<Destination<'a>>,
        ticket: &Ticket,
        data: &PartitionData,
    ) -> Result<(), FetchError> {
        let holder = holder.into();
        let body =
            |progress: &Progress| put_body(ticket, data, self.inner.config.max_put_message_bytes, progress.clone());
        let mut answer = self.call(holder, grpc::DO_PUT, body).await?;
        while answer.next_chunk().await?.is_some() {}
        check(holder.address, answer.status()?, std::slice::from_ref(ticket))
    }

    /// Number of peers that are remembered, connected or not.
    pub fn peers(&self) -> usize {
        self.inner.pool.len()
    }

    /// Closes the connections to a peer that is known to be gone; calls under way fail.
    pub fn forget(&self, address: &str) {
        self.inner.pool.forget(address);
    }

    /// Closes all connections except those to these addresses.
    pub fn retain(&self, addresses: &HashSet<String>) {
        self.inner.pool.retain(addresses);
    }

    async fn call(
        &self,
        holder: Destination<'_>,
        path: &str,
        body: impl Fn(&Progress) -> ClientBody,
    ) -> Result<Answer, FetchError> {
        let Some(credentials) = &self.inner.credentials else {
            return Err(FetchError::Unauthenticated { address: holder.address.into() });
        };
        call::start(&self.inner.pool, &self.inner.config, credentials, holder, path, body).await
    }
}

/// Decodes all messages that are complete.
fn read_some(reader: &mut FlightReader, decoder: &mut AnswerDecoder<'_>) -> Result<(), CodecError> {
    while let Some(message) = reader.next_message()? {
        decoder.add(message)?;
    }
    Ok(())
}

/// An answer that cannot be read, while the partition of this ticket was expected.
fn unreadable(address: &str, ticket: Option<&Ticket>, error: CodecError) -> FetchError {
    let address = address.to_owned();
    match (error, ticket) {
        (source @ CodecError::Damaged, Some(ticket)) => FetchError::Damaged { ticket: ticket.clone(), address, source },
        (error, Some(ticket)) => {
            FetchError::Protocol { address, message: format!("the answer for partition {ticket}: {error}") }
        }
        (error, None) => FetchError::Protocol { address, message: error.to_string() },
    }
}

/// Makes an error of every status but OK.
fn check(address: &str, status: Status, tickets: &[Ticket]) -> Result<(), FetchError> {
    let Status { code, message, missing_ticket } = status;
    let address = address.to_owned();
    if code == Code::Ok as u32 {
        Ok(())
    } else if code == Code::Unauthenticated as u32 {
        Err(FetchError::Unauthenticated { address })
    } else if code == Code::NotFound as u32 {
        match missing(missing_ticket, tickets) {
            Some(ticket) => Err(FetchError::NotFound(ticket)),
            None => Err(FetchError::Refused { address, code, message }),
        }
    } else if code == Code::DataLoss as u32 {
        match missing(missing_ticket, tickets) {
            Some(ticket) => Err(FetchError::Lost { ticket, address, message }),
            None => Err(FetchError::Refused { address, code, message }),
        }
    } else {
        Err(FetchError::Refused { address, code, message })
    }
}

/// The ticket that an answer names as missing, if it was asked for: else the request was damaged on its way.
fn missing(named: Option<String>, tickets: &[Ticket]) -> Option<Ticket> {
    let named: Ticket = named?.parse().ok()?;
    tickets.contains(&named).then_some(named)
}

/// The messages of a DoPut, encoded as they are sent.
fn put_body(ticket: &Ticket, data: &PartitionData, max_body_bytes: usize, progress: Progress) -> ClientBody {
    let descriptor =
        DescriptorMessage { kind: 1, command: Bytes::new(), path: vec![ticket.to_string()] }.encode_to_vec();
    let state = PutState {
        encoder: Encoder::new(max_body_bytes),
        writer: FlightWriter::new(max_body_bytes),
        ticket: ticket.clone(),
        data: data.clone(),
        next: None,
        descriptor,
    };
    let frames = stream::try_unfold(state, move |mut state| {
        progress.note();
        async move { Ok::<_, BoxError>(state.next_chunk()?.map(|chunk| (Frame::data(chunk), state))) }
    });
    StreamBody::new(frames).boxed_unsync()
}

struct PutState {
    encoder: Encoder,
    writer: FlightWriter,
    ticket: Ticket,
    data: PartitionData,
    /// The next batch; `None` before the schema.
    next: Option<usize>,
    descriptor: Vec<u8>,
}

impl PutState {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, CodecError> {
        loop {
            if let Some(chunk) = self.writer.next_chunk() {
                return Ok(Some(chunk));
            }
            let Some(at) = self.next else {
                let header = self.encoder.begin(&self.data.schema)?;
                self.writer.schema(&self.ticket, &header, TicketHeader::of(0, &self.data), &self.descriptor);
                self.next = Some(0);
                continue;
            };
            let Some(batch) = self.data.batches.get(at) else {
                self.writer.flush();
                return Ok(self.writer.next_chunk());
            };
            for message in self.encoder.encode(batch)? {
                self.writer.data(message);
            }
            self.next = Some(at + 1);
        }
    }
}
