use std::hash::Hasher;
use std::io::{self, Read};

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::descriptor::Descriptor;
use super::{DATA, SKIPPABLE, SKIPPABLE_KEPT, SKIPPABLE_MASK, SKIPPABLE_MAX, invalid};

/// The bit in the length of a block that marks its content as not compressed.
const STORED: u32 = 1 << 31;

/// How far back, in bytes, a block may refer to the blocks before it.
const WINDOW: usize = 1 << 16;

/// Bytes in an allocation that is reused, and cleared only when it grows.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    length: usize,
}

impl Buffer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Frees the allocation if it is larger than `max`, which is the most that is needed now.
    fn fit(&mut self, max: usize) {
        if self.bytes.len() > max {
            *self = Self::default();
        }
    }

    /// Sets the length to `length`. The content is arbitrary afterwards.
    fn reset(&mut self, length: usize) -> &mut [u8] {
        if self.bytes.len() < length {
            self.bytes = vec![0; length.next_power_of_two()];
        }
        self.length = length;
        &mut self.bytes[..length]
    }
}

/// One block of a frame, as it stands in the object.
#[derive(Debug, Default)]
pub(crate) struct Block {
    data: Buffer,
    stored: bool,
    /// The most bytes that the block may expand to.
    content_max: usize,
}

impl Block {
    /// Decodes the block into `content`. The block must not be used again.
    pub(crate) fn decode(&mut self, content: &mut Buffer) -> io::Result<()> {
        content.fit(self.content_max);
        if self.stored {
            std::mem::swap(content, &mut self.data);
            return Ok(());
        }
        let decoded = decompress_into(self.data.as_slice(), content.reset(self.content_max));
        content.length = *decoded.as_ref().unwrap_or(&0);
        decoded.map(drop).map_err(|error| damaged(&error))
    }
}

/// What is known at the end of an object.
#[derive(Debug)]
pub(crate) struct End {
    checksum: Option<u32>,
    length: Option<u64>,
    /// The contents of the skippable frames, without the very long ones.
    pub(crate) skipped: Vec<Vec<u8>>,
}

/// What an object is made of.
#[derive(Debug)]
pub(crate) enum Part {
    Block,
    End(End),
}

/// Takes an object apart into blocks. Decodes only those that depend on earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    state: State,
    skipped: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Before,
    /// Within the data frame; with the last bytes of the content, if blocks refer to them.
    Within(Descriptor, Vec<u8>),
    /// At the end, or after an error.
    Ended,
}

impl Blocks {
    /// The blocks after damage: there are none.
    pub(super) fn ended() -> Self {
        Self { state: State::Ended, skipped: Vec::new() }
    }

    /// Reads the next part of `source`, and a block into `block`. Every call must pass the same
    /// source.
    ///
    /// An object that is cut short is an error, and so is anything after the data but skippable
    /// frames. Asking again after the end or an error is an error.
    pub(crate) fn next(&mut self, source: &mut impl Read, block: &mut Block) -> io::Result<Part> {
        let (descriptor, mut history) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Before => (self.begin(source)?, Vec::new()),
            State::Within(descriptor, history) => (descriptor, history),
            State::Ended => return Err(invalid("there is nothing behind its end")),
        };
        if !read_block(source, &descriptor, block)? {
            let checksum = descriptor.content_checksum.then(|| read_u32(source)).transpose()?;
            self.end(source)?;
            let skipped = std::mem::take(&mut self.skipped);
            return Ok(Part::End(End { checksum, length: descriptor.content_length, skipped }));
        }
        if descriptor.linked {
            decode_linked(block, &mut history)?;
        }
        self.state = State::Within(descriptor, history);
        Ok(Part::Block)
    }

    /// Skips to the data frame.
    fn begin(&mut self, source: &mut impl Read) -> io::Result<Descriptor> {
        loop {
            match read_magic(source)? {
                Some(magic) if magic & SKIPPABLE_MASK == SKIPPABLE => self.skip(source)?,
                Some(DATA) => return Descriptor::read(source),
                Some(_) => return Err(invalid("it does not begin as an LZ4 frame does")),
                None => return Err(invalid("it is empty")),
            }
        }
    }

    /// Checks that nothing but skippable frames follows the data.
    fn end(&mut self, source: &mut impl Read) -> io::Result<()> {
        while let Some(magic) = read_magic(source)? {
            if magic & SKIPPABLE_MASK != SKIPPABLE {
                return Err(invalid("there is something behind its end"));
            }
            self.skip(source)?;
        }
        Ok(())
    }

    fn skip(&mut self, source: &mut impl Read) -> io::Result<()> {
        let length = read_u32(source)?;
        if length <= SKIPPABLE_KEPT {
            if self.skipped.len() == SKIPPABLE_MAX {
                return Err(invalid("it has more skippable frames than anybody writes"));
            }
            let mut content = vec![0; length as usize];
            read_whole(source, &mut content)?;
            self.skipped.push(content);
        } else if io::copy(&mut source.take(length.into()), &mut io::sink())? < length.into() {
            return Err(invalid("it is cut short"));
        }
        Ok(())
    }
}

/// Compares the decoded blocks of a frame with its content checksum and length.
#[derive(Debug)]
pub(crate) struct ContentCheck {
    checksum: XxHash32,
    length: u64,
}

impl Default for ContentCheck {
    fn default() -> Self {
        Self { checksum: XxHash32::with_seed(0), length: 0 }
    }
}

impl ContentCheck {
    /// Takes the content of the next block.
    pub(crate) fn update(&mut self, content: &[u8]) {
        self.checksum.write(content);
        self.length += content.len() as u64;
    }

    pub(crate) fn finish(&self, end: &End) -> io::Result<()> {
        if end.checksum.is_some_and(|checksum| checksum != self.checksum.finish_32()) {
            return Err(invalid("the checksum of its content is wrong"));
        }
        if end.length.is_some_and(|length| length != self.length) {
            return Err(invalid("the length of its content is wrong"));
        }
        Ok(())
    }
}

/// Reads the next block. Returns `false` if there is none.
fn read_block(
    source: &mut impl Read,
    descriptor: &Descriptor,
    block: &mut Block,
) -> io::Result<bool> {
    let length = read_u32(source)?;
    if length == 0 {
        return Ok(false);
    }
    block.stored = length & STORED != 0;
    block.content_max = descriptor.block_max;
    block.data.fit(descriptor.block_max);
    let length = (length & !STORED) as usize;
    if length > descriptor.block_max {
        return Err(invalid("one of its blocks is too long"));
    }
    read_whole(source, block.data.reset(length))?;
    if descriptor.block_checksums
        && read_u32(source)? != XxHash32::oneshot(0, block.data.as_slice())
    {
        return Err(invalid("the checksum of one of its blocks is wrong"));
    }
    Ok(true)
}

/// Decodes `block` in place, so that it no longer depends on others.
fn decode_linked(block: &mut Block, history: &mut Vec<u8>) -> io::Result<()> {
    if !block.stored {
        let mut content = vec![0; block.content_max];
        let length = decompress_into_with_dict(block.data.as_slice(), &mut content, history)
            .map_err(|error| damaged(&error))?;
        block.data = Buffer { bytes: content, length };
        block.stored = true;
    }
    let content = block.data.as_slice();
    history.extend_from_slice(&content[content.len().saturating_sub(WINDOW)..]);
    history.drain(..history.len().saturating_sub(WINDOW));
    Ok(())
}

/// The next four bytes. `None` if there are none left.
fn read_magic(source: &mut impl Read) -> io::Result<Option<u32>> {
    let mut magic = Vec::with_capacity(4);
    source.take(4).read_to_end(&mut magic)?;
    match <[u8; 4]>::try_from(magic.as_slice()) {
        Ok(magic) => Ok(Some(u32::from_le_bytes(magic))),
        Err(_) if magic.is_empty() => Ok(None),
        Err(_) => Err(invalid("it is cut short")),
    }
}

fn read_u32(source: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    read_whole(source, &mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

pub(super) fn read_whole(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<()> {
    source.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("it is cut short"),
        _ => error,
    })
}

fn damaged(error: &lz4_flex::block::DecompressError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {error}"))
}
