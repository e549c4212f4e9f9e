//! Counting frames of HTTP/2 by their headers alone, as their bytes come in.

/// Length (3), kind (1), flags (1), stream (4).
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;

/// The frames that have come in on a connection and that carry no data. Each costs its receiver work, and its sender
/// 9 bytes.
#[derive(Debug, Default)]
pub(super) struct ControlFrames {
    header: [u8; HEADER_BYTES],
    /// The part of the current frame's header that is there.
    length: usize,
    /// The bytes of the current frame that are still to come.
    left: usize,
    count: usize,
}

impl ControlFrames {
    /// Takes the next bytes of the connection; returns the count so far.
    pub(super) fn add(&mut self, mut bytes: &[u8]) -> usize {
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = &bytes[skipped..];
            let taken = if self.left == 0 { (HEADER_BYTES - self.length).min(bytes.len()) } else { 0 };
            let (header, rest) = bytes.split_at(taken);
            self.header[self.length..self.length + taken].copy_from_slice(header);
            self.length += taken;
            bytes = rest;
            if self.length == HEADER_BYTES {
                let [high, middle, low, kind, ..] = self.header;
                self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.length = 0;
                self.count += usize::from(kind != DATA || self.left == 0);
            }
        }
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let [_, high, middle, low] = (length as u32).to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1][..], &vec![0xff; length]].concat()
    }

    #[test]
    fn frames_are_counted_however_their_bytes_are_cut() {
        let frames =
            [frame(4, 0), frame(6, 8), frame(DATA, 70_000), frame(DATA, 0), frame(1, 300), frame(8, 4)].concat();
        for piece in [1, 2, 8, 9, 10, 4096, frames.len()] {
            let mut counted = ControlFrames::default();
            let counts: Vec<_> = frames.chunks(piece).map(|part| counted.add(part)).collect();
            assert_eq!(counts.last(), Some(&5), "in pieces of {piece}");
        }
    }
}
