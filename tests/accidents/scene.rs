use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::contender::Contender;
use crate::it::support::{Process, open};
use crate::restoration::Restoration;
use crate::settings::Settings;

/// A machine with a database on a volume, and a replica elsewhere.
pub(crate) struct Scene {
    pub(crate) contender: Contender,
    home: tempfile::TempDir,
    replica: PathBuf,
    count: AtomicU32,
}

impl Scene {
    pub(crate) fn new(contender: Contender) -> Self {
        Self::with(contender, Settings::default())
    }

    pub(crate) fn with(contender: Contender, settings: Settings) -> Self {
        let home = tempfile::tempdir().unwrap();
        let replica = home.path().join("replica");
        Self { contender, home, replica, count: AtomicU32::default() }.prepared(settings)
    }

    /// Another machine with the same replica.
    pub(crate) fn beside(other: &Self) -> Self {
        let home = tempfile::tempdir().unwrap();
        let replica = other.replica.clone();
        let scene = Self { contender: other.contender, home, replica, count: AtomicU32::default() };
        scene.prepared(Settings::default())
    }

    fn prepared(self, settings: Settings) -> Self {
        fs::create_dir(self.volume()).unwrap();
        let text = settings.text(self.contender, &self.database(), &self.replica);
        fs::write(self.config(), text).unwrap();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.path("volume")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("volume/app.db")
    }

    pub(crate) fn replica(&self) -> &Path {
        &self.replica
    }

    fn config(&self) -> PathBuf {
        self.path("litestream.yml")
    }

    /// A path that nobody else uses.
    pub(crate) fn fresh(&self, suffix: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("{number}.{suffix}"))
    }

    /// Deletes the volume.
    pub(crate) fn lose_volume(&self) {
        fs::remove_dir_all(self.volume()).unwrap();
        fs::create_dir(self.volume()).unwrap();
    }

    /// Adds rows, each in a transaction of its own, as an application that comes and goes.
    pub(crate) fn write(&self, rows: u32) {
        let connection = open(&self.database());
        let table = "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, content)";
        connection.execute_batch(table).unwrap();
        for _ in 0..rows {
            connection
                .execute("INSERT INTO t (content) VALUES (hex(randomblob(200)))", [])
                .unwrap();
        }
    }

    /// Starts a command with the configuration, and a log of its own.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let config = self.config();
        let [command, arguments @ ..] = arguments else { unreachable!() };
        let head = [command, "-config", config.to_str().unwrap()];
        let mut command =
            self.contender.command(self.home.path(), &[&head[..], arguments].concat());
        Process::start(&mut command, &self.fresh("log"))
    }

    /// Starts to replicate, and waits until the daemon can be stopped.
    pub(crate) fn replicate(&self) -> Process {
        let mut daemon = self.start(&["replicate"]);
        daemon.wait_for(match self.contender {
            Contender::Ours => "initialized db",
            Contender::Peer(_) => "replicating to",
        });
        daemon
    }

    /// Stops a daemon as a user does. Returns its exit code, if it ends.
    pub(crate) fn stop(&self, mut daemon: Process) -> Option<i32> {
        daemon.signal(Signal::TERM);
        daemon.wait_within(self.contender.patience())
    }

    /// Replicates `rows` rows, and stops the daemon cleanly.
    pub(crate) fn replicate_once(&self, rows: u32) {
        self.write(rows);
        let daemon = self.replicate();
        self.wait_for_rows(rows);
        self.stop(daemon);
    }

    /// Waits until `rows` rows can be restored. Returns whether that happened.
    pub(crate) fn wait_for_rows(&self, rows: u32) -> bool {
        self.wait_until(|| self.restore(&[]).rows() == Some(rows))
    }

    /// Waits until `is_true` returns true. Returns whether that happened.
    pub(crate) fn wait_until(&self, mut is_true: impl FnMut() -> bool) -> bool {
        let began = Instant::now();
        while began.elapsed() < self.contender.patience() {
            if is_true() {
                return true;
            }
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    /// Restores to a new file.
    pub(crate) fn restore(&self, arguments: &[&str]) -> Restoration {
        let output = self.fresh("restored");
        let to = ["restore", "-o", output.to_str().unwrap()];
        let database = self.database();
        let arguments = [&to, arguments, &[database.to_str().unwrap()]].concat();
        self.finish(self.start(&arguments), output)
    }

    /// Restores to where the database belongs.
    pub(crate) fn restore_in_place(&self) -> Restoration {
        let database = self.database();
        self.finish(self.start(&["restore", database.to_str().unwrap()]), database)
    }

    /// Restores from a directory that is in no configuration.
    pub(crate) fn restore_from(&self, replica: &Path) -> Restoration {
        let output = self.fresh("restored");
        let url = format!("file://{}", replica.display());
        let arguments = ["restore", "-o", output.to_str().unwrap(), &url];
        let mut command = self.contender.command(self.home.path(), &arguments);
        self.finish(Process::start(&mut command, &self.fresh("log")), output)
    }

    fn finish(&self, mut restore: Process, output: PathBuf) -> Restoration {
        let status = restore.wait_within(self.contender.patience());
        Restoration { output, status, log: restore.log() }
    }

    /// All that can be restored from the replica: its latest state, and the forks.
    pub(crate) fn histories(&self) -> Vec<Restoration> {
        let mut histories = vec![self.restore(&[])];
        for fork in names(&self.replica.join("forks")) {
            histories.push(self.restore_from(&self.replica.join("forks").join(fork)));
        }
        for generation in names(&self.replica.join("generations")) {
            histories.push(self.restore(&["-generation", &generation]));
        }
        histories
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
