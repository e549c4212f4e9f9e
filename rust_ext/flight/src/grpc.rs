//! The little of gRPC and of Flight's protobuf that is needed.

use bytes::Bytes;
use daft_k8s_ipc::{CodecError, Ticket};
use daft_k8s_net::Rejection;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};

pub(crate) const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
pub(crate) const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
pub(crate) const SERVICE_PREFIX: &str = "/arrow.flight.protocol.FlightService/";
pub(crate) const CONTENT_TYPE_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// Names the ticket that was not found or is lost.
const MISSING_TICKET: HeaderName = HeaderName::from_static("daft-k8s-missing-ticket");

/// `Ticket` of the Flight protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TicketMessage {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) ticket: Bytes,
}

/// `FlightDescriptor` of the Flight protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DescriptorMessage {
    /// 1: path, 2: command.
    #[prost(int32, tag = "1")]
    pub(crate) kind: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) command: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub(crate) path: Vec<String>,
}

/// gRPC's status codes, as far as they occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    DataLoss = 15,
    Unauthenticated = 16,
}

/// The end of a call.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) code: u32,
    pub(crate) message: String,
    pub(crate) missing_ticket: Option<String>,
}

impl Status {
    pub(crate) fn ok() -> Self {
        Self::new(Code::Ok, String::new())
    }

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code as u32, message: message.into(), missing_ticket: None }
    }

    pub(crate) fn not_found(ticket: &Ticket) -> Self {
        let message = format!("partition {ticket} is not in this store: it was dropped, or never published here");
        Self { missing_ticket: Some(ticket.to_string()), ..Self::new(Code::NotFound, message) }
    }

    pub(crate) fn lost(ticket: &Ticket, message: String) -> Self {
        Self { missing_ticket: Some(ticket.to_string()), ..Self::new(Code::DataLoss, message) }
    }

    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(GRPC_STATUS, HeaderValue::from(self.code));
        if let Some(value) = escaped(&self.message).filter(|_| !self.message.is_empty()) {
            headers.insert(GRPC_MESSAGE, value);
        }
        if let Some(value) = self.missing_ticket.as_deref().and_then(escaped) {
            headers.insert(MISSING_TICKET, value);
        }
    }

    /// The status among headers or trailers, if there is one.
    pub(crate) fn read_from(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
        let text = |name| headers.get(name).map(|value| unescaped(value.as_bytes()));
        Some(Self { code, message: text(GRPC_MESSAGE).unwrap_or_default(), missing_ticket: text(MISSING_TICKET) })
    }

    /// The trailers that end a call with this status.
    pub(crate) fn trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::new();
        self.write_to(&mut trailers);
        trailers
    }

    /// An answer that is nothing but this status.
    pub(crate) fn response<B: Default>(&self) -> Response<B> {
        let mut response = answer(B::default());
        self.write_to(response.headers_mut());
        response
    }
}

impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        Self { code: rejection.grpc_code().into(), message: rejection.to_string(), missing_ticket: None }
    }
}

impl From<CodecError> for Status {
    /// For what a caller sent.
    fn from(error: CodecError) -> Self {
        let code = match error {
            CodecError::TooLarge { .. } => Code::ResourceExhausted,
            CodecError::Damaged => Code::DataLoss,
            CodecError::Arrow(_) | CodecError::Malformed(_) => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

/// A gRPC answer with this body.
pub(crate) fn answer<B>(body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, CONTENT_TYPE_GRPC);
    response
}

/// Percent-encodes as gRPC asks for; long texts are cut.
fn escaped(text: &str) -> Option<HeaderValue> {
    let mut out = String::new();
    for byte in text.bytes().take(4096) {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::try_from(out).ok()
}

fn unescaped(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match code {
            Some(code) if byte == b'%' => {
                out.push(code);
                rest = &after[2..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_status_survives_its_headers(message in ".{0,100}", task in "[^\n]{1,50}", slot in any::<u32>()) {
            let status = Status { message: message.clone(), ..Status::not_found(&Ticket::new(task.clone(), slot)) };
            let back = Status::read_from(&status.trailers()).unwrap();
            prop_assert_eq!(back.code, 5);
            prop_assert_eq!(back.message, message);
            prop_assert_eq!(back.missing_ticket.unwrap(), format!("{task}:{slot}"));
        }

        #[test]
        fn any_bytes_can_be_unescaped(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            unescaped(&bytes);
        }
    }
}
