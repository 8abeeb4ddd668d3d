//! Generations and indexes across restarts, idle times and several replicas: a history never has a
//! hole, and does not end without need.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

use super::cli::litestream;

const PATIENCE: Duration = Duration::from_mins(1);

/// A directory with a database and a configuration for replicas in directories beside it.
struct Site {
    home: tempfile::TempDir,
}

impl Site {
    /// `replicas` are names and further lines of the configuration, in YAML's flow style.
    fn new(replicas: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let replicas: Vec<String> = replicas
            .iter()
            .map(|(name, more)| {
                format!("{{name: {name}, type: file, path: {name}, sync-interval: 50ms{more}}}")
            })
            .collect();
        let config = format!(
            "shutdown-timeout: 3s\ndbs: [{{path: {}, replicas: [{}]}}]\n",
            home.path().join("db").display(),
            replicas.join(", ")
        );
        std::fs::write(home.path().join("c.yml"), config).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn connect(&self) -> Connection {
        let connection = Connection::open(self.path("db")).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = wal; CREATE TABLE IF NOT EXISTS t (x)")
            .unwrap();
        connection
    }

    /// Starts a daemon, and waits until it handles signals: before that, a signal would just kill
    /// it.
    fn start(&self) -> Daemon {
        let starts = || {
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            log.matches("msg=litestream").count()
        };
        let before = starts();
        let log =
            std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = litestream(self.home.path())
            .args(["replicate", "-config", "c.yml"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon(child);
        self.wait_for("daemon", || starts() > before);
        daemon
    }

    /// The names of the objects of a replica that contain `part`, sorted.
    fn objects(&self, replica: &str, part: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.path(replica), &mut names);
        names.retain(|name| name.contains(part));
        names.sort();
        names
    }

    fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "no {what}\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The number of rows in what is restored from a replica.
    fn rows(&self, replica: &str) -> i64 {
        let output = self.path("out");
        let _ = std::fs::remove_file(&output);
        let restored = litestream(self.home.path())
            .args(["restore", "-o", "out", &format!("file://{}", self.path(replica).display())])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&restored.stderr).into_owned();
        assert!(restored.status.success(), "{replica}: {stderr}{:?}", self.objects(replica, ""));
        let database = Connection::open(output).unwrap();
        database.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }
}

fn collect(directory: &Path, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_none_or(|extension| extension != "tmp") {
            names.push(path.display().to_string());
        }
    }
}

struct Daemon(Child);

impl Daemon {
    /// Asks the daemon to stop, and returns its status.
    fn stop(mut self) -> i32 {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        self.0.wait().unwrap().code().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn insert(connection: &Connection) {
    connection.execute("INSERT INTO t VALUES (1)", []).unwrap();
}

/// A daemon that is restarted repeatedly while nobody writes must not skip an index each time: the
/// replica would have no WAL of it, and neither program could restore what is written later.
#[test]
fn goes_on_in_the_same_index_when_nothing_was_written() {
    let site = Site::new(&[("near", "")]);
    let database = site.connect();
    insert(&database);
    for _ in 0..4 {
        let daemon = site.start();
        site.wait_for("snapshot", || !site.objects("near", "snapshots").is_empty());
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(daemon.stop(), 0);
    }
    let daemon = site.start();
    insert(&database);
    site.wait_for("segment", || !site.objects("near", "wal").is_empty());
    assert_eq!(daemon.stop(), 0);
    assert_eq!(site.rows("near"), 2);
    let snapshots = site.objects("near", "snapshots");
    assert_eq!(snapshots.len(), 1, "restarts need no snapshots: {snapshots:?}");
}

/// If a replica that is added later got a snapshot at a new index, the first replica, whose
/// snapshot is at the index before, must not have a hole there.
#[test]
fn a_snapshot_for_one_replica_makes_no_hole_in_another() {
    let site = Site::new(&[("near", ""), ("far", "")]);
    let database = site.connect();
    insert(&database);
    // Not a directory, so it cannot be used for a while.
    std::fs::write(site.path("far"), "").unwrap();
    let daemon = site.start();
    site.wait_for("snapshot", || !site.objects("near", "snapshots").is_empty());
    std::fs::remove_file(site.path("far")).unwrap();
    site.wait_for("snapshot", || !site.objects("far", "snapshots").is_empty());
    insert(&database);
    site.wait_for("segments", || {
        !site.objects("near", "wal").is_empty() && !site.objects("far", "wal").is_empty()
    });
    assert_eq!(daemon.stop(), 0);
    assert_eq!((site.rows("near"), site.rows("far")), (2, 2));
}

/// A daemon that starts before its database exists, as in a container, must not take its replica
/// for one without a generation, and store a snapshot of an unchanged database.
#[test]
fn goes_on_with_a_generation_whose_database_comes_later() {
    let site = Site::new(&[("near", "")]);
    let database = site.connect();
    insert(&database);
    let daemon = site.start();
    site.wait_for("snapshot", || !site.objects("near", "snapshots").is_empty());
    insert(&database);
    site.wait_for("segment", || !site.objects("near", "wal").is_empty());
    assert_eq!(daemon.stop(), 0);
    drop(database);
    std::fs::rename(site.path("db"), site.path("away")).unwrap();
    let daemon = site.start();
    std::thread::sleep(Duration::from_millis(500));
    std::fs::rename(site.path("away"), site.path("db")).unwrap();
    let database = site.connect();
    let before = site.objects("near", "wal").len();
    insert(&database);
    site.wait_for("segment", || site.objects("near", "wal").len() > before);
    assert_eq!(daemon.stop(), 0);
    assert_eq!(site.objects("near", "snapshots").len(), 1);
    assert_eq!(site.rows("near"), 3);
}

/// A daemon that is stopped right after a commit must not report success without having looked.
#[test]
fn looks_once_more_before_it_ends() {
    let site = Site::new(&[("near", "")]);
    let database = site.connect();
    for round in 1..=20 {
        let daemon = site.start();
        site.wait_for("snapshot", || !site.objects("near", "snapshots").is_empty());
        std::thread::sleep(Duration::from_millis(150));
        insert(&database);
        assert_eq!(daemon.stop(), 0);
        assert_eq!(site.rows("near"), round);
    }
}

/// If the database is removed while its replica cannot be reached, the staged segments must not be
/// forgotten, nor success be reported.
#[test]
fn says_that_the_rest_of_a_removed_database_was_not_sent() {
    let site = Site::new(&[("near", "")]);
    let database = site.connect();
    insert(&database);
    let daemon = site.start();
    site.wait_for("snapshot", || !site.objects("near", "snapshots").is_empty());
    std::thread::sleep(Duration::from_millis(300));
    std::fs::rename(site.path("near"), site.path("aside")).unwrap();
    std::fs::write(site.path("near"), "").unwrap();
    insert(&database);
    site.wait_for("staged", || !site.objects(".db-litestream/staging", ".wal.lz4").is_empty());
    drop(database);
    for name in ["db", "db-wal", "db-shm"] {
        std::fs::remove_file(site.path(name)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(daemon.stop(), 75);

    // The next daemon sends the rest, although there is no database.
    std::fs::remove_file(site.path("near")).unwrap();
    std::fs::rename(site.path("aside"), site.path("near")).unwrap();
    let daemon = site.start();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(site.rows("near"), 2);
}
