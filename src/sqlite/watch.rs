use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::sidecar;

/// Waits for changes of a database, or for somebody to call.
///
/// Changes are told by inotify. Network file systems do not tell, and the system may have run out
/// of watches: the one who waits must look for himself every now and then.
#[derive(Debug)]
pub struct Watch {
    changes: Option<OwnedFd>,
    calls: Arc<OwnedFd>,
    /// The database and its log, without their directory.
    names: [OsString; 2],
}

/// Ends the wait of a [`Watch`] from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub fn wake(&self) {
        // Fails only when the counter is full, and then the other side is awake.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl Watch {
    /// Watches the directory of `database`, because the files may come and go.
    pub fn new(database: &Path) -> io::Result<Self> {
        let calls = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let names = [database.to_owned(), sidecar(database, "-wal")]
            .map(|path| path.file_name().unwrap_or_default().to_owned());
        let directory = database.parent().filter(|path| !path.as_os_str().is_empty());
        let changes = watch_directory(directory.unwrap_or(Path::new("."))).ok();
        Ok(Self { changes, calls, names })
    }

    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.calls))
    }

    /// Waits for a call or for the end of `timeout`, and if `for_changes`, for a change. Says
    /// whether there may have been a change: at the end of `timeout` nobody knows.
    pub fn wait(&self, timeout: Duration, for_changes: bool) -> io::Result<bool> {
        let mut sources = vec![PollFd::new(&self.calls, PollFlags::IN)];
        if let Some(changes) = self.changes.as_ref().filter(|_| for_changes) {
            sources.push(PollFd::new(changes, PollFlags::IN));
        }
        let timeout = Timespec::try_from(timeout).ok();
        let timed_out = match poll(&mut sources, timeout.as_ref()) {
            Ok(ready) => ready == 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        let _ = rustix::io::read(&*self.calls, &mut [0; 8]);
        Ok(for_changes && (self.changed() || timed_out))
    }

    /// Takes what inotify has to tell.
    fn changed(&self) -> bool {
        let Some(changes) = &self.changes else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(changes.as_fd(), &mut buffer);
        let mut changed = false;
        while let Ok(event) = reader.next() {
            changed |= event.file_name().is_none_or(|name| {
                self.names.iter().any(|watched| watched.as_bytes() == name.to_bytes())
            });
        }
        changed
    }
}

fn watch_directory(directory: &Path) -> rustix::io::Result<OwnedFd> {
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::MODIFY
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO;
    inotify::add_watch(&changes, directory, events)?;
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a network file system, or where the system is out of watches, a daemon that relied on
    /// being told would never look at the log again.
    #[test]
    fn lets_one_look_when_the_time_is_up_although_nothing_was_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(&directory.path().join("db")).unwrap();
        assert!(watch.wait(Duration::from_millis(1), true).unwrap());
        assert!(!watch.wait(Duration::from_millis(1), false).unwrap());
        watch.changes = None;
        assert!(watch.wait(Duration::from_millis(1), true).unwrap());
        watch.waker().wake();
        assert!(!watch.wait(Duration::from_mins(1), true).unwrap(), "only called");
    }
}
