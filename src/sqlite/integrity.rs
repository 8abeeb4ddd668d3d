//! Asks SQLite whether a database is well-formed.
//!
//! A schema may name collations, functions and tokenizers that only its application has. Without
//! one of them SQLite refuses to check anything at all, which says nothing about the database. Then
//! each table is checked by itself. Tables that are refused even so are checked with *stand-ins*,
//! as far as these make no difference: every page must be well-formed and belong to something, and
//! each index must have as many entries as its table.
//!
//! Whether an index is in its order, and has what its table has, cannot be told with a stand-in: it
//! would raise an alarm for every row.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::bail;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

/// Asks SQLite whether the database is well-formed. Leaves nothing beside the file.
///
/// Returns what could only be checked in part, each with the reason: usually nothing.
pub fn quick_check(database: &Path) -> anyhow::Result<Vec<String>> {
    check(database, "quick_check")
}

/// Asks SQLite what [`quick_check`] asks, and whether each index has what its table has.
pub fn integrity_check(database: &Path) -> anyhow::Result<Vec<String>> {
    check(database, "integrity_check")
}

/// Whether a check failed because of what is in the database, and not because SQLite could not be
/// asked.
pub fn is_damage(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<rusqlite::Error>().map(rusqlite::Error::sqlite_error_code);
    matches!(code, None | Some(Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)))
}

/// What SQLite answers.
enum Answer {
    WellFormed,
    Damaged(String),
    /// It lacks something that the schema names.
    Refused(String),
}

fn check(database: &Path, pragma: &str) -> anyhow::Result<Vec<String>> {
    let connection = open(database)?;
    match ask(&connection, &format!("PRAGMA {pragma}(1)"), |_| true)? {
        Answer::WellFormed => Ok(Vec::new()),
        Answer::Damaged(complaint) => bail!("{complaint}"),
        Answer::Refused(_) => check_in_parts(database, pragma),
    }
}

fn open(database: &Path) -> anyhow::Result<Connection> {
    // Immutable: otherwise SQLite would create a WAL beside the file.
    let mut uri = "file:".to_owned();
    for byte in database.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            _ => write!(uri, "%{byte:02x}")?,
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Rows that break the application's own CHECK constraints are no damage.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    Ok(connection)
}

/// Asks SQLite a question, up to the first complaint that counts.
fn ask(
    connection: &Connection,
    question: &str,
    counts: fn(&str) -> bool,
) -> rusqlite::Result<Answer> {
    match complaint(connection, question, counts) {
        Ok(None) => Ok(Answer::WellFormed),
        Ok(Some(complaint)) => Ok(Answer::Damaged(complaint)),
        Err(error) => refusal(error).map(Answer::Refused),
    }
}

/// Why SQLite refuses to look at all. Damage to the file has error codes of its own.
fn refusal(error: rusqlite::Error) -> rusqlite::Result<String> {
    use rusqlite::Error::{SqlInputError, SqliteFailure};
    match error {
        SqliteFailure(error, Some(reason)) | SqlInputError { error, msg: reason, .. }
            if error.extended_code & 0xff == ffi::SQLITE_ERROR =>
        {
            Ok(reason)
        }
        error => Err(error),
    }
}

fn complaint(
    connection: &Connection,
    question: &str,
    counts: fn(&str) -> bool,
) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(question)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if text != "ok" && counts(&text) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Checks each table by itself, and all of them with stand-ins.
fn check_in_parts(database: &Path, pragma: &str) -> anyhow::Result<Vec<String>> {
    let (alone, helped) = (open(database)?, open(database)?);
    helped.collation_needed(|connection, name| {
        connection.create_collation(name, |one: &str, other: &str| one.cmp(other))
    })?;
    let mut unchecked = Vec::new();
    let whole = match ask_helped(&helped, "PRAGMA quick_check")? {
        Answer::WellFormed => true,
        Answer::Damaged(complaint) => bail!("{complaint}"),
        Answer::Refused(reason) => {
            unchecked.push(format!("pages that belong to nothing ({reason})"));
            false
        }
    };
    for table in tables(&alone)? {
        let quoted = table.replace('\'', "''");
        let reason = match ask(&alone, &format!("PRAGMA {pragma}('{quoted}')"), |_| true)? {
            Answer::WellFormed => continue,
            Answer::Damaged(complaint) => bail!("{complaint}"),
            Answer::Refused(reason) => reason,
        };
        unchecked.push(format!("{table} ({reason})"));
        if !whole
            && let Answer::Damaged(complaint) =
                ask_helped(&helped, &format!("PRAGMA quick_check('{quoted}')"))?
        {
            bail!("{complaint}");
        }
    }
    Ok(unchecked)
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let names =
        "SELECT 'sqlite_schema' UNION ALL SELECT name FROM sqlite_schema WHERE type = 'table'";
    let mut statement = connection.prepare(names)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Asks with a stand-in for each function that is missing. Complaints about values that stand-ins
/// gave do not count.
fn ask_helped(connection: &Connection, question: &str) -> rusqlite::Result<Answer> {
    let mut named = HashSet::new();
    loop {
        let answer = ask(connection, question, is_of_pages)?;
        let Answer::Refused(reason) = &answer else { return Ok(answer) };
        let function = reason.strip_prefix("unknown function: ");
        let function = function.and_then(|name| name.strip_suffix("()"));
        let Some(function) = function.filter(|name| named.insert((*name).to_owned())) else {
            return Ok(answer);
        };
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function(function, -1, flags, |_| Ok(None::<i64>))?;
    }
}

/// Whether a complaint is about pages, and not about values, which stand-ins may have given.
fn is_of_pages(complaint: &str) -> bool {
    let of_values = ["NULL value in ", "NUMERIC value in ", "TEXT value in ", "non-"];
    !of_values.iter().any(|beginning| complaint.starts_with(beginning))
}
