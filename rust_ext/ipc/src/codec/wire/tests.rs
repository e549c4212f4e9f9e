#![allow(clippy::unwrap_used)]
//! Covers framing and its inverse, whatever the chunks; the Arrow part is covered elsewhere.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use proptest::prelude::*;

use super::*;
use crate::codec::encode::Encoder;

/// A `FlightData` as any protobuf library would write it.
#[derive(Clone, PartialEq, prost::Message)]
struct FlightData {
    #[prost(bytes = "vec", tag = "1")]
    descriptor: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    data_header: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    app_metadata: Vec<u8>,
    #[prost(uint64, tag = "9")]
    unknown: u64,
    #[prost(bytes = "vec", tag = "1000")]
    data_body: Vec<u8>,
}

fn read_all(bytes: &[u8], chunk_bytes: usize) -> Result<Vec<FlightData>, CodecError> {
    let mut reader = FlightReader::new(1 << 20);
    let mut messages = Vec::new();
    for chunk in bytes.chunks(chunk_bytes) {
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(message) = reader.next_message()? {
            messages.push(FlightData {
                descriptor: message.descriptor.to_vec(),
                data_header: message.header.to_vec(),
                app_metadata: message.app_metadata.to_vec(),
                unknown: 0,
                data_body: message.body.to_vec(),
            });
        }
    }
    reader.finish()?;
    Ok(messages)
}

fn flight_data() -> impl Strategy<Value = FlightData> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..400);
    (bytes(), bytes(), bytes(), any::<u64>(), bytes()).prop_map(
        |(descriptor, data_header, app_metadata, unknown, data_body)| FlightData {
            descriptor,
            data_header,
            app_metadata,
            unknown,
            data_body,
        },
    )
}

proptest! {
    #[test]
    fn any_protobuf_writer_is_understood_in_chunks_of_any_size(messages in prop::collection::vec(flight_data(), 0..6), chunk_bytes in 1..500usize) {
        let bytes: Vec<u8> = messages.iter().flat_map(|message| framed(&prost::Message::encode_to_vec(message))).collect();
        let expected: Vec<_> = messages.into_iter().map(|message| FlightData { unknown: 0, ..message }).collect();
        prop_assert_eq!(read_all(&bytes, chunk_bytes).unwrap(), expected);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk_bytes in 1..50usize) {
        let _ = read_all(&bytes, chunk_bytes);
    }

    #[test]
    fn a_cut_stream_is_noticed(message in flight_data(), cut in 0.0..1.0f64) {
        let bytes = framed(&prost::Message::encode_to_vec(&message));
        let kept = (bytes.len() as f64 * cut) as usize;
        prop_assert_eq!(read_all(&bytes[..kept], 64).is_err(), kept != 0);
    }

    #[test]
    fn the_length_of_a_varint_is_known_beforehand(value in any::<u64>()) {
        let mut out = BytesMut::new();
        put_varint(&mut out, value);
        prop_assert_eq!(out.len(), varint_bytes(value));
    }
}

/// The chunks of a batch of one row whose value has so many bytes, and the body's length.
fn one_row(value_bytes: usize, max_body_bytes: usize) -> (Vec<u8>, usize) {
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values([vec![7; value_bytes]]));
    let batch = RecordBatch::try_from_iter([("value", column)]).unwrap();
    let mut encoder = Encoder::new(max_body_bytes);
    encoder.begin(&batch.schema()).unwrap();
    let mut messages = encoder.encode(&batch).unwrap();
    let message = messages.pop().unwrap();
    assert!(messages.is_empty());
    let body_bytes = message.body_bytes;
    let mut writer = FlightWriter::new(max_body_bytes);
    writer.data(message);
    writer.flush();
    (std::iter::from_fn(|| writer.next_chunk()).flatten().collect(), body_bytes)
}

/// The lengths of the gRPC messages.
fn message_bytes(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..PREFIX_BYTES].try_into().unwrap()) as usize;
        lengths.push(length);
        bytes = &bytes[PREFIX_BYTES + length..];
    }
    lengths
}

proptest! {
    #[test]
    fn a_row_over_the_limit_travels_in_parts_and_arrives_in_one(value_bytes in 0..60_000usize, max_body_bytes in 64..70_000usize, chunk_bytes in 1..9_000usize) {
        let (bytes, body_bytes) = one_row(value_bytes, max_body_bytes);
        let lengths = message_bytes(&bytes);
        prop_assert_eq!(lengths.len(), body_bytes.div_ceil(max_body_bytes).max(1));
        prop_assert!(lengths.iter().all(|length| *length <= max_body_bytes + 1_000), "{:?}", lengths);
        let messages = read_all(&bytes, chunk_bytes).unwrap();
        prop_assert_eq!(messages.len(), 1);
        let whole = read_all(&one_row(value_bytes, usize::MAX).0, chunk_bytes).unwrap();
        prop_assert_eq!(messages, whole);
    }

    #[test]
    fn a_body_in_parts_that_is_cut_is_noticed(cut in 1..20_000usize) {
        let (bytes, _) = one_row(20_000, 1_000);
        prop_assert!(read_all(&bytes[..bytes.len() - cut], 700).is_err());
    }
}

#[test]
fn parts_that_do_not_fit_are_an_error() {
    let (bytes, _) = one_row(5_000, 3_000);
    let first = PREFIX_BYTES + message_bytes(&bytes)[0];
    let another_header = framed(&prost::Message::encode_to_vec(&FlightData {
        data_header: b"header".to_vec(),
        ..FlightData::default()
    }));
    let too_long =
        framed(&prost::Message::encode_to_vec(&FlightData { data_body: vec![0; 5_000], ..FlightData::default() }));
    for next in [another_header, too_long] {
        let bytes = [&bytes[..first], &next].concat();
        assert!(matches!(read_all(&bytes, 1_000), Err(CodecError::Malformed(_))));
    }
}

#[test]
fn what_is_written_is_read_by_a_protobuf_library() {
    let mut writer = FlightWriter::new(usize::MAX);
    let ticket_header = TicketHeader { index: 3, num_rows: 1, size_bytes: 2 };
    writer.schema(&Ticket::new("t", 0), &Buffer::from(b"schema"), ticket_header, b"path");
    writer.flush();
    let chunk = writer.next_chunk().unwrap();
    let message: FlightData = prost::Message::decode(&chunk[PREFIX_BYTES..]).unwrap();
    assert_eq!(
        (&*message.data_header, &message.app_metadata[..20], &*message.descriptor),
        (&b"schema"[..], &ticket_header.to_bytes()[..], &b"path"[..])
    );
    assert_eq!(message.app_metadata.len(), 24);
    assert!(writer.next_chunk().is_none());
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let mut reader = FlightReader::new(10);
    reader.push(Bytes::from_static(&[0, 0, 0, 0, 11]));
    assert!(matches!(reader.next_message(), Err(CodecError::TooLarge { bytes: 11, limit_bytes: 10 })));
}
