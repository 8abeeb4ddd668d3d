use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

/// The length of the header of a database.
const HEADER_BYTES: usize = 100;

/// What a database file was like at some moment, to be seen at a glance: its size, when it was last
/// written to, and its header, in which SQLite counts changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    size: u64,
    modified: SystemTime,
    header: [u8; HEADER_BYTES],
}

impl Fingerprint {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut header = [0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            // It is being overwritten just now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => (),
            outcome => outcome?,
        }
        Ok(Self { size: metadata.len(), modified: metadata.modified()?, header })
    }

    /// Whether the file still matches. Another time alone does not count: `touch` and network file
    /// systems change the time.
    pub(super) fn fits(&mut self, file: &File) -> io::Result<bool> {
        let metadata = file.metadata()?;
        if (metadata.len(), metadata.modified()?) == (self.size, self.modified) {
            return Ok(true);
        }
        let found = Self::of(file)?;
        self.modified = found.modified;
        Ok(found == *self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fits_until_size_or_header_change() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[7; 512], 0).unwrap();
        let fingerprint = Fingerprint::of(&file).unwrap();
        let set_time = |seconds| {
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        let fits = |mut fingerprint: Fingerprint| fingerprint.fits(&file).unwrap();
        assert!(fits(fingerprint));
        set_time(1);
        assert!(fits(fingerprint), "touched");
        file.write_all_at(&[8], 30).unwrap();
        set_time(2);
        assert!(!fits(fingerprint));
        file.set_len(50).unwrap();
        assert!(!fits(fingerprint));
        assert!(fits(Fingerprint::of(&file).unwrap()));
    }
}
