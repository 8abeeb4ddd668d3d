//! The container of every object: one LZ4 frame, then perhaps skippable frames.
//!
//! Litestream's reader takes only the first of several data frames and fails on block checksums,
//! so there is exactly one data frame, of independent blocks with a checksum of the content, as
//! Litestream itself writes it. It ignores skippable frames, and the [`Seal`](super::Seal) is in
//! one.
//!
//! Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>

mod blocks;
mod descriptor;

use std::io::{self, BufRead, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

pub(crate) use blocks::{Block, Blocks, Buffer, ContentCheck, End, Part};

/// The skippable frame that we write. Readers skip all sixteen of them.
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const DATA: u32 = 0x184d_2204;

/// The longest skippable frame that is kept, in bytes of content. Longer ones are discarded.
const SKIPPABLE_KEPT: u32 = 4096;

/// How many skippable frames of an object may be kept: all of them are in memory.
const SKIPPABLE_MAX: usize = 64;

/// Compresses what is written to it.
pub struct Encoder<W: Write>(FrameEncoder<W>);

impl<W: Write> Encoder<W> {
    /// `size` is roughly how much will be written. Writer and reader need buffers of the size of a
    /// block, so small objects are made of smaller blocks.
    pub fn new(target: W, size: u64) -> Self {
        let info = FrameInfo::new()
            .block_size(block_size(size))
            .block_mode(BlockMode::Independent)
            .content_checksum(true);
        Self(FrameEncoder::with_frame_info(info, target))
    }

    /// Where the compressed bytes go.
    pub fn get_mut(&mut self) -> &mut W {
        self.0.get_mut()
    }

    /// Ends the data frame.
    pub fn finish(mut self) -> io::Result<W> {
        // An encoder that never saw a byte would write nothing at all, not even an empty frame.
        self.0.flush()?;
        self.0.finish().map_err(io::Error::from)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

fn block_size(size: u64) -> BlockSize {
    match size {
        0..=0x1_0000 => BlockSize::Max64KB,
        // Larger blocks do not compress better, because a match reaches back 64 KiB at most.
        _ => BlockSize::Max256KB,
    }
}

/// Writes `content` as a skippable frame.
pub fn write_skippable(target: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    target.write_all(&skippable_header(length))?;
    target.write_all(content)
}

/// The header of a skippable frame with `length` bytes of content.
pub(super) const fn skippable_header(length: u32) -> [u8; 8] {
    ((length as u64) << 32 | SKIPPABLE as u64).to_le_bytes()
}

/// The content of an object, and the skippable frames that are known once it has been read.
pub(crate) trait ObjectContent: BufRead {
    /// The contents of the skippable frames, without the very long ones. They are complete once
    /// the end has been reached.
    fn skipped(&self) -> &[Vec<u8>];
}

/// Reads the content of an object, and checks that the object is whole.
///
/// Yields an error, never just an end, when the object is cut short, altered, or followed by
/// anything but skippable frames. Trust what was read only once the end has been reached.
#[derive(Debug)]
pub struct Decoder<R> {
    source: R,
    blocks: Blocks,
    block: Block,
    check: ContentCheck,
    content: Buffer,
    /// How many bytes of `content` were read.
    consumed: usize,
    /// The kept skippable frames, once the end has been reached.
    skipped: Option<Vec<Vec<u8>>>,
}

impl<R: Read> Decoder<R> {
    pub fn new(source: R) -> Self {
        Self {
            source,
            blocks: Blocks::default(),
            block: Block::default(),
            check: ContentCheck::default(),
            content: Buffer::default(),
            consumed: 0,
            skipped: None,
        }
    }

    /// The contents of the skippable frames, without the very long ones, once the end has been
    /// reached.
    pub fn skipped(&self) -> &[Vec<u8>] {
        self.skipped.as_deref().unwrap_or_default()
    }
}

impl<R: Read> Decoder<R> {
    /// Decodes the next block, if nothing is left of the last one.
    fn advance(&mut self) -> io::Result<()> {
        while self.consumed == self.content.as_slice().len() && self.skipped.is_none() {
            match self.blocks.next(&mut self.source, &mut self.block)? {
                Part::Block => {
                    self.consumed = 0;
                    self.block.decode(&mut self.content)?;
                    self.check.update(self.content.as_slice());
                }
                Part::End(end) => {
                    self.check.finish(&end)?;
                    self.skipped = Some(end.skipped);
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> BufRead for Decoder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if let Err(error) = self.advance() {
            // The next read must fail again.
            self.blocks = Blocks::ended();
            return Err(error);
        }
        Ok(&self.content.as_slice()[self.consumed..])
    }

    fn consume(&mut self, amount: usize) {
        self.consumed += amount;
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> ObjectContent for Decoder<R> {
    fn skipped(&self) -> &[Vec<u8>] {
        Decoder::skipped(self)
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(content: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), 5 << 20);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(object: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        match Decoder::new(object).read_to_end(&mut content) {
            Ok(_) => Ok(content),
            Err(error) => Err(error.to_string()),
        }
    }

    /// More than one block, and not compressible.
    fn noise() -> Vec<u8> {
        let mut state = 1_u32;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(5 << 20)
        .collect()
    }

    #[test]
    fn begins_as_litestream_can_read_it() {
        // Like Litestream's own, with independent blocks and a checksum of the content, but blocks
        // of 256 KiB, not 4 MiB.
        assert_eq!(encode(b"x")[..6], [0x04, 0x22, 0x4d, 0x18, 0x64, 0x50]);
    }

    #[test]
    fn gives_back_what_was_written() {
        for content in [Vec::new(), b"small".to_vec(), noise()] {
            assert!(decode(&encode(&content)).unwrap() == content);
        }
    }

    #[test]
    fn skips_skippable_frames_on_both_sides_and_keeps_them() {
        let mut object = Vec::new();
        write_skippable(&mut object, b"before").unwrap();
        object.extend(encode(b"content"));
        write_skippable(&mut object, b"behind").unwrap();
        write_skippable(&mut object, &[7; 5000]).unwrap();
        let mut decoder = Decoder::new(object.as_slice());
        let mut content = Vec::new();
        decoder.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"content");
        assert_eq!(decoder.skipped(), [b"before".to_vec(), b"behind".to_vec()]);
    }

    #[test]
    fn refuses_every_cut() {
        let mut object = encode(b"some content");
        write_skippable(&mut object, b"seal").unwrap();
        let data = object.len() - 12;
        for length in (0..object.len()).filter(|&length| length != data) {
            assert!(decode(&object[..length]).is_err(), "cut at {length}");
        }
        let object = encode(&noise());
        let block = 7 + 4 + (256 << 10);
        assert_eq!(decode(&object[..block]).unwrap_err(), "it is cut short");
    }

    #[test]
    fn refuses_what_litestream_would_read_differently() {
        let twice = [encode(b"one"), encode(b"two")].concat();
        assert_eq!(decode(&twice).unwrap_err(), "there is something behind its end");
        assert_eq!(
            decode(b"SQLite format 3").unwrap_err(),
            "it does not begin as an LZ4 frame does"
        );
    }

    /// If all skippable frames were kept, an object of nothing else would take several times its
    /// size in memory, which may be gigabytes.
    #[test]
    fn keeps_few_skippable_frames() {
        let mut object = encode(b"content");
        for _ in 0..SKIPPABLE_MAX {
            write_skippable(&mut object, b"").unwrap();
        }
        assert_eq!(decode(&object).unwrap(), b"content");
        write_skippable(&mut object, b"").unwrap();
        let expected = "it has more skippable frames than anybody writes";
        assert_eq!(decode(&object).unwrap_err(), expected);
    }

    #[test]
    fn refuses_flipped_bits() {
        let good = encode(&noise()[..10_000]);
        for at in (0..good.len()).step_by(97) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            assert!(decode(&bad).is_err(), "byte {at}");
        }
    }

    /// The options of LZ4 that neither we nor Litestream use: somebody may have recompressed an
    /// object.
    fn frames() -> Vec<FrameInfo> {
        let mut frames = vec![FrameInfo::new().block_size(BlockSize::Max64KB)];
        for change in [
            |frame: FrameInfo| frame.block_mode(BlockMode::Linked),
            |frame: FrameInfo| frame.block_checksums(true),
            |frame: FrameInfo| frame.content_checksum(true),
            |frame: FrameInfo| frame.content_size(Some(300_000)),
        ] {
            frames.extend(frames.clone().into_iter().map(change));
        }
        frames
    }

    fn encode_as(frame: FrameInfo, content: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
        // Blocks that are not full, too.
        for run in content.chunks(100_000) {
            encoder.write_all(run).unwrap();
            encoder.flush().unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn reads_every_kind_of_frame() {
        let noise = &noise()[..100_000];
        let content = [noise, &vec![7; 70_000], &noise[..60_000], &noise[3..70_003]].concat();
        assert_eq!(content.len(), 300_000);
        for frame in frames() {
            let object = encode_as(frame.clone(), &content);
            assert!(decode(&object).unwrap() == content, "{frame:?}");
            for length in (0..object.len()).step_by(991) {
                assert!(decode(&object[..length]).is_err(), "{frame:?} cut at {length}");
            }
        }
    }

    #[test]
    fn refuses_what_does_not_match_any_of_its_checksums() {
        let content = &noise()[..100];
        for frame in frames() {
            let frame = frame.content_size(None);
            let object = encode_as(frame.clone(), content);
            let mut bad = object.clone();
            bad[50] ^= 4;
            let outcome = decode(&bad);
            let checked = frame.block_checksums || frame.content_checksum;
            assert_eq!(outcome.is_err(), checked, "{frame:?}");
        }
        let sized = |length: usize| {
            let frame = FrameInfo::new().content_size(Some(length as u64));
            encode_as(frame, &content[..length])
        };
        let header = 4 + 2 + 8 + 1;
        let wrong = [&sized(99)[..header], &sized(100)[header..]].concat();
        assert_eq!(decode(&wrong).unwrap_err(), "the length of its content is wrong");
    }

    /// A caller that goes on after an error must not take what follows for the content.
    #[test]
    fn gives_an_error_again_and_again() {
        let mut object = encode(&noise());
        object[5_000_000] ^= 4;
        let mut decoder = Decoder::new(object.as_slice());
        let mut content = Vec::new();
        assert!(decoder.read_to_end(&mut content).is_err());
        assert!(decoder.read(&mut [0; 10]).is_err());
        assert!(decoder.fill_buf().is_err());
        assert!(decoder.skipped().is_empty());
    }
}
