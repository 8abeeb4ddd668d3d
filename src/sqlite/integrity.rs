use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::bail;
use rusqlite::{Connection, OpenFlags};

/// Asks SQLite whether the database is well-formed. Leaves nothing beside the file.
pub fn quick_check(database: &Path) -> anyhow::Result<()> {
    check(database, "quick_check")
}

/// Asks SQLite besides whether each index has what its table has.
pub fn integrity_check(database: &Path) -> anyhow::Result<()> {
    check(database, "integrity_check")
}

fn check(database: &Path, pragma: &str) -> anyhow::Result<()> {
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
    // What an application let pass by its own rules is no damage.
    connection.pragma_update(None, "ignore_check_constraints", true)?;
    let result: String =
        connection.query_row(&format!("PRAGMA {pragma}(1)"), [], |row| row.get(0))?;
    match result.as_str() {
        "ok" => Ok(()),
        _ => bail!("{result}"),
    }
}
