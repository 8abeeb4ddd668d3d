use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tracing::{debug, error, info, warn};

use super::bell::Bell;
use super::directory::{DirectoryOptions, Followed, Look};
use super::engine::Engine;
use super::health::Health;
use super::metrics::Metrics;
use super::options::DatabaseOptions;
use super::outcome::Unreplicated;
use super::state_directory::HeldByUs;
use super::watcher::Watcher;

/// How many of the files that are left out are named at once.
const NAMED_MAX: usize = 20;

/// How often directories are looked at where the kernel notifies us of changes, in case it did not.
const SAFETY_INTERVAL: Duration = Duration::from_secs(30);

/// The least time between two looks, which take a tenth of all time at most.
const PACE: Duration = Duration::from_millis(250);
const PACE_OF_LOOK: u32 = 10;

/// How soon to look again when some file may become a database, or one may be gone.
const UNSETTLED_INTERVAL: Duration = Duration::from_secs(1);

/// The directories whose databases are all followed, including those that come later.
#[derive(Debug)]
pub(super) struct Directories {
    options: Vec<DirectoryOptions>,
    watcher: Watcher,
    bell: Arc<Bell>,
    /// The directories that were last looked into.
    listening: BTreeSet<PathBuf>,
    /// The databases that were found in directories that are watched, and are followed.
    found: BTreeSet<PathBuf>,
    /// The databases that the last look did not find. They are gone if the next one does not
    /// either: a file that is being replaced may be missing for a moment.
    missing: BTreeSet<PathBuf>,
    /// The databases that cannot be followed, and why, which is logged once.
    refused: BTreeMap<PathBuf, String>,
    /// What cannot be looked into, and why, which is logged once.
    unreadable: BTreeMap<PathBuf, String>,
    /// The directories that do not exist, which is logged once.
    absent: BTreeSet<PathBuf>,
    /// What the metrics show as not followed.
    left_out: BTreeSet<PathBuf>,
    /// New names of files that are open, and are followed under another name.
    renamed: BTreeSet<PathBuf>,
    /// Files that match a pattern and are no databases, which is logged once.
    others: BTreeSet<PathBuf>,
    /// Hard links, which are logged once.
    linked: BTreeSet<PathBuf>,
    /// Something that was found last is neither followed nor known to be no database.
    unsettled: bool,
    /// The least time between two looks.
    pace: Duration,
    /// How long until the directories are looked at again.
    pause: Duration,
}

impl Directories {
    pub(super) fn new(options: Vec<DirectoryOptions>, watcher: Watcher) -> Self {
        let bell = watcher.bell();
        Self {
            options,
            watcher,
            bell,
            listening: BTreeSet::new(),
            found: BTreeSet::new(),
            renamed: BTreeSet::new(),
            missing: BTreeSet::new(),
            refused: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            absent: BTreeSet::new(),
            left_out: BTreeSet::new(),
            others: BTreeSet::new(),
            linked: BTreeSet::new(),
            unsettled: false,
            pace: PACE,
            pause: SAFETY_INTERVAL,
        }
    }

    /// Follows what is there at the start; from then on, only directories that are to be watched
    /// count. An error is one that only a person can resolve.
    pub(super) async fn follow_first(&mut self, engine: &mut Engine) -> anyhow::Result<()> {
        for directory in &self.options {
            if !directory.watch && !directory.path.is_dir() {
                bail!("{} is no directory", directory.path.display());
            }
        }
        let look = look(self.options.clone(), followed(engine)).await?;
        look.expect_all(&self.options).context("look for databases")?;
        if look.databases.is_empty()
            && engine.followed().next().is_none()
            && self.options.iter().all(|directory| !directory.watch)
        {
            bail!(
                "no databases found: look at `dir` and `pattern`, or set `watch` to wait for some"
            );
        }
        self.note_unreadable(look.unreadable);
        self.note_others(look.others);
        self.note_linked(look.linked);
        engine.start(look.databases.clone())?;
        self.options.retain(|directory| directory.watch);
        // A database that has come back by then can be followed again.
        engine.tell_of_ends(Arc::clone(&self.bell));
        let watched = look.databases.iter().map(|database| database.path.clone());
        self.found = watched
            .filter(|path| self.options.iter().any(|directory| directory.database(path).is_some()))
            .collect();
        self.follow(engine).await;
        Ok(())
    }

    /// Waits until something may have come or gone. Can be dropped and called again.
    pub(super) async fn changed(&self) {
        if self.options.is_empty() {
            std::future::pending::<()>().await;
        } else {
            // Many files that do not concern us may come and go.
            tokio::time::sleep(self.pace).await;
            self.bell.wait(self.pause, true).await;
        }
    }

    /// Follows databases that have come, and stops following those that are gone.
    pub(super) async fn follow(&mut self, engine: &mut Engine) {
        if self.options.is_empty() {
            return;
        }
        let began = Instant::now();
        let look = look(self.options.clone(), followed(engine)).await;
        self.pace = PACE.max(PACE_OF_LOOK * began.elapsed());
        match look {
            Ok(look) => self.take(look, engine),
            Err(error) => {
                warn!("cannot look for databases, will retry: {error:#}");
                self.pause = UNSETTLED_INTERVAL;
            }
        }
    }

    /// Logs what cannot be looked into, once for each reason.
    fn note_unreadable(&mut self, unreadable: BTreeMap<PathBuf, String>) {
        for (path, reason) in &unreadable {
            if self.unreadable.get(path) != Some(reason) {
                error!(
                    path = %path.display(), reason,
                    "cannot be read: databases that are there are not replicated"
                );
            }
        }
        self.unreadable = unreadable;
    }

    /// Logs which directories do not exist. They may come yet.
    fn note_absent(&mut self, there: &[PathBuf]) {
        let paths = self.options.iter().map(|directory| &directory.path);
        let absent =
            paths.filter(|path| !there.contains(path) && !self.unreadable.contains_key(*path));
        let absent: BTreeSet<PathBuf> = absent.cloned().collect();
        for path in absent.difference(&self.absent) {
            warn!(path = %path.display(), "waiting for a directory that does not exist: check `dir`");
        }
        self.absent = absent;
    }

    /// Shows in the metrics what is not followed.
    fn show_left_out(&mut self, metrics: &Metrics) {
        let not_replicated = self.refused.keys().chain(self.unreadable.keys());
        let not_replicated =
            not_replicated.map(|path| (path, Health::Failing, "it is not replicated: see the log"));
        let absent = self.absent.iter().map(|path| {
            (path, Health::Late, "the directory does not exist: check `dir`, if it should")
        });
        let mut left_out = BTreeSet::new();
        for (path, health, reason) in not_replicated.chain(absent) {
            metrics.leave_out(path, health, reason);
            left_out.insert(path.clone());
        }
        self.left_out.difference(&left_out).for_each(|path| metrics.take_in(path));
        self.left_out = left_out;
    }

    /// Logs which files are left out although they match a pattern.
    fn note_others(&mut self, others: BTreeSet<PathBuf>) {
        if let Some((paths, others)) = new_names(&self.others, &others) {
            warn!(
                paths,
                others,
                "not replicated: these match the pattern, but are not SQLite databases, or are \
                 encrypted"
            );
        }
        self.others = others;
    }

    /// Logs which names are hard links to databases that have other names.
    fn note_linked(&mut self, linked: BTreeSet<PathBuf>) {
        if let Some((paths, others)) = new_names(&self.linked, &linked) {
            warn!(
                paths,
                others,
                "not replicated: these are hard links to databases that are replicated by another \
                 name. Open each by one name only: by each name it has a log of its own"
            );
        }
        self.linked = linked;
    }

    /// The databases that cannot be followed, and the places where there may be others.
    pub(super) fn unreplicated(&self) -> Vec<Unreplicated> {
        let left_out = self.refused.iter().chain(&self.unreadable);
        let renamed = self.renamed.iter();
        let renamed = renamed.map(|path| (path, "it was just renamed, and is not followed yet"));
        let left_out = left_out.map(|(path, reason)| (path, reason.as_str())).chain(renamed);
        left_out.map(|(path, reason)| Unreplicated::not_followed(path, reason.to_owned())).collect()
    }

    fn take(&mut self, look: Look, engine: &mut Engine) {
        let there: BTreeSet<&PathBuf> =
            look.databases.iter().map(|database| &database.path).collect();
        // A database in a directory that cannot be read is not known to be gone.
        let unknown = |path: &PathBuf| look.unreadable.keys().any(|at| path.starts_with(at));
        let is_missing = |path: &&PathBuf| !there.contains(path) && !unknown(path);
        let missing: BTreeSet<PathBuf> = self.found.iter().filter(is_missing).cloned().collect();
        for path in missing.intersection(&self.missing) {
            info!(db = %path.display(), "the database is gone, and is no longer followed");
            engine.retire(path);
            self.found.remove(path);
        }
        self.missing = missing.intersection(&self.found).cloned().collect();
        self.refused.retain(|path, _| there.contains(path));
        self.note_unreadable(look.unreadable);
        self.note_others(look.others);
        self.note_linked(look.linked);
        self.note_absent(&look.directories);
        self.renamed = look.renamed;
        let interval = look.databases.iter().map(|database| database.monitor_interval).min();
        let (followed, told) = (followed(engine), self.listen(&look.directories));
        let directories = look.directories.into_iter().collect();
        // A new directory is looked into again, for what came before we listened to it.
        let before = std::mem::replace(&mut self.listening, directories);
        for database in look.databases {
            if !followed.contains(&database.path) {
                self.add(database, engine);
            }
        }
        self.show_left_out(engine.metrics());
        let left_out = !self.refused.is_empty() || !self.unreadable.is_empty();
        let unsettled = look.unsettled || !self.missing.is_empty() || left_out;
        let again = std::mem::replace(&mut self.unsettled, unsettled);
        self.pause = if before != self.listening || (unsettled && !again) {
            UNSETTLED_INTERVAL
        } else if unsettled {
            // Some file may stay empty for ever.
            (2 * self.pause).min(SAFETY_INTERVAL)
        } else if told {
            SAFETY_INTERVAL
        } else {
            interval.unwrap_or(UNSETTLED_INTERVAL)
        };
    }

    fn add(&mut self, database: DatabaseOptions, engine: &mut Engine) {
        let path = database.path.clone();
        match engine.add(database) {
            Ok(()) => {
                info!(db = %path.display(), "a database has come, and is followed");
                self.refused.remove(&path);
                self.found.insert(path);
            }
            // If its directory was renamed, it is about to be followed no more by its old name.
            Err(error) if error.is::<HeldByUs>() && !self.refused.contains_key(&path) => {
                debug!(db = %path.display(), "tried again: {error}");
                self.refused.insert(path, format!("tried again: {error}"));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                if self.refused.get(&path) != Some(&reason) {
                    error!(db = %path.display(), "cannot follow a database: {reason}");
                    self.refused.insert(path, reason);
                }
            }
        }
    }

    /// Lets the bell ring for whatever comes or goes. Returns whether nothing will be missed.
    fn listen(&self, directories: &[PathBuf]) -> bool {
        let all = directories.iter().all(|path| self.watcher.listen(path, &self.bell));
        // A directory that does not exist has to be polled.
        all && self.options.iter().all(|directory| directories.contains(&directory.path))
    }
}

/// The names that are new, and how many more there are than are named at once.
fn new_names(known: &BTreeSet<PathBuf>, found: &BTreeSet<PathBuf>) -> Option<(String, usize)> {
    let mut new = found.difference(known).map(|path| path.display().to_string());
    let named: Vec<String> = new.by_ref().take(NAMED_MAX).collect();
    (!named.is_empty()).then(|| (named.join(", "), new.count()))
}

/// What is followed, by the names and by the files that are open.
fn followed(engine: &Engine) -> Followed {
    let mut followed = Followed::default();
    engine.followed().for_each(|path| followed.add(path));
    engine.open_files().into_iter().for_each(|file| followed.add_open(file));
    followed
}

/// Looks for databases, in a thread that may block.
async fn look(options: Vec<DirectoryOptions>, mut followed: Followed) -> anyhow::Result<Look> {
    let look = tokio::task::spawn_blocking(move || Look::into(&options, &mut followed));
    look.await.context("look for databases")
}
