use std::fs;
use std::io::{Read, Write};

use lz4_flex::frame::{FrameDecoder, FrameEncoder, FrameInfo};

use super::Accident;
use crate::contender::Contender;
use crate::outcome::Outcome;
use crate::segments::Segments;

/// The length of the seal that we write after the data.
const SEAL: usize = 128;

pub(super) const ACCIDENT: Accident =
    Accident { name: "flipped_bit", title: "A bit flips in a stored segment", happen };

/// A bit flips once in the store, and once in memory before compression, which LZ4 cannot notice.
fn happen(contender: Contender) -> Outcome {
    let segments = Segments::write();
    let damaged = segments.in_the_middle();
    let object = fs::read(&damaged).unwrap();

    fs::write(&damaged, flipped(object.clone())).unwrap();
    let stored = segments.restore(contender, &damaged);

    let (data, seal) = object.split_at(object.len() - SEAL);
    let data = compressed(&flipped(decompressed(data)));
    fs::write(&damaged, [&data, seal].concat()).unwrap();
    let made = segments.restore(contender, &damaged);
    if stored.survived { made } else { stored }
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

fn decompressed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameDecoder::new(frame).read_to_end(&mut bytes).unwrap();
    bytes
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().content_checksum(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
