use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::case::PATIENCE;
use crate::process::Hang;

/// Keeps alive an application that is the daemon's child, not ours: it may outlive the daemon, but
/// not the rig.
///
/// The rig and the application each hold a locked file. When the rig's lock is released, in
/// whatever way, the application ends at once; and when the application's file can be locked, the
/// application is gone.
#[derive(Debug)]
pub(crate) struct Leash {
    path: PathBuf,
    held: File,
}

impl Leash {
    /// Makes a leash, at a path that was not used before: an application that starts late must not
    /// take a later leash for its own.
    pub(crate) fn hold(path: PathBuf) -> io::Result<Self> {
        let held = File::create(&path)?;
        held.lock()?;
        Ok(Self { path, held })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the application a signal, if it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        let text = fs::read_to_string(presence(&self.path)).unwrap_or_default();
        if let Some(pid) = text.trim_end().parse().ok().and_then(Pid::from_raw) {
            // The application may just have ended.
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends the application, and waits until it is gone.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        drop(self.held);
        let presence = File::options().create(true).append(true).open(presence(&self.path))?;
        let began = Instant::now();
        while let Err(TryLockError::WouldBlock) = presence.try_lock() {
            ensure!(began.elapsed() < PATIENCE, Hang("the application does not end".to_owned()));
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// For the application: ends this process when nobody holds the leash any more. Must be called
/// before anything else, and the value must be kept.
pub(crate) fn follow(path: &Path) -> anyhow::Result<File> {
    let present = File::options().create(true).append(true).open(presence(path))?;
    present.lock()?;
    fs::write(presence(path), format!("{}\n", process::id()))?;
    let leash = File::open(path).context("the leash")?;
    ensure!(matches!(leash.try_lock_shared(), Err(TryLockError::WouldBlock)), "nobody holds it");
    thread::spawn(move || {
        let _ = leash.lock_shared();
        let _ = kill_process(rustix::process::getpid(), Signal::KILL);
    });
    Ok(present)
}

/// The file that the application holds.
fn presence(leash: &Path) -> PathBuf {
    leash.with_extension("application")
}
