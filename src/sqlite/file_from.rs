use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Reads a file from a position on, without a seek that other users of the file would notice.
#[derive(Debug)]
pub struct FileFrom<'a> {
    file: &'a File,
    /// Bytes from the start of the file.
    offset: u64,
}

impl<'a> FileFrom<'a> {
    pub fn new(file: &'a File, offset: u64) -> Self {
        Self { file, offset }
    }
}

impl Read for FileFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
