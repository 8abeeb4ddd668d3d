use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::power;
use crate::rogue::{BUCKET, Rogue};
use crate::state::SCHEMA;

/// The directory of one case.
///
/// ```text
/// volume/app.db               the database
/// volume/.app.db-litestream   the state of the daemon
/// one, two                    replicas
/// record, bytes               what the writers say of themselves
/// copy                        an earlier state of the volume
/// synced                      the state of the daemon, when it was last synced
/// failpoints                  where the daemon is to die or to fail
/// rival                       the same of a second daemon, but for the replicas
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Site {
    home: PathBuf,
    /// Where the replicas are. A second daemon does not have them in its own directory.
    replicas: PathBuf,
}

/// The names of the replicas. Only the first one deletes history, and not in every case.
pub(crate) const REPLICAS: [&str; 2] = ["one", "two"];

impl Site {
    pub(crate) fn at(home: &Path) -> Self {
        Self { home: home.to_owned(), replicas: home.to_owned() }
    }

    /// The site of a second daemon with the same replicas.
    pub(crate) fn of_rival(&self) -> Self {
        Self { home: self.path("rival"), replicas: self.replicas.clone() }
    }

    /// Makes the database and the configuration. `remote` is the S3 server of the replica that the
    /// settings name.
    pub(crate) fn build(&self, settings: &Settings, remote: Option<&Rogue>) -> anyhow::Result<()> {
        fs::create_dir_all(self.volume())?;
        fs::write(self.bytes(), "")?;
        if settings.durable {
            fs::write(self.durable(), "")?;
        }
        let connection = Connection::open(self.database())?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = {}; PRAGMA auto_vacuum = {}; PRAGMA journal_mode = WAL; {SCHEMA}",
            settings.page_size, settings.auto_vacuum
        ))?;
        self.configure(settings, remote)
    }

    /// Copies everything but the replicas for a second daemon, as if somebody had cloned the
    /// machine: now, or when the copy of the volume was made. Nobody may be using it.
    pub(crate) fn clone_for_rival(&self, rival: &Self, earlier: bool) -> anyhow::Result<()> {
        let volume = if earlier { self.path("copy") } else { self.volume() };
        replace_tree(&volume, &rival.volume())?;
        fs::copy(self.record(), rival.record())?;
        fs::write(rival.bytes(), "")?;
        if self.is_durable() {
            fs::write(rival.durable(), "")?;
        }
        Ok(())
    }

    pub(crate) fn configure(
        &self,
        settings: &Settings,
        remote: Option<&Rogue>,
    ) -> anyhow::Result<()> {
        let Settings { checkpoint_pages, checkpoint_interval, snapshots, .. } = settings;
        let Settings { retention, validation, .. } = settings;
        let [one, two] = REPLICAS.map(|name| match remote {
            Some(store) if settings.remote == Some(name) => format!(
                "type: s3, bucket: {BUCKET}, path: {name}, region: us-east-1, endpoint: '{}'",
                store.endpoint()
            ),
            _ => format!("path: {}", self.replica(name).display()),
        });
        let text = format!(
            "logging: {{level: debug}}
shutdown-timeout: 3s
dbs:
- path: {}
  min-checkpoint-page-count: {checkpoint_pages}
  checkpoint-interval: {checkpoint_interval}
  replicas:
  - {{name: one, {one}, sync-interval: 100ms, snapshot-interval: {snapshots},
      retention: {retention}, retention-check-interval: 1s, validation-interval: {validation}}}
  - {{name: two, {two}, sync-interval: 400ms, validation-interval: {validation}}}
",
            self.database().display(),
        );
        Ok(fs::write(self.config(), text)?)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// The directory of a replica, if it is in one.
    pub(crate) fn replica(&self, name: &str) -> PathBuf {
        self.replicas.join(name)
    }

    fn volume(&self) -> PathBuf {
        self.path("volume")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.volume().join("app.db")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.volume().join(".app.db-litestream")
    }

    /// The cursor of the daemon, as text.
    pub(crate) fn cursor(&self) -> String {
        fs::read_to_string(self.state().join("cursor")).unwrap_or_default()
    }

    /// The fork of a replica that the database is replicated to, if there is one.
    pub(crate) fn fork(&self, replica: &str) -> Option<String> {
        let path = self.state().join(format!("staging/{replica}.replica/fork"));
        fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("litestream.yml")
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.path("record")
    }

    fn durable(&self) -> PathBuf {
        self.path("durable")
    }

    /// Whether every transaction is synced before it counts as committed.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable().exists()
    }

    pub(crate) fn failpoints(&self) -> PathBuf {
        self.path("failpoints")
    }

    /// Makes the daemon die or fail where these lines say; without lines, nowhere.
    pub(crate) fn arm(&self, script: &str) -> io::Result<()> {
        let partial = self.path("failpoints.partial");
        fs::write(&partial, script)?;
        fs::rename(partial, self.failpoints())
    }

    fn bytes(&self) -> PathBuf {
        self.path("bytes")
    }

    /// Adds to the bytes that were written to the database.
    pub(crate) fn count_bytes(&self, bytes: u64) -> io::Result<()> {
        let mut file = File::options().append(true).open(self.bytes())?;
        file.write_all(format!("{bytes}\n").as_bytes())
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        let text = fs::read_to_string(self.bytes()).unwrap_or_default();
        text.lines().filter_map(|line| line.parse::<u64>().ok()).sum()
    }

    /// Keeps a copy of the volume as it is. Nobody may be using it.
    pub(crate) fn save_volume(&self) -> io::Result<()> {
        replace_tree(&self.volume(), &self.path("copy"))
    }

    /// Puts the copy back, as if the volume had been restored from an older image.
    pub(crate) fn roll_back_volume(&self) -> io::Result<()> {
        replace_tree(&self.path("copy"), &self.volume())?;
        self.mark_synced()
    }

    /// Copies the state of the daemon, which has just been synced.
    pub(crate) fn mark_synced(&self) -> io::Result<()> {
        if self.state().exists() {
            replace_tree(&self.state(), &self.path("synced"))
        } else {
            Ok(())
        }
    }

    /// Loses what a loss of power may lose, while nothing runs.
    pub(crate) fn lose_power(&self, random: &mut fastrand::Rng) -> io::Result<()> {
        power::lose_tree(&self.state(), &self.path("synced"), random)?;
        for replica in REPLICAS {
            power::lose_partial_objects(&self.replica(replica), random)?;
        }
        if !self.is_durable() {
            power::lose_log(&self.database(), random)?;
        }
        Ok(())
    }

    /// Makes a vacuumed copy of the database and gives it its name. Only the daemon may be using it.
    pub(crate) fn replace_database(&self) -> anyhow::Result<()> {
        let copy = self.volume().join("copy.db");
        let connection = Connection::open(self.database())?;
        connection.busy_timeout(Duration::from_mins(1))?;
        connection.execute("VACUUM INTO ?", [copy.to_str()])?;
        drop(connection);
        let connection = Connection::open(&copy)?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        drop(connection);
        for suffix in ["db-wal", "db-shm"] {
            let path = self.database().with_extension(suffix);
            if path.exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(fs::rename(copy, self.database())?)
    }

    /// Copies the database and its log to a place where they can be opened freely.
    pub(crate) fn copy_database(&self, target: &Path) -> io::Result<()> {
        fs::copy(self.database(), target)?;
        let log = |path: &Path| path.with_extension("db-wal");
        if log(&self.database()).exists() {
            fs::copy(log(&self.database()), log(target))?;
        }
        Ok(())
    }
}

fn replace_tree(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    copy_tree(from, to)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if entry.path().extension().is_none_or(|extension| extension != "db-shm") {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// What differs from case to case.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    page_size: u32,
    auto_vacuum: u32,
    checkpoint_pages: u32,
    checkpoint_interval: &'static str,
    snapshots: &'static str,
    retention: &'static str,
    validation: &'static str,
    /// The replica that is on an S3 server that misbehaves, not in a directory.
    pub(crate) remote: Option<&'static str>,
    /// Whether all transactions are written with `synchronous = FULL`.
    durable: bool,
}

impl Settings {
    pub(crate) fn choose(random: &mut fastrand::Rng) -> Self {
        // From a clone, so that this draw does not change the other decisions of a seed.
        let validation = ["0s", "300ms"][random.clone().usize(..2)];
        Self {
            validation,
            page_size: 512 << random.u32(..8),
            auto_vacuum: random.u32(..3),
            checkpoint_pages: [10, 50, 1000][random.usize(..3)],
            checkpoint_interval: ["200ms", "2s", "1m"][random.usize(..3)],
            snapshots: ["0s", "1s", "3s"][random.usize(..3)],
            retention: ["2s", "24h"][random.usize(..2)],
            remote: [None, Some(REPLICAS[0]), Some(REPLICAS[1])][random.usize(..3)],
            durable: random.bool(),
        }
    }

    /// Whether a replica may have deleted all but the latest history.
    pub(crate) fn forgets(&self, replica: &str) -> bool {
        replica == REPLICAS[0] && self.retention == "2s"
    }
}
