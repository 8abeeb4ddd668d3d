use std::path::Path;

use rusqlite::Connection;

use super::open;

const ACCOUNTS: i64 = 50;

/// An application whose committed states can be told from any state that was never committed.
///
/// Money is moved, but never created, and every move is counted and recorded.
pub(crate) struct Ledger(Connection);

impl Ledger {
    /// The number of moves, as text.
    pub(crate) const QUESTION: &str = "SELECT moves || '' FROM total";

    pub(crate) fn open(path: &Path) -> Self {
        let connection = open(path);
        connection
            .execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY, amount INTEGER, note BLOB);
                 CREATE TABLE IF NOT EXISTS move (id INTEGER PRIMARY KEY, amount INTEGER);
                 CREATE TABLE IF NOT EXISTS total (moves INTEGER);
                 INSERT INTO total SELECT 0 WHERE NOT EXISTS (SELECT * FROM total);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {ACCOUNTS})
                 INSERT OR IGNORE INTO account SELECT i, 0, randomblob(1000) FROM n"
            ))
            .unwrap();
        Self(connection)
    }

    /// Moves money in one transaction.
    pub(crate) fn step(&self) {
        let amount = fastrand::i64(1..100);
        let [from, to] = [(); 2].map(|()| fastrand::i64(1..=ACCOUNTS));
        let statements = format!(
            "BEGIN IMMEDIATE;
             UPDATE account SET amount = amount - {amount}, note = randomblob(1000) WHERE id = {from};
             UPDATE total SET moves = moves + 1;
             INSERT INTO move (amount) VALUES ({amount});
             UPDATE account SET amount = amount + {amount} WHERE id = {to};
             COMMIT"
        );
        self.0.execute_batch(&statements).unwrap();
    }

    /// Checks that a database is a committed state. Returns the number of moves.
    pub(crate) fn audit(path: &Path) -> i64 {
        Self::examine(path).unwrap_or_else(|defect| panic!("{}: {defect}", path.display()))
    }

    /// Checks a database like `audit`, but returns an error if it is not a committed state.
    pub(crate) fn examine(path: &Path) -> Result<i64, String> {
        let connection = Connection::open(path).map_err(|error| error.to_string())?;
        let ask = |sql: &str, expected: &str| {
            let found: String = connection
                .query_row(sql, [], |row| row.get(0))
                .map_err(|error| format!("{sql}: {error}"))?;
            (found == expected).then_some(()).ok_or_else(|| format!("{sql}: {found}"))
        };
        ask("PRAGMA integrity_check", "ok")?;
        ask("SELECT count(*) || '' FROM account", &ACCOUNTS.to_string())?;
        ask("SELECT sum(amount) || '' FROM account", "0")?;
        ask("SELECT (count(*) - (SELECT moves FROM total)) || '' FROM move", "0")?;
        let moves = connection.query_row("SELECT moves FROM total", [], |row| row.get(0));
        moves.map_err(|error| error.to_string())
    }
}
