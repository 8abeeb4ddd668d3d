use std::io::{self, Read};

use twox_hash::XxHash32;

use super::blocks::read_whole;
use super::invalid;

const VERSION_MASK: u8 = 0b1100_0000;
const VERSION: u8 = 0b0100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUMS: u8 = 0b0001_0000;
const CONTENT_LENGTH: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const RESERVED: u8 = 0b0000_0010;
const DICTIONARY: u8 = 0b0000_0001;

/// The reserved bits of the byte with the block size.
const SIZE_RESERVED: u8 = 0b1000_1111;

/// The header of a data frame, after its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Whether blocks refer to the blocks before them.
    pub(super) linked: bool,
    pub(super) block_checksums: bool,
    pub(super) content_checksum: bool,
    pub(super) content_length: Option<u64>,
    /// The most bytes of a block, compressed or not.
    pub(super) block_max: usize,
}

impl Descriptor {
    pub(super) fn read(source: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; 10];
        read_whole(source, &mut bytes[..2])?;
        let [flags, size, ..] = bytes;
        if flags & VERSION_MASK != VERSION || flags & RESERVED != 0 || size & SIZE_RESERVED != 0 {
            return Err(invalid("it is of a later version of LZ4, or damaged"));
        }
        if flags & DICTIONARY != 0 {
            return Err(invalid("it needs a dictionary, which nobody has"));
        }
        let block_max = match size >> 4 {
            exponent @ 4..=7 => 1 << (8 + 2 * exponent),
            _ => return Err(invalid("the size of its blocks is none that LZ4 has")),
        };
        let length = if flags & CONTENT_LENGTH == 0 { 2 } else { bytes.len() };
        read_whole(source, &mut bytes[2..length])?;
        let mut checksum = [0];
        read_whole(source, &mut checksum)?;
        if XxHash32::oneshot(0, &bytes[..length]).to_le_bytes()[1] != checksum[0] {
            return Err(invalid("the checksum of its header is wrong"));
        }
        let [_, _, content_length @ ..] = bytes;
        Ok(Self {
            linked: flags & INDEPENDENT == 0,
            block_checksums: flags & BLOCK_CHECKSUMS != 0,
            content_checksum: flags & CONTENT_CHECKSUM != 0,
            content_length: (length > 2).then(|| u64::from_le_bytes(content_length)),
            block_max,
        })
    }
}
