#![allow(clippy::unwrap_used, clippy::panic)]
//! Changed inputs to the decoders of partitions and tickets, as a taken-over worker may send them: an error or sound data.
//!
//! A few thousand inputs each, the same every time; with `FUZZ_SECONDS` set, for so long in all, from `FUZZ_SEED`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int64Array, LargeStringArray, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray,
    types::{Int32Type, Int64Type},
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use daft_k8s_ipc::{Encoder, FlightReader, FlightWriter, PartitionData, PutDecoder, Ticket, TicketHeader, framed};

const INPUTS: usize = 3_000;
const TARGETS: u32 = 3;
const LONGEST: Duration = Duration::from_secs(10);

/// SplitMix64: enough for drawing, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// The bytes with a few changes. Most keep the length, so that more than the framing is reached.
    fn change(&mut self, data: &[u8]) -> Vec<u8> {
        const ODD: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];
        let mut changed = data.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(changed.len());
            match self.below(10) {
                0 => changed.truncate(at),
                1 => {
                    let end = changed.len().min(at + 1 + self.below(64));
                    let piece = changed[at.min(end)..end].to_vec();
                    changed.splice(at..at, piece);
                }
                2..=4 => {
                    if let Some(byte) = changed.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                5 | 6 => {
                    if let Some(byte) = changed.get_mut(at) {
                        *byte = self.next() as u8;
                    }
                }
                _ => {
                    let width = [1, 4, 8][self.below(3)];
                    let at = at / width * width;
                    let odd = ODD[self.below(ODD.len())].to_le_bytes();
                    if let Some(place) = changed.get_mut(at..at + width) {
                        place.copy_from_slice(&odd[..width]);
                    }
                }
            }
        }
        changed
    }
}

/// Gives changed seeds to a decoder, for a count or a time. A panic of it fails the test and shows the input.
fn fuzz(name: &str, seeds: &[Vec<u8>], decode: impl Fn(&[u8], &mut Random)) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut random = Random(variable("FUZZ_SEED").unwrap_or(1));
    let time = variable("FUZZ_SECONDS").map(|seconds| Duration::from_secs(seconds) / TARGETS);
    let began = Instant::now();
    // Arrow's own panics are caught by the decoders, and would fill the output.
    std::panic::set_hook(Box::new(|_| {}));
    let mut count = 0;
    while time.map_or(count < INPUTS, |time| began.elapsed() < time) {
        let seed = &seeds[random.below(seeds.len())];
        let input = random.change(seed);
        let (before, start) = (random.0, Instant::now());
        let outcome = catch_unwind(AssertUnwindSafe(|| decode(&input, &mut random)));
        if outcome.is_err() || start.elapsed() > LONGEST {
            eprintln!("{name} failed or took {:?} on {input:02x?} (random {before})", start.elapsed());
            panic!("{name} failed");
        }
        count += 1;
    }
    println!("  ok      {name}: {count} inputs");
}

/// Data that was accepted keeps Arrow's rules, whatever reads it next.
fn assert_sound(data: &PartitionData) {
    for batch in data.batches.iter() {
        for column in batch.columns() {
            column.to_data().validate_full().unwrap();
            assert_eq!(column.len(), batch.num_rows());
        }
    }
}

fn partitions() -> Vec<PartitionData> {
    let text = || (0..9).map(|row| (row % 4 != 0).then(|| "é".repeat(row * 3)));
    let items = (0..9).map(|row| (row % 3 != 0).then(|| (0..row).map(Some).collect::<Vec<_>>()));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from_iter((0..9).map(|row| (row % 2 == 0).then_some(row))))),
        ("text", Arc::new(StringArray::from_iter(text()))),
        ("large", Arc::new(LargeStringArray::from_iter(text()))),
        ("view", Arc::new(StringViewArray::from_iter(text()))),
        ("bool", Arc::new(BooleanArray::from_iter((0..9).map(|row| Some(row % 2 == 0))))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(items))),
        ("dictionary", Arc::new((0..9).map(|row| Some(["a", "b"][row % 2])).collect::<DictionaryArray<Int32Type>>())),
        ("fixed", Arc::new(FixedSizeBinaryArray::try_from_iter((0..9u8).map(|row| [row; 3])).unwrap())),
        (
            "struct",
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("inner", DataType::Utf8, true)),
                Arc::new(StringArray::from_iter(text())) as ArrayRef,
            )])),
        ),
    ];
    let mut found: Vec<_> = columns
        .iter()
        .map(|column| RecordBatch::try_from_iter_with_nullable([(column.0, column.1.clone(), true)]).unwrap())
        .map(|batch| PartitionData::try_new(batch.schema(), vec![batch.clone(), batch.slice(2, 3)]).unwrap())
        .collect();
    let all = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)));
    let all = all.unwrap();
    found.push(PartitionData::try_new(all.schema(), vec![all]).unwrap());
    found
}

/// Streams without their checksums, which are made anew after the change: a taken-over worker makes those that fit.
fn streams() -> Vec<Vec<u8>> {
    partitions()
        .iter()
        .map(|data| {
            let mut stream = data.to_stream(1 << 20).unwrap();
            stream.truncate(stream.len() - 4);
            stream
        })
        .collect()
}

/// The messages of a stream as another Flight client sends them, without seals.
fn unsealed(stream: &[u8]) -> Vec<u8> {
    #[derive(prost::Message)]
    struct FlightData {
        #[prost(bytes = "vec", tag = "2")]
        data_header: Vec<u8>,
        #[prost(bytes = "vec", tag = "1000")]
        data_body: Vec<u8>,
    }
    let (mut out, mut rest) = (Vec::new(), stream);
    while rest.len() > 8 {
        let header_bytes = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        if header_bytes == 0 {
            break;
        }
        let header = &rest[8..8 + header_bytes];
        let body_bytes = arrow_ipc::root_as_message(header).unwrap().bodyLength() as usize;
        let body = &rest[8 + header_bytes..][..body_bytes];
        let message = FlightData { data_header: header.to_vec(), data_body: body.to_vec() };
        out.extend_from_slice(&framed(&prost::Message::encode_to_vec(&message)));
        rest = &rest[8 + header_bytes + body_bytes..];
    }
    out
}

/// As our own client sends a partition.
fn sealed(data: &PartitionData) -> Vec<u8> {
    let (mut encoder, mut writer) = (Encoder::new(1 << 20), FlightWriter::new(200));
    let header = encoder.begin(&data.schema).unwrap();
    writer.schema(&Ticket::new("t", 0), &header, TicketHeader::of(0, data), b"descriptor");
    for batch in data.batches.iter() {
        for message in encoder.encode(batch).unwrap() {
            writer.data(message);
        }
    }
    writer.flush();
    std::iter::from_fn(|| writer.next_chunk()).flatten().collect()
}

/// The end of a DoPut of these bytes, which come in two chunks.
fn put(bytes: &[u8], cut: usize) -> Option<PartitionData> {
    let mut reader = FlightReader::new(1 << 20);
    let mut decoder: Option<PutDecoder> = None;
    let (first, second) = bytes.split_at(cut.min(bytes.len()));
    for chunk in [first, second] {
        reader.push(Bytes::copy_from_slice(chunk));
        while let Some(message) = reader.next_message().ok()? {
            match &mut decoder {
                Some(decoder) => decoder.add(&message).ok()?,
                None => decoder = Some(PutDecoder::begin(&Ticket::new("t", 0), &message).ok()?),
            }
        }
    }
    reader.finish().ok()?;
    decoder?.finish().ok()
}

#[test]
fn a_changed_stream_is_an_error_or_sound_data() {
    fuzz("streams", &streams(), |input, _| {
        let mut stream = input.to_vec();
        stream.extend_from_slice(&crc32fast::hash(input).to_le_bytes());
        if let Ok(data) = PartitionData::from_stream(&stream, 100) {
            assert_sound(&data);
        }
    });
}

#[test]
fn changed_messages_are_an_error_or_sound_data() {
    let mut seeds: Vec<_> = streams().iter().map(|stream| unsealed(stream)).collect();
    seeds.extend(partitions().iter().map(sealed));
    for seed in &seeds {
        assert!(put(seed, seed.len()).is_some());
    }
    fuzz("flight messages", &seeds, |input, random| {
        if let Some(data) = put(input, random.below(input.len())) {
            assert_sound(&data);
        }
    });
}

#[test]
fn changed_tickets_are_an_error_or_say_the_same_when_joined_again() {
    let tickets: Vec<_> = (0..5).map(|slot| Ticket::new(format!("q:1/{}.2", slot / 2), slot)).collect();
    fuzz("tickets", &[Ticket::join(&tickets).into_bytes(), b"a:4294967295".to_vec()], |input, _| {
        if let Ok(parsed) = Ticket::parse_many(input) {
            assert_eq!(Ticket::join(&parsed).as_bytes(), input);
        }
    });
}
