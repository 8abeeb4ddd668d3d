use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Result};

/// Opens a database as an application does that cares about speed.
pub(crate) fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    connection
        .execute_batch(
            "PRAGMA synchronous = off; PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0",
        )
        .unwrap();
    connection
}

/// Writes of every kind, at random, to one table.
pub(crate) struct Workload {
    random: fastrand::Rng,
}

impl Workload {
    /// The same `seed` gives the same statements.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) const SCHEMA: &str =
        "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, number INTEGER, content BLOB);
         CREATE INDEX IF NOT EXISTS i ON t (number)";

    /// A query whose answer differs for different contents of the table.
    pub(crate) const QUESTION: &str =
        "SELECT count(*) || ',' || total(id * number) || ',' || total(length(content)) FROM t";

    /// Runs one transaction, which is sometimes rolled back.
    pub(crate) fn step(&mut self, connection: &Connection) -> Result<()> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for _ in 0..self.random.u32(1..8) {
            self.statement(connection)?;
        }
        let end = if self.random.u32(..5) == 0 { "ROLLBACK" } else { "COMMIT" };
        connection.execute_batch(end)
    }

    fn statement(&mut self, connection: &Connection) -> Result<usize> {
        let number = self.random.u32(..1000);
        match self.random.u32(..8) {
            0 => connection.execute("DELETE FROM t WHERE number = ?", [number]),
            1 => connection.execute("DELETE FROM t WHERE number % 50 = ?", [number % 50]),
            2 | 3 => {
                let content = self.content();
                let sql = "UPDATE t SET content = ? WHERE number BETWEEN ? AND ? + 20";
                connection.execute(sql, (content, number, number))
            }
            _ => {
                let content = self.content();
                connection
                    .execute("INSERT INTO t (number, content) VALUES (?, ?)", (number, content))
            }
        }
    }

    /// A content that is mostly short; half of them are easy to compress.
    fn content(&mut self) -> Vec<u8> {
        let length = match self.random.u32(..20) {
            0 => self.random.usize(..40_000),
            _ => self.random.usize(..400),
        };
        let noisy = self.random.bool();
        (0..length).map(|_| if noisy { self.random.u8(..) } else { b'.' }).collect()
    }

    /// Runs a random kind of checkpoint, as an application may.
    pub(crate) fn checkpoint(&mut self, connection: &Connection) -> Result<()> {
        let modes = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"];
        let mode = modes[self.random.usize(..modes.len())];
        connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
    }

    pub(crate) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }
}

/// Whether another process held a lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
