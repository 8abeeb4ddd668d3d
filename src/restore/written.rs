use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use super::image::Image;
use crate::failpoint::Failpoint;

/// The longest single write. Larger writes are not cheaper, but make Linux keep the file in pieces
/// of that size, each with a list that every later write of one page walks along: tens of
/// microseconds instead of four, for each page that a segment changes.
const WRITE_BYTES: usize = 64 << 10;

/// How many bytes are written between two requests to sync them.
const SYNC_BYTES: u64 = 64 << 20;

/// A file that is synced while it is still being written, so that little is left to wait for in
/// the end.
#[derive(Debug)]
pub(super) struct Written<'scope> {
    file: &'scope File,
    requests: SyncSender<()>,
    syncing: ScopedJoinHandle<'scope, io::Result<()>>,
    /// Bytes since the last request.
    since: u64,
}

impl<'scope> Written<'scope> {
    /// Begins with an empty `file`.
    pub(super) fn new<'env>(
        file: &'scope File,
        scope: &'scope thread::Scope<'scope, 'env>,
    ) -> io::Result<Self> {
        let (requests, requested) = sync_channel(1);
        let syncing = thread::Builder::new()
            .name("sync".to_owned())
            .spawn_scoped(scope, move || sync(file, &requested))?;
        Ok(Self { file, requests, syncing, since: 0 })
    }

    /// Begins to sync what was written. One waiting request is enough.
    pub(super) fn request(&mut self) {
        self.since = 0;
        let _ = self.requests.try_send(());
    }

    /// Waits for the requested syncs. The system reports a disk error only once, so it must be
    /// checked here: a later sync of the same file would not report it.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.requests);
        let ended = |_| io::Error::other("the thread that writes to the disk ended in a panic");
        self.syncing.join().map_err(ended)?
    }
}

/// Syncs the file at each request. After an error it ignores them: nothing makes up for what is
/// lost.
fn sync(file: &File, requested: &Receiver<()>) -> io::Result<()> {
    let mut outcome = Ok(());
    for () in requested {
        if outcome.is_ok() {
            outcome = Failpoint::OutputWritingBack.pass().and_then(|()| file.sync_data());
        }
    }
    outcome
}

impl Image for &mut Written<'_> {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        Failpoint::OutputWriting.pass()?;
        for (run, start) in bytes.chunks(WRITE_BYTES).zip((offset..).step_by(WRITE_BYTES)) {
            self.file.write_all_at(run, start)?;
        }
        self.since += bytes.len() as u64;
        if self.since >= SYNC_BYTES {
            self.request();
        }
        Ok(())
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}
