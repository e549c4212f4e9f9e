#![allow(clippy::unwrap_used)]
//! Covers framing and its inverse, whatever the chunks; the Arrow part is covered elsewhere.

use proptest::prelude::*;

use super::*;

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

#[test]
fn what_is_written_is_read_by_a_protobuf_library() {
    let mut writer = FlightWriter::default();
    writer.schema(b"schema", b"app", b"path");
    writer.flush();
    let chunk = writer.next_chunk().unwrap();
    let message: FlightData = prost::Message::decode(&chunk[PREFIX_BYTES..]).unwrap();
    assert_eq!(
        (&*message.data_header, &*message.app_metadata, &*message.descriptor),
        (&b"schema"[..], &b"app"[..], &b"path"[..])
    );
    assert!(writer.next_chunk().is_none());
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_prefix() {
    let mut reader = FlightReader::new(10);
    reader.push(Bytes::from_static(&[0, 0, 0, 0, 11]));
    assert!(matches!(reader.next_message(), Err(CodecError::TooLarge { bytes: 11, limit_bytes: 10 })));
}
