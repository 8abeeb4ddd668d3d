use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tracing::warn;

use super::durable::{Durability, located, read_text, remove, replace_file};
use crate::format::Generation;
use crate::sqlite::{FileId, FileIdentity, state_directory};

/// The directory for our own state beside a database, held by one process at a time.
///
/// ```text
/// lock              held while a daemon runs
/// cursor            how far the database was captured
/// pages             the digest of each page
/// lineage           the generations that were captured from this database file
/// tables            which tables it has, by the hashes of their names
/// restored          what the file was restored from, and which file and directory that was
/// staging/          segments that some replica does not have yet
/// segment.partial   the segment that is being cut
/// ```
///
/// If it is not in its default place, beside the database file that all links lead to, a `lock` is
/// held there as well: of two daemons with different names for one database, or with different
/// places for their state, the second one is refused.
#[derive(Debug)]
pub(super) struct StateDirectory {
    path: PathBuf,
    identity: FileIdentity,
    /// The locks end with the process, however it ends.
    lock: File,
    _lock_beside: Option<File>,
    /// The directory was made anew, and not everything that we know has been written to it again.
    is_blank: bool,
}

impl StateDirectory {
    /// Makes the directory if needed, and locks it and the database.
    pub(super) fn lock(path: &Path, database: &Path) -> anyhow::Result<Self> {
        if database.parent().is_some_and(|directory| !holds_more_than(directory, path)) {
            warn!(
                db = %database.display(),
                "the directory of the database does not exist, or is empty: check the path, \
                 unless its application is still to put it there"
            );
        }
        create_like(path, database.parent()).with_context(|| not_made(path))?;
        let own_lock = lock(path, database, ANOTHER)?;
        let mut lock_beside = None;
        let beside = resolved(database).map(|database| state_directory(&database));
        if let Some(beside) =
            beside.filter(|beside| path.canonicalize().ok().as_ref() != Some(beside))
        {
            let by = "another litestream process, or by this one under another name";
            let made = create_like(&beside, beside.parent()).map_err(anyhow::Error::from);
            match made.and_then(|()| lock(&beside, database, by)) {
                Ok(lock) => lock_beside = Some(lock),
                Err(error) if error.is::<io::Error>() => warn!(
                    db = %database.display(), path = %beside.display(),
                    "cannot be locked there: another daemon that keeps its state elsewhere would \
                     not be refused: {error:#}"
                ),
                Err(error) => return Err(error),
            }
        }
        let (path, identity) = (path.to_owned(), identity(path)?);
        Ok(Self { path, identity, lock: own_lock, _lock_beside: lock_beside, is_blank: false })
    }

    /// Makes the directory anew if it was removed under us, or replaced. Returns whether it was:
    /// then nothing of what it held can be relied on.
    pub(super) fn renew(&mut self, database: &Path) -> anyhow::Result<bool> {
        let held = FileId::of(&self.lock.metadata()?);
        match fs::symlink_metadata(self.path.join(LOCK)) {
            Ok(found) if FileId::of(&found) == held => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("look into {}", self.path.display()));
            }
            _ => (),
        }
        create_like(&self.path, database.parent()).with_context(|| not_made(&self.path))?;
        self.lock = lock(&self.path, database, ANOTHER)?;
        self.identity = identity(&self.path)?;
        self.is_blank = true;
        Ok(true)
    }

    pub(super) fn is_blank(&self) -> bool {
        self.is_blank
    }

    /// Takes note that everything that we know has been written to it again.
    pub(super) fn note_written_again(&mut self) {
        self.is_blank = false;
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of the directory. A copy has another one, whether or not the database was
    /// copied with it.
    pub(super) fn identity(&self) -> FileIdentity {
        self.identity
    }

    pub(super) fn cursor(&self) -> PathBuf {
        self.path.join("cursor")
    }

    pub(super) fn pages(&self) -> PathBuf {
        self.path.join("pages")
    }

    pub(super) fn lineage(&self) -> PathBuf {
        self.path.join("lineage")
    }

    pub(super) fn tables(&self) -> PathBuf {
        self.path.join("tables")
    }

    /// The restore that was last taken note of.
    pub(super) fn taken_up(&self) -> io::Result<Option<String>> {
        let text = read_text(&self.path.join("restored"))?;
        Ok(text.map(|text| text.trim_end().to_owned()))
    }

    pub(super) fn note_taken_up(&self, restored: &str) -> anyhow::Result<()> {
        let path = self.path.join("restored");
        Ok(replace_file(&path, format!("{restored}\n").as_bytes(), Durability::Power)?)
    }

    /// The generation that Litestream 0.3 wrote last, according to its file here.
    pub(super) fn generation_of_litestream(&self) -> Option<Generation> {
        fs::read_to_string(self.path.join("generation")).ok()?.trim_end().parse().ok()
    }

    pub(super) fn partial_segment(&self) -> PathBuf {
        self.path.join("segment.partial")
    }

    /// Removes what Litestream 0.3 keeps here, so that it starts anew when it comes back, and does
    /// not take up a history that ended long ago. Its replicas are not touched.
    pub(super) fn retire_litestream(&self) {
        for name in ["generation", "generations"] {
            let path = self.path.join(name);
            if let Err(error) = remove(&path) {
                warn!(path = %path.display(), %error, "cannot remove the state of Litestream");
            }
        }
    }
}

/// The name of the file in a state directory that is locked.
const LOCK: &str = "lock";

const ANOTHER: &str = "another litestream process";

fn identity(path: &Path) -> anyhow::Result<FileIdentity> {
    let metadata = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
    Ok(FileIdentity::of(&metadata))
}

/// The path of a database file with all links resolved. `None` while not even its directory exists.
fn resolved(database: &Path) -> Option<PathBuf> {
    let beside = || Some(database.parent()?.canonicalize().ok()?.join(database.file_name()?));
    database.canonicalize().ok().or_else(beside)
}

/// Takes the lock in a state directory, or fails if another process has it.
fn lock(directory: &Path, database: &Path, by: &str) -> anyhow::Result<File> {
    let path = directory.join(LOCK);
    let mut lock = File::options()
        .create(true)
        .append(true)
        // What a link leads to would be emptied.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .with_context(|| not_opened(&path))?;
    match lock.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) if is_ours(&path) => {
            bail!(HeldByUs { database: database.to_owned(), lock: path })
        }
        Err(TryLockError::WouldBlock) => bail!(
            "{} is already being replicated by {by}, which holds {}: stop that one first",
            database.display(),
            path.display()
        ),
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("lock {}", path.display()));
        }
    }
    let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
    written.map_err(|error| located(&path, &error))?;
    Ok(lock)
}

/// Whether this process has written its number to a lock.
fn is_ours(lock: &Path) -> bool {
    fs::read_to_string(lock).is_ok_and(|text| text.trim_end() == std::process::id().to_string())
}

/// A state directory is in use by this process, for a database that had another name when it was
/// opened.
#[derive(Debug)]
pub(super) struct HeldByUs {
    database: PathBuf,
    lock: PathBuf,
}

impl fmt::Display for HeldByUs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is already being replicated by this process under another name, which holds {}",
            self.database.display(),
            self.lock.display()
        )
    }
}

impl std::error::Error for HeldByUs {}

fn not_made(path: &Path) -> String {
    format!(
        "make the state directory {}, where this user must be allowed to write, or else `meta-path` \
         name another place",
        path.display()
    )
}

fn not_opened(path: &Path) -> String {
    // Into the directory of somebody else nobody may look.
    let directory = || path.parent().map_or_else(|| path.metadata(), Path::metadata);
    let owner = path.metadata().or_else(|_| directory()).map(|found| found.uid());
    match owner {
        Ok(owner) if owner != geteuid().as_raw() => format!(
            "open {}, which belongs to another user ({owner}): run as that one, or change the \
             owner of the directory and of all that is in it (chown -R)",
            path.display()
        ),
        _ => format!("open {}", path.display()),
    }
}

/// Makes a private directory with the owner of its neighbour.
fn create_like(path: &Path, neighbour: Option<&Path>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::DirBuilder::new().mode(0o700).create(path)?;
    if let Some(metadata) = neighbour.and_then(|path| fs::metadata(path).ok()) {
        // Only root may give files away; for others the owner is already right, or cannot be.
        let _ = chown(path, Some(metadata.uid()), Some(metadata.gid()));
    }
    Ok(())
}

/// Whether there is anything in a directory but our state.
fn holds_more_than(directory: &Path, state: &Path) -> bool {
    // A directory that cannot be read may hold something.
    let unreadable = |error: io::Error| error.kind() != io::ErrorKind::NotFound;
    fs::read_dir(directory).map_or_else(unreadable, |entries| {
        entries.filter_map(Result::ok).any(|entry| entry.path() != state)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_one_process_in() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join(".a.db-litestream");
        let database = directory.path().join("a.db");
        let first = StateDirectory::lock(&state, &database).unwrap();
        let error = StateDirectory::lock(&state, &database).unwrap_err().to_string();
        assert!(error.contains("is already being replicated"), "{error}");
        drop(first);
        StateDirectory::lock(&state, &database).unwrap();
    }

    /// Two daemons, each with a state of its own, would both capture the log, and each would let it
    /// be reset before the other has read it.
    #[test]
    fn lets_one_process_in_whatever_the_database_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (database, link) = (path("a.db"), path("b.db"));
        std::os::unix::fs::symlink(&database, &link).unwrap();
        for exists in [false, true] {
            let elsewhere = StateDirectory::lock(&path("state"), &database).unwrap();
            for (state, name) in [(path(".a.db-litestream"), &database), (path("other"), &database)]
            {
                let error = StateDirectory::lock(&state, name).unwrap_err().to_string();
                assert!(error.contains("is already being replicated"), "{error}");
            }
            let linked = StateDirectory::lock(&path(".b.db-litestream"), &link);
            assert_eq!(linked.is_err(), exists, "what is not there has no other name yet");
            drop((elsewhere, linked));
            fs::write(&database, "").unwrap();
        }
    }

    /// The owner of the database owns the directory as well, and the daemon may be root.
    #[test]
    fn a_lock_that_is_a_link_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [state, precious] = ["state", "precious"].map(|name| directory.path().join(name));
        fs::create_dir(&state).unwrap();
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, state.join("lock")).unwrap();
        let error = StateDirectory::lock(&state, &directory.path().join("a.db")).unwrap_err();
        assert!(error.to_string().ends_with("state/lock"), "{error}");
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }
}
