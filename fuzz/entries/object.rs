use std::io::{Read, Write};

use litestream::format::{Seal, lz4};
use lz4_flex::frame::FrameDecoder;
use twox_hash::XxHash3_128;

/// LZ4 expands to less than this times as much, and not even a block of zeros comes close.
const EXPANSION_MAX: usize = 256;

/// What an object holds, behind what a decoder keeps to itself: the largest block.
const BLOCK_MAX: usize = 4 << 20;

/// The bytes of a whole object, and once more with the signature of its seal made right.
pub fn object(data: &[u8]) {
    decode(data);
    let sealed = signed(data);
    if let Ok(Some(seal)) = Seal::at_end(&sealed) {
        let mut again = Vec::new();
        seal.write(&mut again).unwrap();
        assert!(sealed.ends_with(&again));
        decode(&sealed);
    }
}

fn decode(object: &[u8]) {
    let mut decoder = lz4::Decoder::new(object);
    let mut buffer = vec![0; 1 << 16];
    let (mut start, mut bytes) = (Vec::new(), 0);
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                bytes += read;
                assert!(bytes <= object.len() * EXPANSION_MAX + BLOCK_MAX, "a bomb");
                if start.len() < buffer.len() {
                    start.extend_from_slice(&buffer[..read]);
                }
            }
            // Of a part of an object, nothing is to be believed.
            Err(_) => return,
        }
    }
    let sealed = Seal::find(decoder.skipped());
    if let Ok(Some(seal)) = Seal::at_end(object) {
        assert!(matches!(sealed, Ok(Some(_)) | Err(_)), "{seal:?} is not found among the frames");
    }
    if bytes == start.len() {
        compare(object, &start);
        round_trip(&start);
    }
}

/// Whatever is taken for an object is one for another reader, too, with the same content.
fn compare(mut object: &[u8], content: &[u8]) {
    // It knows no skippable frames.
    while let Some((head, rest)) = object.split_first_chunk::<8>()
        && head[1..4] == [0x2a, 0x4d, 0x18]
        && head[0] & 0xf0 == 0x50
    {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        object = &rest[length as usize..];
    }
    let mut other = Vec::new();
    FrameDecoder::new(object).read_to_end(&mut other).unwrap();
    // It takes a block without content for the end.
    assert!(other == content || content.starts_with(&other) && has_empty_block(object));
}

fn has_empty_block(object: &[u8]) -> bool {
    object.windows(4).any(|length| length == [0, 0, 0, 0x80])
        || object.windows(5).any(|block| block == [1, 0, 0, 0, 0])
}

fn round_trip(content: &[u8]) {
    let mut encoder = lz4::Encoder::new(Vec::new(), content.len() as u64);
    encoder.write_all(content).unwrap();
    let object = encoder.finish().unwrap();
    let mut again = Vec::new();
    lz4::Decoder::new(object.as_slice()).read_to_end(&mut again).unwrap();
    assert!(again == content);
}

/// The same object with a right signature in its last bytes, if these may be a seal.
fn signed(object: &[u8]) -> Vec<u8> {
    let mut object = object.to_vec();
    if let Some(start) = object.len().checked_sub(Seal::SIZE) {
        let seal = &mut object[start..];
        seal[..16].copy_from_slice(b"\x50\x2a\x4d\x18\x88\0\0\0LSSEAL\x01\0");
        seal[15] = seal[16] & 1;
        let signature = XxHash3_128::oneshot(&seal[8..128]);
        seal[128..].copy_from_slice(&signature.to_le_bytes());
    }
    object
}
