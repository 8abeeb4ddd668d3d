//! The restored file: complete and in its place, or not there at all.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, anyhow, ensure};
use tracing::{info, warn};

use crate::exclusive::{create_locked, rename_to_new};
use crate::failpoint::Failpoint;
use crate::sqlite::{ClaimError, Claimed};

/// The permission bits of a finished database, less the process's umask.
///
/// Litestream leaves 0600, which shuts out users who share the data through a group; SQLite itself
/// would let everybody read.
const MODE: u32 = 0o640;
const MODE_PARTIAL: u32 = 0o600;

/// The files that SQLite keeps beside a database, and would apply to whatever file has its name.
const SIDE_FILES: [&str; 3] = ["-wal", INDEX, "-journal"];

/// The suffix of the index of the log. SQLite can rebuild everything in it.
const INDEX: &str = "-shm";

/// Whether there is anything under that name, even a dangling link.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses anything that is not a regular file.
pub(super) fn check_replaceable(path: &Path) -> anyhow::Result<()> {
    let kind = path.symlink_metadata()?.file_type();
    // SQLite keeps the side files beside the target of a link.
    ensure!(!kind.is_symlink(), "{} is a link: name the file that it leads to", path.display());
    ensure!(kind.is_file(), "{} is not a file", path.display());
    Ok(())
}

pub(super) fn in_use(path: &Path) -> anyhow::Error {
    anyhow!("cannot replace {}: it is in use, end what uses it first", path.display())
}

/// An incomplete database, under a hidden name beside its final one.
///
/// The file is removed on drop unless it was published. A leftover of a killed process is removed
/// by the next restore to the same path.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    mode: u32,
    published: bool,
}

/// Why a file was not put in its place.
#[derive(Debug)]
pub(super) enum PublishError {
    Exists,
    Other(anyhow::Error),
}

impl Output {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let directory = directory(path);
        make_directory(directory)
            .with_context(|| format!("cannot create directory {}", directory.display()))?;
        let partial = hidden(path, "restore")?;
        let file = create_locked(&partial, MODE)
            .with_context(|| format!("cannot create {}", partial.display()))
            .with_context(|| {
                let directory = directory.display();
                format!("restore into {directory}, where this user must be allowed to make files")
            })?;
        // Created with the final mode to learn the umask, which cannot be queried safely.
        let mode = file.metadata()?.permissions().mode() & MODE;
        let path = path.to_owned();
        let output = Self { file, partial, path, mode, published: false };
        output.file.set_permissions(fs::Permissions::from_mode(MODE_PARTIAL))?;
        Ok(output)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Where the file is until it is published.
    pub(super) fn partial(&self) -> &Path {
        &self.partial
    }

    /// An empty file without a name, on the same disk.
    pub(super) fn scratch(&self) -> anyhow::Result<File> {
        let directory = directory(&self.path);
        tempfile::tempfile_in(directory)
            .with_context(|| format!("cannot create a temporary file in {}", directory.display()))
    }

    /// Makes the file durable and gives it its name. Anything that already has the name is
    /// replaced if `replace` is set, and otherwise an error.
    pub(super) fn publish(mut self, replace: bool) -> Result<(), PublishError> {
        self.finish().map_err(PublishError::Other)?;
        let old = exists(&self.path).unwrap_or(true);
        if old && !replace {
            return Err(PublishError::Exists);
        }
        let renamed = if old {
            self.replace().map_err(PublishError::Other)?;
            Ok(())
        } else {
            set_aside_side_files(&self.path).map_err(PublishError::Other)?;
            let ready = Failpoint::OutputRenaming.pass();
            ready.and_then(|()| rename_to_new(&self.partial, &self.path))
        };
        match renamed {
            Ok(()) => self.published = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(PublishError::Exists);
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                return Err(PublishError::Other(error.context("cannot rename the restored file")));
            }
        }
        let directory = directory(&self.path);
        // The database is in place, so this is no reason to fail; some file systems do not support
        // it.
        let renamed = Failpoint::OutputRenamed.pass().and_then(|()| File::open(directory));
        if let Err(error) = renamed.and_then(|directory| directory.sync_all()) {
            warn!(path = %directory.display(), %error, "cannot write the directory to the disk");
        }
        Ok(())
    }

    /// Replaces another database.
    ///
    /// A database and its log cannot be replaced in one step, so the log must be empty before the
    /// database is replaced: SQLite copies it into the old database, and keeps everybody out until
    /// the new one has its name. If we are killed at any moment, there is the old database with
    /// all of its commits, or the new one with nothing beside it that would be applied to it. The
    /// log is set aside unread only if SQLite cannot read the old database.
    fn replace(&self) -> anyhow::Result<()> {
        let path = self.path.display();
        check_replaceable(&self.path)?;
        let claimed = match Claimed::claim(&self.path) {
            Ok(claimed) => Some(claimed),
            Err(ClaimError::NoDatabase(error)) => {
                warn!(%path, %error, "what is replaced is no database that SQLite can read");
                None
            }
            Err(ClaimError::Busy) => {
                return Err(in_use(&self.path));
            }
            Err(ClaimError::Other(error)) => {
                return Err(error.context(format!("cannot replace {path}")));
            }
        };
        Failpoint::OutputClaimed.pass()?;
        if claimed.is_some() {
            // SQLite has emptied the log that this index belongs to.
            remove_index(&self.path)?;
        }
        set_aside_side_files(&self.path)?;
        let renamed =
            Failpoint::OutputRenaming.pass().and_then(|()| fs::rename(&self.partial, &self.path));
        renamed.context("cannot rename the restored file")
    }

    /// Gives the file its final owner and mode, and makes it durable. The owner is that of the old
    /// file or else of the directory, if we are allowed to set it.
    fn finish(&self) -> anyhow::Result<()> {
        let old = self.path.symlink_metadata().ok().filter(Metadata::is_file);
        let mode = old.as_ref().map_or(self.mode, |old| old.permissions().mode() & 0o777);
        let example = old.map_or_else(|| directory(&self.path).metadata(), Ok)?;
        if rustix::process::geteuid().is_root()
            && let Err(error) = fchown(&self.file, Some(example.uid()), Some(example.gid()))
        {
            warn!(path = %self.path.display(), %error, "cannot give the file to its owner");
        }
        self.file
            .set_permissions(fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", self.partial.display()))?;
        let synced = Failpoint::OutputSyncing.pass().and_then(|()| self.file.sync_all());
        synced.context("cannot write to the disk")
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs::remove_file(&self.partial)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %self.partial.display(), %error, "cannot remove the incomplete file");
        }
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Creates a directory and its missing parents, each with the mode of its parent, less the umask,
/// and with its parent's owner if we are allowed to set it: that user will own the database as
/// well, and must be able to reach it.
fn make_directory(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent().filter(|_| !path.exists()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    make_directory(parent)?;
    let example = parent.metadata()?;
    match DirBuilder::new().mode(example.mode() & 0o777).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        outcome => outcome?,
    }
    // Only root may give directories away, and not every file system has owners.
    let _ = chown(path, Some(example.uid()), Some(example.gid()));
    Ok(())
}

/// `.NAME.suffix` beside `path`.
fn hidden(path: &Path, suffix: &str) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("no file name: {}", path.display()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(suffix);
    Ok(path.with_file_name(hidden))
}

fn remove_index(path: &Path) -> anyhow::Result<()> {
    let index = with_suffix(path, INDEX);
    match fs::remove_file(&index) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", index.display()))
        }
        _ => Ok(()),
    }
}

/// Renames the side files of a database that is gone. SQLite would take them for those of the
/// restored one and write old pages into it. They are kept, since they may be all that is left of
/// the database.
fn set_aside_side_files(path: &Path) -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    for suffix in SIDE_FILES {
        let side_file = with_suffix(path, suffix);
        if !exists(&side_file)? {
            continue;
        }
        let mut number = now.as_secs();
        let kept = loop {
            let kept = with_suffix(&side_file, &format!(".before-restore-{number}"));
            match rename_to_new(&side_file, &kept) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => {
                    let context = format!("cannot set {} aside", side_file.display());
                    return Err(anyhow::Error::new(error).context(context));
                }
                Ok(()) => break kept,
            }
        };
        let (path, kept) = (side_file.display(), kept.display());
        if suffix == INDEX {
            info!(%path, %kept, "set aside a file of an earlier database");
            continue;
        }
        warn!(
            %path, %kept,
            "set aside a file of an earlier database, which SQLite would have applied to the \
             restored one"
        );
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
