use std::fmt;
use std::fs::Metadata;
use std::num::ParseIntError;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::UNIX_EPOCH;

/// Identifies a file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Identifies a file among those of its file system, over restarts too.
///
/// By its inode number, which is soon given to another file when it is removed, and by when it was
/// made, where that is known. The number of the file system itself may be another one after each
/// boot.
///
/// As text, it is the inode number and the nanoseconds since 1970, or 0, with `@` between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    inode: u64,
    /// Nanoseconds since 1970.
    created: Option<u128>,
}

impl FileIdentity {
    /// The identity from metadata, without opening the file: closing it again would drop all locks
    /// that this process has on it, see [`crate::sqlite`].
    pub fn of(metadata: &Metadata) -> Self {
        let created = metadata.created().ok();
        let since = created.and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        Self { inode: metadata.ino(), created: since.map(|since| since.as_nanos()) }
    }

    /// Whether no other file has ever had this identity, or ever will.
    pub fn is_unique(self) -> bool {
        self.created.is_some()
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.inode, self.created.unwrap_or_default())
    }
}

impl FromStr for FileIdentity {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (inode, created) = text.split_once('@').unwrap_or((text, ""));
        let created = Some(created.parse()?).filter(|&nanos| nanos > 0);
        Ok(Self { inode: inode.parse()?, created })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_back_as_it_was_written() {
        for (created, is_unique) in [(None, false), (Some(1_700_000_000_123_456_789), true)] {
            let identity = FileIdentity { inode: u64::MAX, created };
            assert_eq!(identity.to_string().parse(), Ok(identity));
            assert_eq!(identity.is_unique(), is_unique);
        }
        for text in ["", "1", "@", "1@", "@2", "1@x"] {
            assert!(text.parse::<FileIdentity>().is_err(), "{text}");
        }
    }
}
