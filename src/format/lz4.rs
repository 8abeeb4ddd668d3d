//! The container of every object: one LZ4 frame, then perhaps skippable frames.
//!
//! Litestream's reader takes only the first of several data frames and fails on block checksums,
//! so there is exactly one data frame, of independent blocks with a checksum of the content, as its
//! writer makes it. Skippable frames, where the [`Seal`](super::Seal) is, it ignores.
//!
//! Source: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>

use std::io::{self, Chain, Cursor, Read, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// The skippable frame that we write. Readers skip all sixteen of them.
const SKIPPABLE: u32 = 0x184d_2a50;
const SKIPPABLE_MASK: u32 = 0xffff_fff0;
const DATA: u32 = 0x184d_2204;

/// What of a skippable frame is kept; a longer one is skipped without being looked at.
const SKIPPABLE_KEPT: u32 = 4096;

/// How many skippable frames an object may have: all that are kept are in memory.
const SKIPPABLE_MAX: usize = 64;

/// Compresses what is written to it.
pub struct Encoder<W: Write>(FrameEncoder<W>);

impl<W: Write> Encoder<W> {
    /// `size` is about how much there will be: both sides need buffers of the size of a block, so
    /// small objects are made of smaller ones.
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
        // Larger ones are not smaller together, for a match reaches back 64 KiB at most.
        _ => BlockSize::Max256KB,
    }
}

/// Writes `content` as a skippable frame.
pub fn write_skippable(target: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    target.write_all(&skippable_header(length))?;
    target.write_all(content)
}

/// What a skippable frame with that many bytes of content begins with.
pub(super) const fn skippable_header(length: u32) -> [u8; 8] {
    ((length as u64) << 32 | SKIPPABLE as u64).to_le_bytes()
}

/// Reads the content of an object, and checks that the object is whole.
///
/// Yields an error, never just an end, when the object is cut short, altered, or followed by
/// anything but skippable frames. What was read is only to be trusted once the end was reached.
pub struct Decoder<R: Read> {
    state: State<R>,
    skipped: Vec<Vec<u8>>,
}

type Source<R> = Chain<Cursor<[u8; 4]>, Watched<R>>;

enum State<R: Read> {
    Before(R),
    Within(Box<FrameDecoder<Source<R>>>),
    Ended,
}

impl<R: Read> Decoder<R> {
    pub fn new(source: R) -> Self {
        Self { state: State::Before(source), skipped: Vec::new() }
    }

    /// The contents of the skippable frames so far, without the very long ones.
    pub fn skipped(&self) -> &[Vec<u8>] {
        &self.skipped
    }

    /// Skips to the data frame, whose first four bytes are known by then and read again.
    fn begin(&mut self, mut source: R) -> io::Result<()> {
        loop {
            match read_magic(&mut source)? {
                Some(magic) if magic & SKIPPABLE_MASK == SKIPPABLE => self.skip(&mut source)?,
                Some(DATA) => break,
                Some(_) => return Err(invalid("it does not begin as an LZ4 frame does")),
                None => return Err(invalid("it is empty")),
            }
        }
        let source = Cursor::new(DATA.to_le_bytes()).chain(Watched { source, ended: false });
        self.state = State::Within(Box::new(FrameDecoder::new(source)));
        Ok(())
    }

    /// Checks what is behind the data.
    ///
    /// The decoder takes a frame that was cut between two blocks for a whole one. But of a whole
    /// frame it never reads beyond the end, so the end of the source tells the two apart.
    fn end(&mut self, decoder: FrameDecoder<Source<R>>) -> io::Result<()> {
        let (_, Watched { mut source, ended }) = decoder.into_inner().into_inner();
        if ended {
            return Err(invalid("it is cut short"));
        }
        while let Some(magic) = read_magic(&mut source)? {
            if magic & SKIPPABLE_MASK != SKIPPABLE {
                return Err(invalid("there is something behind its end"));
            }
            self.skip(&mut source)?;
        }
        Ok(())
    }

    fn skip(&mut self, source: &mut R) -> io::Result<()> {
        let mut length = [0; 4];
        source.read_exact(&mut length).map_err(|error| cut_short(&error))?;
        let length = u32::from_le_bytes(length);
        if length <= SKIPPABLE_KEPT {
            if self.skipped.len() == SKIPPABLE_MAX {
                return Err(invalid("it has more skippable frames than anybody writes"));
            }
            let mut content = vec![0; length as usize];
            source.read_exact(&mut content).map_err(|error| cut_short(&error))?;
            self.skipped.push(content);
        } else if io::copy(&mut source.take(length.into()), &mut io::sink())? < length.into() {
            return Err(invalid("it is cut short"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Before(source) => self.begin(source)?,
                State::Within(mut decoder) => {
                    let read = decoder.read(buffer).map_err(|error| cut_short(&error))?;
                    if read > 0 || buffer.is_empty() {
                        self.state = State::Within(decoder);
                        return Ok(read);
                    }
                    self.end(*decoder)?;
                }
                State::Ended => return Ok(0),
            }
        }
    }
}

impl<R: Read> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// The next four bytes. `None` if there are none left.
fn read_magic(source: &mut impl Read) -> io::Result<Option<u32>> {
    let mut magic = [0; 4];
    let mut filled = 0;
    while filled < magic.len() {
        match source.read(&mut magic[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(invalid("it is cut short")),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(u32::from_le_bytes(magic)))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut_short(error: &io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it is cut short"),
        kind => io::Error::new(kind, error.to_string()),
    }
}

/// Remembers whether the end of the source was met.
struct Watched<R> {
    source: R,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.ended |= read == 0 && !buffer.is_empty();
        Ok(read)
    }
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
    fn begins_as_an_object_of_litestream() {
        assert_eq!(encode(b"x")[..7], [0x04, 0x22, 0x4d, 0x18, 0x64, 0x70, 0xb9]);
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

    /// All skippable frames were kept, so that an object of nothing else took several times its
    /// size in memory: gigabytes, if it had that many.
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
}
