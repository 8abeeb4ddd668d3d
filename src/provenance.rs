//! What a database file was restored from, noted on the file itself.
//!
//! It is an extended attribute, which adds nothing to the database, leaves no file beside it, and
//! moves with the file. Where a file system has none, a replica does not recognize its database
//! after a restore unless the two are still equal, see `replicate::descent`.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, getxattr, removexattr};
use rustix::io::Errno;

use crate::format::Key;

const NAME: &str = "user.litestream.restored";

/// Longer than any key.
const BYTES_MAX: usize = 128;

/// The newest object that a replica had when a database was restored from it. This holds even for
/// a restore to an earlier moment: the user knew that the replica had more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Provenance(pub(crate) Key);

impl Provenance {
    /// Writes the note to a file that was just restored.
    pub(crate) fn note(&self, file: &File) -> io::Result<()> {
        Ok(fsetxattr(file, NAME, self.0.to_string().as_bytes(), XattrFlags::empty())?)
    }

    /// Removes the note from a file whose content has been replaced.
    pub(crate) fn forget(path: &Path) -> io::Result<()> {
        match removexattr(path, NAME) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// What is noted on a file. `None` also if there is no such file, or it cannot be read.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let mut bytes = [0; BYTES_MAX];
        let length = getxattr(path, NAME, &mut bytes[..]).ok()?;
        std::str::from_utf8(&bytes[..length]).ok()?.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_with_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        assert_eq!(Provenance::of(&path), None);
        let file = File::create(&path).unwrap();
        assert_eq!(Provenance::of(&path), None);
        let key = "generations/67c3797361749ad0/wal/00000001_00001038.wal.lz4".parse().unwrap();
        // Not every file system has extended attributes.
        if Provenance(key).note(&file).is_ok() {
            let renamed = directory.path().join("b.db");
            std::fs::rename(path, &renamed).unwrap();
            assert_eq!(Provenance::of(&renamed), Some(Provenance(key)));
            Provenance::forget(&renamed).unwrap();
            assert_eq!(Provenance::of(&renamed), None);
            Provenance::forget(&renamed).unwrap();
        }
    }
}
