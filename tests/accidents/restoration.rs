use std::fmt;
use std::path::PathBuf;

use rusqlite::Connection;

use crate::outcome::Outcome;

/// The result of a restore.
pub(crate) struct Restoration {
    pub(crate) output: PathBuf,
    /// The exit code, if the restore ended.
    pub(crate) status: Option<i32>,
    pub(crate) log: String,
}

/// What is in a restored database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Rows(u32),
    Malformed,
    /// There is no database.
    Nothing,
}

impl Restoration {
    /// Looks into the database as an application would, with the files beside it.
    pub(crate) fn content(&self) -> Content {
        if !self.output.exists() {
            return Content::Nothing;
        }
        let rows = || -> rusqlite::Result<Option<u32>> {
            let connection = Connection::open(&self.output)?;
            let verdict: String =
                connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            let rows = connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?;
            Ok((verdict == "ok").then_some(rows))
        };
        rows().ok().flatten().map_or(Content::Malformed, Content::Rows)
    }

    /// The rows of a restore that reports success.
    pub(crate) fn rows(&self) -> Option<u32> {
        match (self.status, self.content()) {
            (Some(0), Content::Rows(rows)) => Some(rows),
            _ => None,
        }
    }

    /// The outcome, given that `rows` rows had to come back.
    pub(crate) fn outcome(&self, rows: u32) -> Outcome {
        Outcome::new(self.rows() == Some(rows), self.describe(rows))
    }

    /// Describes the result, given that `rows` rows had to come back.
    pub(crate) fn describe(&self, rows: u32) -> String {
        match (self.status, self.content()) {
            (None, _) => "hangs".to_owned(),
            (Some(0), content) => match content {
                Content::Rows(found) => format!("{found} of {rows} rows"),
                content => format!("{content}, exit 0"),
            },
            (Some(status), Content::Nothing) => format!("refused, exit {status}"),
            (Some(status), content) => format!("{content}, exit {status}"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows} rows"),
            Self::Malformed => f.write_str("malformed"),
            Self::Nothing => f.write_str("no file"),
        }
    }
}
