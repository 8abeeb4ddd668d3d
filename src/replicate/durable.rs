//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::failpoint::Failpoint;

/// What a file must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// The end of this process: the kernel keeps what was written.
    Process,
    /// A loss of power as well.
    Power,
}

/// Reads a text file that may be missing. What is not UTF-8 in it is replaced.
pub(super) fn read_text(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(located(path, &error)),
    }
}

/// Adds the path to an error, and a remedy where there is one.
pub(super) fn located(path: &Path, error: &io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull => "; make room on this file system",
        io::ErrorKind::QuotaExceeded => "; raise the quota, or make room",
        io::ErrorKind::ReadOnlyFilesystem => "; mount it writable",
        io::ErrorKind::PermissionDenied => {
            "; if it belongs to another user, run as that one, or change the owner of the \
             directory and of all that is in it (chown -R)"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("{}: {error}{remedy}", path.display()))
}

/// Replaces the content of `path`. After a crash the content is the old or the new one.
pub(super) fn replace_file(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    try_replace(path, content, durability).map_err(|error| located(path, &error))
}

fn try_replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = create_anew(File::options().write(true), &partial)?;
    file.write_all(content)?;
    if durability == Durability::Power {
        Failpoint::StateSyncing.pass()?;
        file.sync_all()?;
    }
    Failpoint::StateRenaming.pass()?;
    fs::rename(&partial, path)?;
    Failpoint::StateRenamed.pass()?;
    if durability == Durability::Power {
        sync_parent(path)?;
    }
    Ok(())
}

/// Overwrites a small file in place, for which even a full disk has room.
///
/// After a crash the content is the old or the new one if both have the same length and fit into a
/// sector, which a disk writes as a whole. A longer old one may leave its end after the new one.
pub(super) fn overwrite_file(
    path: &Path,
    content: &[u8],
    durability: Durability,
) -> io::Result<()> {
    let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
    let mut file = File::options().write(true).custom_flags(no_follow).open(path)?;
    file.write_all(content)?;
    file.set_len(content.len() as u64)?;
    if durability == Durability::Power { file.sync_all() } else { Ok(()) }
}

/// Whether an error says that the disk or the quota is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes an empty file in the place of what an earlier process left.
///
/// The owner of the database may have put a link there, to a file of somebody else: that file is
/// left alone.
pub(super) fn create_anew(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => options.create_new(true).open(path),
    }
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Removes a file or a tree that may be missing.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    Failpoint::StateRemoving.pass()?;
    let outcome = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_link_leads_to_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [path, precious] = ["cursor", "precious"].map(|name| directory.path().join(name));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, path.with_extension("partial")).unwrap();
        for durability in [Durability::Process, Durability::Power] {
            replace_file(&path, b"content", durability).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"content");
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink(&precious, &path).unwrap();
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }
}
