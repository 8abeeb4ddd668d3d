use anyhow::{Context, ensure};
use rusqlite::Connection;
use twox_hash::XxHash3_128;

/// What the oracle has written to a database, so far.
///
/// It is the same only if every transaction of the oracle up to `n` is in the database, in order,
/// and none of another history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The number of the last commit.
    pub(crate) n: i64,
    /// A digest of all payloads so far, each chained to the one before it.
    pub(crate) chain: u128,
    /// A digest of the cells, which are overwritten repeatedly.
    pub(crate) cells: u128,
}

/// `log` grows by a row with each commit of the oracle, `cell` has its changing values. `junk` is for
/// the adversary, and `tally` must always be what the triggers make it.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE log (n INTEGER PRIMARY KEY, payload BLOB NOT NULL);
    CREATE TABLE cell (k INTEGER PRIMARY KEY, v BLOB NOT NULL);
    CREATE TABLE junk (id INTEGER PRIMARY KEY, x BLOB NOT NULL, y INTEGER NOT NULL);
    CREATE TABLE tally (rows INTEGER NOT NULL, bytes INTEGER NOT NULL);
    INSERT INTO tally VALUES (0, 0);
    CREATE TRIGGER more AFTER INSERT ON junk BEGIN
        UPDATE tally SET rows = rows + 1, bytes = bytes + length(new.x); END;
    CREATE TRIGGER less AFTER DELETE ON junk BEGIN
        UPDATE tally SET rows = rows - 1, bytes = bytes - length(old.x); END;
    CREATE TRIGGER other AFTER UPDATE ON junk BEGIN
        UPDATE tally SET bytes = bytes + length(new.x) - length(old.x); END;";

impl State {
    /// The state after another commit.
    pub(crate) fn after(self, payload: &[u8]) -> Self {
        let n = self.n + 1;
        let bytes = [&self.chain.to_le_bytes()[..], &n.to_le_bytes(), payload].concat();
        Self { n, chain: XxHash3_128::oneshot(&bytes), ..self }
    }

    /// The state with a cell that holds `value` added, or removed if it was there.
    pub(crate) fn toggled(self, key: i64, value: &[u8]) -> Self {
        let bytes = [&key.to_le_bytes()[..], value].concat();
        Self { cells: self.cells ^ XxHash3_128::oneshot(&bytes), ..self }
    }

    /// Reads all that the oracle wrote.
    pub(crate) fn read(connection: &Connection) -> anyhow::Result<Self> {
        let transaction = connection.unchecked_transaction()?;
        let mut state = Self::default();
        let mut log = transaction.prepare("SELECT n, payload FROM log ORDER BY n")?;
        let mut rows = log.query([])?;
        while let Some(row) = rows.next()? {
            state = state.after(row.get_ref(1)?.as_blob()?);
            let n: i64 = row.get(0)?;
            ensure!(n == state.n, "the log has row {n} where {} should be", state.n);
        }
        let mut cells = transaction.prepare("SELECT k, v FROM cell")?;
        let mut rows = cells.query([])?;
        while let Some(row) = rows.next()? {
            state = state.toggled(row.get(0)?, row.get_ref(1)?.as_blob()?);
        }
        Ok(state)
    }

    /// Reads a database that nobody writes to, and checks whatever can be checked within it.
    pub(crate) fn verify(connection: &Connection) -> anyhow::Result<Self> {
        let text = |sql| connection.query_row(sql, [], |row| row.get::<_, String>(0));
        let verdict = text("PRAGMA integrity_check(3)").context("check the integrity")?;
        ensure!(verdict == "ok", "not intact: {verdict}");
        let tally = text("SELECT rows || ' ' || bytes FROM tally")?;
        let junk = text("SELECT count(*) || ' ' || coalesce(sum(length(x)), 0) FROM junk")?;
        ensure!(tally == junk, "half a transaction: {tally} was counted, {junk} is there");
        Self::read(connection)
    }
}
