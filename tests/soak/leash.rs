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

/// What keeps an application alive which is the daemon's child, and not ours: it may outlive the
/// daemon, but not the rig.
///
/// Both hold a file locked. When the one of the rig is let go of, however that comes, the
/// application ends on the spot; and when the one of the application can be locked, that is gone.
#[derive(Debug)]
pub(crate) struct Leash {
    path: PathBuf,
    held: File,
}

impl Leash {
    /// A new one, at a path that was not used before: an application that starts late must not take
    /// the next one for its own.
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
            // It may have ended just now.
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

/// As the application: ends this process when nobody holds the leash any more. Nothing may be done
/// before, and the value is to be kept.
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
