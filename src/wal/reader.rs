use std::io::{self, Read};

use super::{ByteOrder, Checksum, FrameHeader, PageSize, Salt, WalHeader};

/// Reads the frames of one WAL in order, as far as they are valid.
///
/// Frames of an unfinished transaction are returned too: a caller that copies frames must stop at
/// the last one with a `commit`.
#[derive(Debug)]
pub struct FrameReader<R> {
    source: R,
    order: ByteOrder,
    page_size: PageSize,
    salt: Salt,
    checksum: Checksum,
}

impl<R: Read> FrameReader<R> {
    /// Reads from right after the header of a WAL.
    pub fn new(source: R, header: &WalHeader) -> Self {
        Self::resume(source, header, header.checksum)
    }

    /// Reads from a frame within the WAL. `checksum` is that of the frame before it.
    pub fn resume(source: R, header: &WalHeader, checksum: Checksum) -> Self {
        let WalHeader { order, page_size, salt, .. } = *header;
        Self { source, order, page_size, salt, checksum }
    }

    /// The checksum of the last frame that was read.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    pub fn get_mut(&mut self) -> &mut R {
        &mut self.source
    }

    pub fn into_inner(self) -> R {
        self.source
    }

    /// Reads the next frame's page into `page`, which is one page long. `None` at the end of the
    /// log: no more bytes, or bytes that do not belong to it.
    pub fn next_frame(&mut self, page: &mut [u8]) -> io::Result<Option<FrameHeader>> {
        assert_eq!(page.len(), self.page_size.bytes());
        let mut head = [0; FrameHeader::SIZE];
        if !read_whole(&mut self.source, &mut head)? || !read_whole(&mut self.source, page)? {
            return Ok(None);
        }
        let frame = FrameHeader::parse(&head);
        if frame.page == 0 || frame.salt != self.salt {
            return Ok(None);
        }
        let checksum = frame.expected(self.checksum, self.order, page);
        if frame.checksum != checksum {
            return Ok(None);
        }
        self.checksum = checksum;
        Ok(Some(frame))
    }
}

/// Fills `buffer`. Returns `false` if the source ended before it was full.
fn read_whole(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match source.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FrameWriter;
    use super::*;

    fn log() -> Vec<u8> {
        let header = WalHeader::new(PageSize::new(512).unwrap(), Salt(*b"saltsalt"));
        let mut writer = FrameWriter::new(Vec::new(), &header).unwrap();
        for (page, commit) in [(1, None), (2, Some(2)), (3, Some(3))] {
            writer.write_frame(page, commit, &[u8::try_from(page).unwrap(); 512]).unwrap();
        }
        writer.into_inner()
    }

    /// The page numbers that are read of a log.
    fn read(bytes: &[u8]) -> Vec<u32> {
        let header = WalHeader::parse(bytes[..32].try_into().unwrap()).unwrap();
        let mut reader = FrameReader::new(&bytes[32..], &header);
        let mut page = [0; 512];
        std::iter::from_fn(|| reader.next_frame(&mut page).unwrap())
            .map(|frame| frame.page)
            .collect()
    }

    #[test]
    fn reads_what_was_written() {
        assert_eq!(read(&log()), [1, 2, 3]);
    }

    #[test]
    fn stops_before_the_first_frame_that_is_cut_or_altered() {
        let log = log();
        for length in WalHeader::SIZE..log.len() {
            let whole = (length - WalHeader::SIZE) / 536;
            assert_eq!(read(&log[..length]).len(), whole, "cut at {length}");
        }
        for at in (WalHeader::SIZE..log.len()).step_by(7) {
            let mut altered = log.clone();
            altered[at] ^= 0x10;
            assert_eq!(read(&altered).len(), (at - WalHeader::SIZE) / 536, "altered at {at}");
        }
    }
}
