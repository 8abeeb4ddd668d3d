use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::access::Access;
use super::failure::failure;
use super::root::Root;
use crate::exclusive::rename_to_new;
use crate::failpoint::Failpoint;
use crate::store::{Result, StoreError};

/// The end of the name of a file that is not complete yet.
pub(super) const SUFFIX: &str = ".tmp";

/// How often to try to create a file: another process may remove its directory, which was just
/// created and is still empty.
const CREATE_ATTEMPTS: u32 = 16;

const BUFFER_BYTES: usize = 1 << 18;

/// A file under a temporary name, removed again unless it is published.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Partial {
    /// Creates the temporary file beside `target`, and the directories that are missing, including
    /// those above `root`.
    pub(super) fn create(
        root: &Root,
        target: &Path,
        files: Access,
        directories: Access,
    ) -> Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(SUFFIX);
        let path = PathBuf::from(name);
        let directory = target.parent().unwrap_or(root.path());
        let mut attempt = 1;
        loop {
            let created = create_directories(directory, directories, root.to_be_kept())
                .and_then(|()| files.create_file(&path));
            match created {
                Ok(file) => return Ok(Self { path, file, published: false }),
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound && attempt < CREATE_ATTEMPTS =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(failure("create", &path, &error)),
            }
        }
    }

    pub(super) fn fill(mut self, source: &mut dyn Read) -> Result<Self> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => return Ok(self),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::Source(error)),
            };
            Failpoint::ObjectWriting
                .pass()
                .and_then(|()| self.file.write_all(&buffer[..length]))
                .map_err(|error| failure("write", &self.path, &error))?;
        }
    }

    /// Gives the file its name, in a way that survives a loss of power.
    pub(super) fn publish(self, target: &Path) -> Result<()> {
        let renamed = |from: &Path| fs::rename(from, target);
        self.publish_by(target, renamed)
    }

    /// Publishes the file, unless there is one of that name: then returns `false`.
    pub(super) fn publish_new(self, target: &Path) -> Result<bool> {
        let mut exists = false;
        self.publish_by(target, |from| match rename_to_new(from, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                exists = true;
                fs::remove_file(from)
            }
            outcome => outcome,
        })?;
        Ok(!exists)
    }

    fn publish_by(
        mut self,
        target: &Path,
        rename: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<()> {
        Failpoint::ObjectSyncing
            .pass()
            .and_then(|()| self.file.sync_all())
            .map_err(|error| failure("write", &self.path, &error))?;
        Failpoint::ObjectRenaming
            .pass()
            .and_then(|()| rename(&self.path))
            .map_err(|error| failure("create", target, &error))?;
        self.published = true;
        Failpoint::ObjectRenamed
            .pass()
            .and_then(|()| sync_parent(target))
            .map_err(|error| failure("sync the directory of", target, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Like `create_dir_all`, but durable, and with a mode and an owner for what is new.
fn create_directories(path: &Path, access: Access, kept: Option<&Path>) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if kept == Some(path) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if let Some(parent) = path.parent() {
        create_directories(parent, access, kept)?;
    }
    match access.create_directory(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::ErrorKind::NotADirectory.into())
        }
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
