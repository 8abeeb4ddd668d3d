use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{io, thread};

use tracing::warn;

use super::bell::{Attention, Bell};
use crate::sqlite::Watches;

/// How long to pause after ringing: many databases that are written to all the time cost little
/// more than one.
const PAUSE: Duration = Duration::from_millis(5);

/// How long the thread may outlive the last [`Watcher`].
const LINGER: Duration = Duration::from_secs(30);

/// Rings the bells of databases that change: one thread for all of them.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    /// `None` if the kernel cannot notify us of anything.
    watches: Option<Arc<Mutex<Watches<Arc<Bell>>>>>,
    attention: Arc<Attention>,
}

impl Watcher {
    pub(super) fn start() -> Self {
        let attention = Arc::default();
        let watches = begin(&attention).inspect_err(|error| {
            warn!(
                "not told of changes, so every database is looked at in its interval: {error}: is \
                 fs.inotify.max_user_instances (sysctl) used up?"
            );
        });
        Self { watches: watches.ok(), attention }
    }

    pub(super) fn watch(&self, database: PathBuf) -> Watch {
        let bell = self.bell();
        let target = Mutex::new(database.clone());
        Watch { watcher: self.clone(), database, target, bell }
    }

    /// A bell that rings for what [`Watcher::listen`] is asked to listen to.
    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::new(Bell::new(Arc::clone(&self.attention)))
    }

    /// Rings the bell from now on when a file comes or goes in `directory`. Returns whether none
    /// will be missed.
    pub(super) fn listen(&self, directory: &Path, bell: &Arc<Bell>) -> bool {
        let watches = self.watches.as_ref();
        watches.is_some_and(|watches| locked(watches).listen(directory, bell))
    }
}

type Shared = Mutex<Watches<Arc<Bell>>>;

fn begin(attention: &Arc<Attention>) -> io::Result<Arc<Shared>> {
    let watches = Watches::new()?;
    let changes = watches.changes()?;
    let watches = Arc::new(Mutex::new(watches));
    let (weak, attention) = (Arc::downgrade(&watches), Arc::clone(attention));
    thread::Builder::new().name("watcher".to_owned()).spawn(move || {
        while weak.strong_count() > 0 {
            if attention.wait(LINGER) && changes.wait(LINGER) {
                ring(&weak);
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(watches)
}

fn ring(watches: &Weak<Shared>) {
    if let Some(watches) = watches.upgrade() {
        locked(&watches).changed().iter().for_each(|bell| bell.change());
    }
}

/// The watch on one database.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: Watcher,
    database: PathBuf,
    /// The file that is watched.
    target: Mutex<PathBuf>,
    bell: Arc<Bell>,
}

impl Watch {
    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Whether the bell will ring at any change from now on. Otherwise the tail has to poll.
    pub(super) fn is_told(&self) -> bool {
        let Some(watches) = &self.watcher.watches else { return false };
        // The log of a link is beside what the link leads to.
        let target = self.database.canonicalize().unwrap_or_else(|_| self.database.clone());
        let mut before = locked(&self.target);
        if *before != target {
            // The old watch is removed first: both names may be in the same directory.
            locked(watches).remove(&std::mem::replace(&mut *before, target));
        }
        locked(watches).add(&before, &self.bell)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watches) = &self.watcher.watches {
            locked(watches).remove(&locked(&self.target));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn rings_the_bell_of_the_database_that_changed_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let watcher = Watcher::start();
        let watches =
            ["a", "b"].map(|name| watcher.watch(directory.path().join(name).with_extension("db")));
        assert!(watches.iter().all(Watch::is_told));
        let [a, b] = watches.each_ref().map(Watch::bell);
        let other = tokio::spawn(async move { b.wait(LONG, true).await });
        for content in ["begun", "gone on"] {
            fs::write(directory.path().join("a.db-wal"), content).unwrap();
            assert!(a.wait(LONG, true).await);
        }
        assert!(!other.is_finished());
        other.abort();
    }
}
