use std::io::{self, Write};

use litestream::format::{Generation, WalIndex, WalPos, lz4};
use litestream::restore::{Applied, Applier, ApplyError, Image};

use super::wal::repaired;

/// What there is room for on the disk.
const IMAGE_MAX: u64 = 1 << 20;

const GENERATION: Generation = Generation::from_bits(7);

/// A snapshot and the segments that follow it, applied to an image. Each object is three bytes, of
/// which two are its length, and its content:
///
/// * 1: it begins another WAL, and is one WAL from its start
/// * 2: it is the object itself, and not what is to be compressed
/// * 4: the checksums in it are made right
pub fn restore(data: &[u8]) {
    let mut image = Memory::default();
    let applied = apply(data, &mut image);
    if let Ok(applied) = applied {
        assert_eq!(image.0.len() as u64, applied.bytes);
    }
}

fn apply(data: &[u8], image: &mut Memory) -> Result<Applied, ApplyError> {
    let mut objects = Objects(data);
    let spill = tempfile::tempfile().unwrap();
    let mut applier = Applier::new(image, spill, GENERATION, WalIndex::default());
    let (_, snapshot, _) = objects.next().unwrap_or_default();
    applier.snapshot(snapshot.as_slice())?;
    let mut pos = WalPos::default();
    for (begins, object, bytes) in objects {
        if begins && pos.offset > 0 {
            pos = WalPos::start_of(pos.index.next().unwrap());
        }
        applier.segment(pos, object.as_slice())?;
        pos.offset += bytes;
    }
    applier.finish()
}

struct Objects<'a>(&'a [u8]);

impl Iterator for Objects<'_> {
    type Item = (bool, Vec<u8>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[flags, high, low], rest) = self.0.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (content, rest) = rest.split_at(length);
        self.0 = rest;
        let content = if flags & 4 > 0 { repaired(content) } else { content.to_vec() };
        let bytes = content.len() as u64;
        let object = if flags & 2 > 0 { content } else { compressed(&content) };
        Some((flags & 1 > 0, object, bytes))
    }
}

fn compressed(content: &[u8]) -> Vec<u8> {
    let mut encoder = lz4::Encoder::new(Vec::new(), content.len() as u64);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An image on a disk that is soon full.
#[derive(Default)]
struct Memory(Vec<u8>);

impl Image for &mut Memory {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        if self.0.len() as u64 <= end {
            self.set_len(end)?;
        }
        let offset = usize::try_from(offset).unwrap();
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > IMAGE_MAX {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.resize(usize::try_from(bytes).unwrap(), 0);
        Ok(())
    }
}
