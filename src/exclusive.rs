//! Files that only one process at a time writes, and renames that replace no other file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};

/// Creates an empty file with these permission bits, locked while it is open. Replaces a file that
/// an earlier process left behind.
///
/// Fails with [`io::ErrorKind::WouldBlock`] while another process has it locked, so that two
/// processes never write to one file.
pub(crate) fn create_locked(path: &Path, mode: u32) -> io::Result<File> {
    loop {
        // Do not follow a symbolic link: its target is not ours.
        let no_follow = OFlags::NOFOLLOW.bits().cast_signed();
        match OpenOptions::new().write(true).custom_flags(no_follow).open(path) {
            Ok(leftover) => {
                lock(&leftover)?;
                // The process that held the lock may have renamed the file to its final name.
                if is_at(&leftover.metadata()?, path) {
                    fs::remove_file(path)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
        let mut options = OpenOptions::new();
        match options.read(true).write(true).create_new(true).mode(mode).open(path) {
            Ok(file) => {
                lock(&file)?;
                // Another process may have taken the new file for a leftover, and locked and
                // removed it.
                if is_at(&file.metadata()?, path) {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(error),
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let message = "another process is writing it";
            Err(io::Error::new(io::ErrorKind::WouldBlock, message))
        }
        // Go on without a lock if the file system has none.
        _ => Ok(()),
    }
}

fn is_at(file: &Metadata, path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|at| (at.dev(), at.ino()) == (file.dev(), file.ino()))
}

/// Renames without replacing anything: fails with [`io::ErrorKind::AlreadyExists`] if `target`
/// exists.
///
/// On a file system that supports neither such a rename nor hard links, it replaces what another
/// process creates at the same moment.
pub(crate) fn rename_to_new(source: &Path, target: &Path) -> io::Result<()> {
    match renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            // The file system does not support this rename. A hard link does not replace anything
            // either.
            match fs::hard_link(source, target) {
                Ok(()) => fs::remove_file(source),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
                Err(_) if target.symlink_metadata().is_ok() => {
                    Err(io::ErrorKind::AlreadyExists.into())
                }
                Err(_) => fs::rename(source, target),
            }
        }
        outcome => Ok(outcome?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_writes_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tmp");
        fs::write(&path, "left by an earlier process").unwrap();
        let file = create_locked(&path, 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        let error = create_locked(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(file);
        create_locked(&path, 0o600).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let [path, precious] = ["a.tmp", "precious"].map(|name| directory.path().join(name));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        create_locked(&path, 0o600).unwrap_err();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        fs::write(&one, "1").unwrap();
        rename_to_new(&one, &other).unwrap();
        fs::write(&one, "2").unwrap();
        let error = rename_to_new(&one, &other).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&other).unwrap(), b"1");
    }
}
