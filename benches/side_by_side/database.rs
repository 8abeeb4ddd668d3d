use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::guard;

/// How many rows of a kilobyte make a MiB, at four rows per page.
const ROWS_PER_MIB: u32 = 1024;

/// The content of a row. Less than half of it is random, and cannot be compressed.
const DATA: &str = "randomblob(450) || zeroblob(550)";

/// A large database that is copied for each program. It is made at the first copy.
#[derive(Debug)]
pub(crate) struct Original {
    pub mib: u32,
    path: PathBuf,
}

impl Original {
    pub(crate) fn new(mib: u32) -> Self {
        Self { mib, path: guard::directory().join(format!("original-{mib}.db")) }
    }

    pub(crate) fn copy_to(&self, path: &Path) {
        if !self.path.exists() {
            fill(&self.path, self.mib);
        }
        std::fs::copy(&self.path, path).unwrap();
    }
}

/// Makes a database of this size.
fn fill(path: &Path, mib: u32) {
    let connection = connect(path);
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?1)
         INSERT INTO t (data) SELECT {DATA} FROM n"
    );
    connection.execute(&fill, [mib * ROWS_PER_MIB]).unwrap();
}

/// Opens a database as an application does, and creates it if it is missing.
pub(crate) fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(10)).unwrap();
    connection.pragma_update(None, "journal_mode", "wal").unwrap();
    connection.pragma_update(None, "synchronous", "normal").unwrap();
    let tables = "CREATE TABLE IF NOT EXISTS t (
            id INTEGER PRIMARY KEY, version INTEGER NOT NULL DEFAULT 0, data BLOB);
        CREATE TABLE IF NOT EXISTS commits (id INTEGER PRIMARY KEY, at INTEGER NOT NULL)";
    connection.execute_batch(tables).unwrap();
    connection
}

/// An application that changes one row in each commit.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    update: String,
    /// How often a commit found the database busy for its whole timeout.
    pub busy: u32,
}

impl Writer {
    pub(crate) fn new(path: &Path) -> Self {
        let connection = connect(path);
        connection.busy_timeout(Duration::from_millis(100)).unwrap();
        let rows: u32 =
            connection.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap();
        let update = format!(
            "UPDATE t SET version = version + 1, data = {DATA} WHERE id = abs(random()) % {rows} + 1"
        );
        Self { connection, update, busy: 0 }
    }

    /// Changes random rows while `go_on`, which gets the time of each commit, returns true.
    pub(crate) fn update_while(&mut self, mut go_on: impl FnMut(Duration) -> bool) {
        let mut update = self.connection.prepare(&self.update).unwrap();
        loop {
            let began = Instant::now();
            while let Err(error) = update.execute(()) {
                let busy = error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
                assert!(busy, "{error}");
                self.busy += 1;
            }
            if !go_on(began.elapsed()) {
                return;
            }
        }
    }

    /// Changes `updates` rows, as fast as possible.
    pub(crate) fn update(&mut self, updates: u32) {
        let mut left = updates;
        if left > 0 {
            self.update_while(|_| {
                left -= 1;
                left > 0
            });
        }
    }

    /// Lets the log grow, so that its size shows how much was written to it.
    pub(crate) fn keep_log(&self) {
        self.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    }

    /// Changes `updates` rows at a steady rate.
    pub(crate) fn update_steadily(&mut self, updates: u32, per_second: u32) {
        let (mut left, mut next) = (updates, Instant::now());
        self.update_while(|_| {
            next += Duration::from_secs(1) / per_second;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            left = left.saturating_sub(1);
            left > 0
        });
    }
}

/// How many rows there are, and how often rows were changed in total.
pub(crate) fn count(path: &Path) -> (u32, u32) {
    let connection = Connection::open(path).unwrap();
    let count = "SELECT count(*), sum(version) FROM t";
    connection.query_row(count, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}
