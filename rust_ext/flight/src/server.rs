//! The Flight server: DoGet and DoPut from and to the store.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use daft_k8s_ipc::{
    CodecError, Encoder, FlightReader, FlightWriter, MAX_BODY_BYTES, PREFIX_BYTES, PartitionData, PutDecoder, Ticket,
    TicketHeader, framed,
};
use daft_k8s_net::{AcceptOptions, Admission, Auth, Caller, serve_connections, tls::Role};
use daft_k8s_store::{Found, Store, StoreError};
use futures::stream;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use prost::Message;
use tokio::net::TcpListener;

use crate::grpc::{self, Code, DescriptorMessage, Status, TicketMessage};

/// The limits of a server for its callers.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest single message of a request, in bytes.
    pub max_message_bytes: usize,
    /// No message of an answer carries more of a batch, in bytes. Any Flight client reads answers without a row above it.
    pub max_answer_body_bytes: usize,
    /// The time for which a request may send nothing.
    pub request_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 1 << 30,
            max_answer_body_bytes: MAX_BODY_BYTES,
            request_idle_timeout: Duration::from_secs(60),
        }
    }
}

/// The callers that a data server answers, and what it takes from them.
pub struct ServerOptions {
    /// The check of every call.
    pub auth: Auth,
    /// The connections that the process may have.
    pub admission: Admission,
    /// The limits of a call.
    pub limits: Limits,
}

/// Serves the store on the listener until `shutdown` resolves.
///
/// DoGet takes a ticket, or many separated by line feeds; each is answered with a schema message
/// (its `app_metadata` names the ticket's index) and its batches, all of them with checksums. DoPut takes a path descriptor of
/// one ticket. Every call must carry the session's token.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    options: ServerOptions,
    shutdown: impl Future<Output = ()>,
) {
    let ServerOptions { auth, admission, limits } = options;
    let options = AcceptOptions { auth: Some(auth.clone()), ..AcceptOptions::new(admission) };
    serve_connections(listener, FlightService { store, auth, limits }, options, shutdown).await;
}

type ServerBody = UnsyncBoxBody<Bytes, Infallible>;

#[derive(Clone)]
struct FlightService {
    store: Arc<dyn Store>,
    auth: Auth,
    limits: Limits,
}

impl hyper::service::Service<Request<Incoming>> for FlightService {
    type Response = Response<ServerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await.unwrap_or_else(|status| status.response())) })
    }
}

impl FlightService {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<ServerBody>, Status> {
        // A call for another worker fails, too: what is not in this store may well be in that worker's.
        self.auth.check(request.headers(), request.extensions().get())?;
        let is_grpc =
            request.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if request.method() != Method::POST || !is_grpc {
            let mut response = Response::new(ServerBody::default());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Ok(response);
        }
        let role = request.extensions().get().and_then(|caller: &Caller| caller.role);
        match request.uri().path() {
            // Whatever a task reads of the driver comes so: a worker that was taken over must not replace it.
            grpc::DO_PUT if role == Some(Role::Worker) => {
                Err(Status::new(Code::PermissionDenied, "only the session's driver may store partitions here"))
            }
            grpc::DO_GET => self.do_get(request.into_body()).await,
            grpc::DO_PUT => self.do_put(request.into_body()).await,
            path => {
                let method = path.strip_prefix(grpc::SERVICE_PREFIX).unwrap_or(path);
                Err(Status::new(Code::Unimplemented, format!("{method} is not implemented; DoGet and DoPut are")))
            }
        }
    }

    async fn do_get(self, mut body: Incoming) -> Result<Response<ServerBody>, Status> {
        let message = self.single_message(&mut body).await?;
        let request = TicketMessage::decode(message)
            .map_err(|error| Status::new(Code::InvalidArgument, format!("not a Flight ticket: {error}")))?;
        let tickets = Ticket::parse_many(&request.ticket)
            .map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))?;
        let mut found = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let place = self.store.look_up(&ticket).map_err(|error| store_status(&ticket, &error))?;
            found.push((ticket, place));
        }
        let sender = Sender::new(found, self.limits.max_answer_body_bytes);
        let frames = stream::unfold(sender, |mut sender| async move {
            let frame = sender.next_frame().await?;
            Some((Ok(frame), sender))
        });
        Ok(grpc::answer(StreamBody::new(frames).boxed_unsync()))
    }

    async fn do_put(self, mut body: Incoming) -> Result<Response<ServerBody>, Status> {
        let mut reader = FlightReader::new(self.limits.max_message_bytes);
        let mut put: Option<(Ticket, PutDecoder)> = None;
        while let Some(chunk) = self.next_chunk(&mut body).await? {
            reader.push(chunk);
            while let Some(message) = reader.next_message()? {
                match &mut put {
                    Some((_, decoder)) => decoder.add(&message)?,
                    None => {
                        let ticket = put_ticket(&message.descriptor)?;
                        let decoder = PutDecoder::begin(&ticket, &message)?;
                        put = Some((ticket, decoder));
                    }
                }
            }
        }
        reader.finish()?;
        let (ticket, decoder) = put.ok_or_else(|| Status::new(Code::InvalidArgument, "the DoPut is empty"))?;
        let data = decoder.finish()?;
        let store = self.store;
        // Storing may wait for the disk.
        tokio::task::spawn_blocking(move || store.put(&ticket, data))
            .await
            .map_err(|_| Status::new(Code::Internal, "the partition could not be stored"))?;
        let frames = [Ok(Frame::data(framed(&[]))), Ok(Frame::trailers(Status::ok().trailers()))];
        Ok(grpc::answer(StreamBody::new(stream::iter(frames)).boxed_unsync()))
    }

    /// The one message of a request, without its prefix.
    async fn single_message(&self, body: &mut Incoming) -> Result<Bytes, Status> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = self.next_chunk(body).await? {
            bytes.extend_from_slice(&chunk);
            let announced = bytes.get(1..PREFIX_BYTES).map(|mut length| length.get_u32() as usize).unwrap_or(0);
            let largest = announced.max(bytes.len().saturating_sub(PREFIX_BYTES));
            if largest > self.limits.max_message_bytes {
                let error =
                    CodecError::TooLarge { bytes: largest as u64, limit_bytes: self.limits.max_message_bytes as u64 };
                return Err(error.into());
            }
        }
        let mut bytes = bytes.freeze();
        if bytes.len() < PREFIX_BYTES {
            return Err(Status::new(Code::InvalidArgument, "the request holds no message"));
        }
        if bytes.get_u8() != 0 {
            return Err(Status::new(Code::Unimplemented, "compressed gRPC messages are not supported"));
        }
        if bytes.get_u32() as usize != bytes.len() {
            return Err(Status::new(Code::InvalidArgument, "the request must hold exactly one message"));
        }
        Ok(bytes)
    }

    async fn next_chunk(&self, body: &mut Incoming) -> Result<Option<Bytes>, Status> {
        loop {
            let frame = tokio::time::timeout(self.limits.request_idle_timeout, body.frame())
                .await
                .map_err(|_| Status::new(Code::DeadlineExceeded, "the request stopped before its end"))?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(Status::new(Code::InvalidArgument, format!("the request broke off: {error}")));
                }
            }
        }
    }
}

fn put_ticket(descriptor: &Bytes) -> Result<Ticket, Status> {
    let invalid = |message: String| Status::new(Code::InvalidArgument, message);
    let descriptor = DescriptorMessage::decode(descriptor.clone())
        .map_err(|error| invalid(format!("not a Flight descriptor: {error}")))?;
    match descriptor.path.as_slice() {
        [ticket] => ticket.parse().map_err(|error| invalid(format!("the descriptor's path: {error}"))),
        _ => Err(invalid("a DoPut must name one ticket as its descriptor's path".into())),
    }
}

fn store_status(ticket: &Ticket, error: &StoreError) -> Status {
    match error {
        StoreError::NotFound(ticket) => Status::not_found(ticket),
        lost if lost.is_final() => Status::lost(ticket, lost.to_string()),
        other => Status::new(Code::Internal, other.to_string()),
    }
}

/// The body of an answer to DoGet: encodes a piece whenever the connection has room for it.
struct Sender {
    waiting: std::iter::Enumerate<std::vec::IntoIter<(Ticket, Found)>>,
    current: Option<(PartitionData, usize)>,
    encoder: Encoder,
    writer: FlightWriter,
    /// The end of the call, once it is known.
    status: Option<Status>,
    is_over: bool,
}

impl Sender {
    fn new(found: Vec<(Ticket, Found)>, max_body_bytes: usize) -> Self {
        Self {
            waiting: found.into_iter().enumerate(),
            current: None,
            encoder: Encoder::new(max_body_bytes),
            writer: FlightWriter::new(max_body_bytes),
            status: None,
            is_over: false,
        }
    }

    async fn next_frame(&mut self) -> Option<Frame<Bytes>> {
        loop {
            if let Some(chunk) = self.writer.next_chunk() {
                return Some(Frame::data(chunk));
            }
            if let Some(status) = &self.status {
                let trailers = (!self.is_over).then(|| Frame::trailers(status.trailers()));
                self.is_over = true;
                return trailers;
            }
            if let Err(status) = self.encode_some().await {
                self.status = Some(status);
            }
        }
    }

    async fn encode_some(&mut self) -> Result<(), Status> {
        let internal = |error: CodecError| Status::new(Code::Internal, format!("a partition cannot be sent: {error}"));
        if let Some((data, next)) = &mut self.current {
            if let Some(batch) = data.batches.get(*next) {
                *next += 1;
                for message in self.encoder.encode(batch).map_err(internal)? {
                    self.writer.data(message);
                }
                return Ok(());
            }
            self.current = None;
        }
        let Some((index, (ticket, found))) = self.waiting.next() else {
            self.writer.flush();
            self.status = Some(Status::ok());
            return Ok(());
        };
        let data = found.fetch().await.map_err(|error| store_status(&ticket, &error))?;
        let header = self.encoder.begin(&data.schema).map_err(internal)?;
        let index = u32::try_from(index).map_err(|_| Status::new(Code::ResourceExhausted, "too many tickets"))?;
        self.writer.schema(&ticket, &header, TicketHeader::of(index, &data), &[]);
        self.current = Some((data, 0));
        Ok(())
    }
}
