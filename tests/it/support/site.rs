use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ::litestream::failpoint::SCRIPT;
use rustix::process::Signal;

use super::{Listing, Peer, Process, Workload, assert_same, eventually, litestream, open, settle};

/// A directory with a database, its replica beside it, and a configuration.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    count: AtomicU32,
    boots: AtomicU32,
}

impl Site {
    /// Uses settings that make everything happen soon.
    pub(crate) fn new() -> Self {
        Self::with("monitor-interval: 50ms", "sync-interval: 50ms")
    }

    /// Uses these settings of the database and of its replica.
    pub(crate) fn with(database: &str, replica: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let site = Self { directory, count: AtomicU32::default(), boots: AtomicU32::default() };
        site.configure(database, &[&format!("path: {}, {replica}", site.replica().display())]);
        site
    }

    /// Replaces the configuration.
    pub(crate) fn configure(&self, database: &str, replicas: &[&str]) {
        let replicas: Vec<String> =
            replicas.iter().map(|replica| format!("{{{replica}}}")).collect();
        let replicas = replicas.join(", ");
        let path = self.database();
        let text =
            format!("dbs: [{{path: {}, {database}, replicas: [{replicas}]}}]\n", path.display());
        fs::write(self.config(), text).unwrap();
    }

    /// Adds a setting that is not about a database.
    pub(crate) fn configure_also(&self, line: &str) {
        let text = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{text}{line}\n")).unwrap();
    }

    pub(crate) fn home(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("app.db")
    }

    pub(crate) fn replica(&self) -> PathBuf {
        self.path("replica")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path(".app.db-litestream")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("litestream.yml")
    }

    pub(crate) fn listing(&self) -> Listing {
        Listing::of(&self.replica())
    }

    /// The binary with these arguments and our configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = litestream(self.home());
        command.env("LITESTREAM_CONFIG", self.config()).env(SCRIPT, self.path("failpoints"));
        command.env("LITESTREAM_BOOT", self.boots.load(Ordering::Relaxed).to_string());
        command.args(arguments);
        command
    }

    /// From now on, every process that we start believes that the machine was rebooted.
    pub(crate) fn reboot(&self) {
        self.boots.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on, every process that is started with our commands fails, waits or dies where
    /// these lines say (see [`litestream::failpoint`]).
    pub(crate) fn arm(&self, script: &str) {
        let (partial, path) = (self.path("failpoints.partial"), self.path("failpoints"));
        fs::write(&partial, script).unwrap();
        fs::rename(partial, path).unwrap();
    }

    /// From now on, no failpoint does anything.
    pub(crate) fn disarm(&self) {
        self.arm("");
    }

    /// Starts to replicate, and waits until the daemon can be stopped.
    pub(crate) fn replicate(&self) -> Process {
        let process = self.start(&mut self.command(&["replicate"]));
        let lock = self.state().join("lock");
        let id = format!("{}\n", process.id());
        eventually("the lock", || {
            assert!(!process.says("error: "), "{}", process.log());
            fs::read_to_string(&lock).is_ok_and(|text| text == id)
        });
        process
    }

    /// Makes a database, and replicates it until its first snapshot is stored.
    pub(crate) fn begin(&self) -> Process {
        self.write(1, 20);
        let mut daemon = self.replicate();
        daemon.wait_for("snapshot written");
        daemon
    }

    /// Lets another litestream replicate.
    pub(crate) fn replicate_by(&self, peer: Peer) -> Process {
        let config = self.config();
        let arguments = ["replicate", "-config", config.to_str().unwrap()];
        let mut process = self.start(&mut peer.command(self.home(), &arguments));
        process.wait_for("replicating to");
        process
    }

    /// Starts a command with a log of its own.
    pub(crate) fn start(&self, command: &mut Command) -> Process {
        Process::start(command, &self.fresh("log"))
    }

    /// A path that nobody else uses.
    pub(crate) fn fresh(&self, suffix: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("{number}.{suffix}"))
    }

    /// Stops Litestream once the replica gives the same answer to `question` as the database.
    ///
    /// Its last sync may fail, because another one is under way; and it does not retry a failed
    /// upload before the next commit.
    pub(crate) fn stop_peer(&self, mut daemon: Process, question: &str) {
        let ask = |path: &Path| -> (String, u32) {
            let connection = open(path);
            let answer = connection.query_row(question, [], |row| row.get(0));
            let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0));
            (answer.unwrap_or_default(), version.unwrap())
        };
        let mut changed = Instant::now();
        eventually("everything is replicated", || {
            let expected = ask(&self.database());
            if changed.elapsed() > Duration::from_secs(2) {
                let sql = format!("PRAGMA user_version = {}", expected.1 + 1);
                open(&self.database()).execute_batch(&sql).unwrap();
                changed = Instant::now();
                return false;
            }
            let (mut restore, output) = self.start_restore(&[]);
            restore.wait() == 0 && ask(&output) == expected
        });
        daemon.signal(Signal::INT);
        daemon.wait();
    }

    /// Restores to a new file.
    pub(crate) fn restore(&self, arguments: &[&str]) -> PathBuf {
        let (restore, output) = self.start_restore(arguments);
        restore.finish();
        output
    }

    pub(crate) fn start_restore(&self, arguments: &[&str]) -> (Process, PathBuf) {
        let output = self.fresh("restored");
        let database = self.database();
        let [to, from] = [&output, &database].map(|path| path.to_str().unwrap());
        let arguments = [&["restore", "-o", to], arguments, &[from]].concat();
        (self.start(&mut self.command(&arguments)), output)
    }

    /// Restores, and compares with what SQLite makes of the database.
    pub(crate) fn check(&self) {
        settle(&self.database());
        self.check_restore(&[], &self.database());
    }

    /// The staged segments, which some replica does not have yet.
    pub(crate) fn staged(&self) -> Vec<PathBuf> {
        let (mut found, mut left) = (Vec::new(), vec![self.state().join("staging")]);
        while let Some(path) = left.pop() {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) if path.extension().is_some_and(|suffix| suffix == "lz4") => {
                    found.extend(path.exists().then_some(path));
                }
                Err(_) => (),
            }
        }
        found
    }

    /// The forks of the replica.
    pub(crate) fn forks(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.replica().join("forks")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Restores from the only fork, and compares with what SQLite makes of the database.
    pub(crate) fn check_fork(&self) {
        settle(&self.database());
        let forks = self.forks();
        assert_eq!(forks.len(), 1, "{forks:?}");
        let output = self.fresh("restored");
        let url = format!("file://{}", forks[0].display());
        let arguments = ["restore", "-o", output.to_str().unwrap(), &url];
        self.start(litestream(self.home()).args(arguments)).finish();
        assert_same(&self.database(), &output);
    }

    /// Restores, and compares with another file.
    pub(crate) fn check_restore(&self, arguments: &[&str], expected: &Path) {
        let restored = self.restore(arguments);
        assert_same(expected, &restored);
        fs::remove_file(restored).unwrap();
    }

    /// Keeps a copy of the current database, which nobody may be using.
    pub(crate) fn keep_copy(&self) -> PathBuf {
        settle(&self.database());
        let copy = self.fresh("copy");
        fs::copy(self.database(), &copy).unwrap();
        copy
    }

    /// Runs random transactions on a new connection, the same for each `seed`.
    pub(crate) fn write(&self, seed: u64, transactions: u32) {
        let connection = open(&self.database());
        connection.execute_batch(Workload::SCHEMA).unwrap();
        let mut workload = Workload::new(seed);
        for _ in 0..transactions {
            workload.step(&connection).unwrap();
        }
    }
}
