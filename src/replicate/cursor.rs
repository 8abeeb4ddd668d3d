use std::collections::HashMap;
use std::fmt::{Display, Write as _};
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use twox_hash::XxHash3_64;

use super::durable::{Durability, read_text, replace_file};
use super::last_write::LastWrite;
use super::marks::Marks;
use crate::format::{Digest, Generation, Link, WalPos};
use crate::sqlite::FileIdentity;
use crate::wal::{Checksum, PageSize, Salt};

/// Where in SQLite's log a position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the first byte of a log that is yet to be read.
    Start,
    /// After the frame that ends at `offset` in the file and carries this checksum, in the log with
    /// this salt.
    Within { salt: Salt, offset: u64, checksum: Checksum },
}

/// How far a database has been captured: all the state there is.
///
/// The checksum of a WAL is cumulative, so the salt and the checksum of the place stand for
/// everything before it, and tell whether the log that is found later is still the one that was
/// read. The replicas hold a shorter WAL than that log, for a segment has each page only once:
/// `pos` and `checksum` are about theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) generation: Generation,
    /// Where the next segment begins.
    pub(super) pos: WalPos,
    /// The checksum of the last frame before `pos`, which the next segment continues. Not used at
    /// the start of a WAL, where the checksum of the header is continued.
    pub(super) checksum: Checksum,
    /// How far SQLite's log was read.
    pub(super) place: Place,
    pub(super) page_size: PageSize,
    /// The size of the database there, in pages.
    pub(super) pages: u32,
    /// The digest of the database there.
    pub(super) digest: Digest,
    /// The marks on its first page there, as far as that was seen.
    pub(super) marks: Marks,
    /// The link of the last segment.
    pub(super) link: Link,
    /// When the last commit was made, as far as we saw.
    pub(super) committed: SystemTime,
}

/// A cursor as it was found on disk.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) cursor: Cursor,
    /// Which file the database is, see `Database::identity`.
    pub(super) file: FileIdentity,
    /// Which directory the cursor is kept in. `None`: an earlier version of this program wrote it,
    /// which did not record that.
    pub(super) directory: Option<FileIdentity>,
    /// When the database file was last written to, no later than the time of the cursor.
    pub(super) written: Option<LastWrite>,
    /// The file was found not to be what was captured, and no generation has begun with it since.
    pub(super) refuted: bool,
    /// Which run of the operating system wrote it.
    pub(super) boot: String,
    /// The daemon stopped cleanly, and what it left is on disk even after a power loss.
    pub(super) clean: bool,
}

impl Saved {
    /// Reads the cursor. `None` if there is none, or none that can be trusted: then a generation
    /// begins, which is always safe.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        Ok(read_text(path)?.as_deref().and_then(Self::parse))
    }

    /// Whether this cursor is about `file`, which is there now in the place of the one that was
    /// captured. If the directory is another one too, as after a move to another disk, the cursor
    /// was moved along with the file, and is about it.
    pub(super) fn is_about(&self, file: FileIdentity, directory: FileIdentity) -> bool {
        self.file == file || self.directory.is_some_and(|before| before != directory)
    }

    /// Notes on disk that the file is not what was captured: a process that goes on from the cursor
    /// would take the file for that.
    pub(super) fn refute(path: &Path) -> io::Result<()> {
        let saved = Self::load(path)?;
        saved.map_or(Ok(()), |it| Self { refuted: true, ..it }.store(path, Durability::Power))
    }

    /// Replaces the cursor on disk.
    pub(super) fn store(&self, path: &Path, durability: Durability) -> io::Result<()> {
        replace_file(path, self.to_text().as_bytes(), durability)
    }

    fn to_text(&self) -> String {
        let Cursor { generation, pos, checksum, place, .. } = &self.cursor;
        let Cursor { page_size, pages, digest, marks, link, committed, .. } = &self.cursor;
        let committed = committed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut text = String::new();
        let mut field = |name, value: &dyn Display| {
            let _ = writeln!(text, "{name} {value}");
        };
        field("version", &2);
        field("generation", generation);
        field("pos", pos);
        field("checksum", checksum);
        field("page-size", &page_size.get());
        field("pages", pages);
        field("digest", digest);
        field("changes", &marks.changes);
        field("schema", &marks.schema);
        field("link", link);
        field("committed", &committed.as_millis());
        field("file", &self.file);
        field("boot", &self.boot);
        field("clean", &self.clean);
        if let Place::Within { salt, offset, checksum } = place {
            field("log-salt", salt);
            field("log-offset", offset);
            field("log-checksum", checksum);
        }
        if let Some(directory) = &self.directory {
            field("directory", directory);
        }
        if let Some(written) = &self.written {
            field("written", written);
        }
        if self.refuted {
            field("refuted", &true);
        }
        let signature = XxHash3_64::oneshot(text.as_bytes());
        let _ = writeln!(text, "signature {signature:016x}");
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (signed, signature) = text.trim_end().rsplit_once('\n')?;
        let signature = u64::from_str_radix(signature.strip_prefix("signature ")?, 16).ok()?;
        if XxHash3_64::oneshot(format!("{signed}\n").as_bytes()) != signature {
            return None;
        }
        let fields = Fields(signed.lines().filter_map(|line| line.split_once(' ')).collect());
        if fields.text("version")? != "2" {
            return None;
        }
        let place = match fields.hex("log-salt") {
            Some(salt) => Place::Within {
                salt: Salt(salt.to_be_bytes()),
                offset: fields.parse("log-offset")?,
                checksum: fields.checksum("log-checksum")?,
            },
            None => Place::Start,
        };
        let cursor = Cursor {
            generation: fields.parse("generation")?,
            pos: fields.parse("pos")?,
            checksum: fields.checksum("checksum")?,
            place,
            page_size: PageSize::new(fields.parse("page-size")?)?,
            pages: fields.parse("pages")?,
            digest: fields.parse("digest")?,
            marks: Marks {
                changes: fields.parse("changes").unwrap_or_default(),
                schema: fields.parse("schema").unwrap_or_default(),
            },
            link: fields.parse("link")?,
            committed: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_millis(fields.parse("committed")?))?,
        };
        let boot = fields.text("boot").unwrap_or_default().to_owned();
        Some(Self {
            cursor,
            file: fields.parse("file")?,
            directory: fields.parse("directory"),
            written: fields.parse("written"),
            refuted: fields.parse("refuted").unwrap_or_default(),
            boot,
            clean: fields.parse("clean")?,
        })
    }
}

struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn hex(&self, name: &str) -> Option<u64> {
        u64::from_str_radix(self.text(name)?, 16).ok()
    }

    fn checksum(&self, name: &str) -> Option<Checksum> {
        self.hex(name).map(|bits| Checksum::from_bytes(bits.to_be_bytes()))
    }

    fn parse<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(place: Place) -> Saved {
        let cursor = Cursor {
            generation: Generation::from_bits(7),
            pos: "00000003_00001038".parse().unwrap(),
            checksum: Checksum { first: 3, second: 4 },
            place,
            page_size: PageSize::new(4096).unwrap(),
            pages: 12,
            digest: Digest(34),
            marks: Marks { changes: 78, schema: 9 },
            link: Link(56),
            committed: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        };
        let written = "1600000000123456789 1500000000123456789".parse().ok();
        let refuted = place != Place::Start;
        Saved {
            cursor,
            file: "314@15".parse().unwrap(),
            directory: "31@0".parse().ok(),
            written,
            refuted,
            boot: "0b5a".to_owned(),
            clean: true,
        }
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        let within = Place::Within {
            salt: Salt(*b"saltsalt"),
            offset: 5_000_000_000,
            checksum: Checksum { first: 1, second: u32::MAX },
        };
        for place in [Place::Start, within] {
            let found = Saved::parse(&saved(place).to_text()).unwrap();
            assert_eq!(found.cursor, saved(place).cursor);
            assert!(found.clean && found.boot == "0b5a");
            assert!(found.written.is_some() && found.written == saved(place).written);
            assert_eq!(found.refuted, saved(place).refuted);
            assert_eq!((found.file, found.directory), (saved(place).file, saved(place).directory));
        }
    }

    #[test]
    fn is_not_believed_when_anything_is_altered_or_missing() {
        let text = saved(Place::Start).to_text();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'5' { b'6' } else { b'5' };
            assert!(Saved::parse(&String::from_utf8(bytes).unwrap()).is_none(), "byte {at}");
            assert!(Saved::parse(&text[..at]).is_none(), "cut at {at}");
        }
    }
}
