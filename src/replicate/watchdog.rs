//! Looks at every replica from outside, so that nothing can fail silently: not even the code that
//! should report it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::bell::Bell;
use super::health::{Health, Signs, diagnose};
use super::metrics::{DatabaseMetrics, ReplicaMetrics};
use super::options::{DatabaseOptions, ReplicaOptions};
use crate::sqlite::log_path;

const INTERVAL: Duration = Duration::from_secs(1);

/// How many databases are looked at in an interval, so that very many cost no more. Of a thousand,
/// each has its turn before its tail looks by itself, without a notification.
const LOOKS_MAX: usize = 20;

/// How long a look at their files may take.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// Watches all replicas of all databases.
#[derive(Clone, Debug, Default)]
pub(super) struct Watchdog(Arc<Mutex<BTreeMap<PathBuf, Vec<Watched>>>>);

#[derive(Debug)]
struct Watched {
    database: PathBuf,
    name: String,
    interval: Duration,
    database_metrics: DatabaseMetrics,
    metrics: ReplicaMetrics,
    /// Wakes the task that follows the database.
    bell: Arc<Bell>,
    health: Health,
    /// When we began to watch it.
    since: SystemTime,
    /// Since when there has been no database file.
    absent_since: Option<SystemTime>,
    /// Since when the log of a followed database has been missing. While it is followed, it has
    /// one.
    bare_since: Option<SystemTime>,
    /// When the tail last looked at it; `errors` is how many attempts had failed by then.
    looked_at: Option<SystemTime>,
    errors: u64,
    /// Since when there have been changes that the tail has not looked at.
    unseen_since: Option<SystemTime>,
}

/// When the files of a database were last written to, where they exist.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    database: Option<SystemTime>,
    log: Option<SystemTime>,
    /// The database file certainly does not exist, or is empty.
    absent: bool,
}

impl Watchdog {
    pub(super) fn add(
        &self,
        database: &DatabaseOptions,
        database_metrics: &DatabaseMetrics,
        bell: &Arc<Bell>,
    ) {
        let watched = |replica: &ReplicaOptions| Watched {
            database: database.path.clone(),
            name: replica.name.clone(),
            interval: replica.sync_interval,
            database_metrics: database_metrics.clone(),
            metrics: database_metrics.replica(&replica.name),
            bell: Arc::clone(bell),
            health: Health::Good,
            since: SystemTime::now(),
            absent_since: None,
            bare_since: None,
            looked_at: None,
            errors: database_metrics.sync_error_count.get(),
            unseen_since: None,
        };
        let watched = database.replicas.iter().map(watched).collect();
        self.locked().insert(database.path.clone(), watched);
    }

    pub(super) fn remove(&self, database: &Path) {
        self.locked().remove(database);
    }

    /// Watches for ever.
    pub(super) async fn run(self) {
        let (mut last, mut times) = (None, Times::default());
        loop {
            tokio::time::sleep(INTERVAL).await;
            let (databases, is_all) = self.next_behind(last);
            last = databases.last().cloned().filter(|_| !is_all);
            let written = times.written(&databases).await;
            let now = SystemTime::now();
            for (path, written) in databases.iter().zip(written) {
                for watched in self.locked().get_mut(path).into_iter().flatten() {
                    watched.look(written, now);
                }
            }
        }
    }

    /// The databases to look at next, and whether there are no others.
    fn next_behind(&self, last: Option<PathBuf>) -> (Vec<PathBuf>, bool) {
        let databases = self.locked();
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        let mut next = databases.range((behind, Bound::Unbounded)).map(|(path, _)| path.clone());
        let some = next.by_ref().take(LOOKS_MAX).collect();
        (some, next.next().is_none())
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<Watched>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out when files were written to. A disk that hangs must not block anything else: then the
/// times are not known.
#[derive(Debug, Default)]
struct Times {
    looking: Option<JoinHandle<Vec<Written>>>,
}

impl Times {
    async fn written(&mut self, databases: &[PathBuf]) -> Vec<Written> {
        if self.looking.as_ref().is_none_or(JoinHandle::is_finished) {
            let databases = databases.to_vec();
            let look = move || databases.iter().map(|path| Written::of(path)).collect();
            let mut looking = tokio::task::spawn_blocking(look);
            if let Ok(Ok(written)) = timeout(LOOK_MAX, &mut looking).await {
                return written;
            }
            self.looking = Some(looking);
        }
        vec![Written::default(); databases.len()]
    }
}

impl Written {
    fn of(database: &Path) -> Self {
        let (found, time) = (std::fs::metadata, |file: &Metadata| file.modified().ok());
        let (file, log) = (found(database), found(&log_path(database)));
        let absent = match &file {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        let written = |file: io::Result<Metadata>| file.ok().as_ref().and_then(time);
        Self { database: written(file).filter(|_| !absent), log: written(log), absent }
    }
}

impl Watched {
    fn look(&mut self, written: Written, now: SystemTime) {
        let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
        self.absent_since = written.absent.then(|| self.absent_since.unwrap_or(now));
        let followed = self.database_metrics.looked_at().is_some();
        let bare = followed && written.database.is_some() && written.log.is_none();
        self.bare_since = bare.then(|| self.bare_since.unwrap_or(now));
        let unseen = self.unseen_since(written, now);
        if unseen.is_some() {
            // The kernel does not notify us of everything: a write that found the disk full only
            // changes the time of the file.
            self.bell.change();
        }
        let signs = Signs {
            unacknowledged: self.metrics.oldest_unreplicated().map(age),
            unseen: unseen.or(self.bare_since).map(age),
            absent: self.absent_since.map(age),
            ..self.metrics.signs()
        };
        let (health, reason) = diagnose(&signs, self.interval);
        self.metrics.set_health(health, reason);
        if health != self.health {
            self.say(health, reason, signs.unacknowledged.max(signs.unseen).max(signs.absent));
            self.health = health;
        }
    }

    /// Since when there have been changes that the tail has not looked at. A database that it never
    /// looked at may be in no state to be replicated.
    ///
    /// While every attempt fails there are some, whatever the times of the files say, which may not
    /// be known. A later write is no reason to wait longer.
    fn unseen_since(
        &mut self,
        Written { database, log, .. }: Written,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let looked_at = self.database_metrics.looked_at();
        let errors = self.database_metrics.sync_error_count.get();
        if looked_at != self.looked_at {
            (self.looked_at, self.errors) = (looked_at, errors);
        }
        let found = match looked_at {
            Some(looked_at) => log.filter(|written| looked_at < *written),
            None => log.or(database).map(|written| written.max(self.since)),
        };
        let failing = (self.errors < errors).then(|| self.unseen_since.unwrap_or(now));
        self.unseen_since = found.into_iter().chain(failing).min();
        self.unseen_since
    }

    fn say(&self, health: Health, reason: &str, behind: Option<Duration>) {
        let (db, name) = (self.database.display(), &self.name);
        let seconds_behind = behind.unwrap_or_default().as_secs();
        match health {
            Health::Good => info!(%db, name, "replica is good again"),
            Health::Late => warn!(%db, name, seconds_behind, reason, "replica is late"),
            Health::Failing => error!(%db, name, seconds_behind, reason, "replica is failing"),
        }
    }
}
