//! A database as the daemon has it open. It may close files that it does not need.

use std::fs;
use std::path::{Path, PathBuf};

use litestream::sqlite::{Database, sidecar};
use litestream::wal::WalHeader;

use crate::support::{Helper, Role, open};

/// A database that is followed and at rest, with transactions in its log.
fn at_rest(directory: &Path) -> (PathBuf, Database) {
    let path = directory.join("app.db");
    let connection = open(&path);
    let rows = "CREATE TABLE t (x); INSERT INTO t VALUES (1)";
    connection.execute_batch(rows).unwrap();
    let mut database = Database::open(&path, None).unwrap().unwrap();
    drop(connection);
    database.rest().unwrap();
    (path, database)
}

/// The last connection to close a database deletes its log, unless another process has a lock on
/// it. And when a process closes any descriptor of a file, POSIX drops all its locks on that file.
#[test]
fn what_is_closed_at_rest_takes_no_lock_along() {
    let directory = tempfile::tempdir().unwrap();
    let (path, mut database) = at_rest(directory.path());
    let log = sidecar(&path, "-wal");
    for _ in 0..2 {
        Helper::start(Role::Reader, &path).finish();
        assert!(log.exists());
        let found = database.log().unwrap().unwrap();
        let (begin, checksum) = (WalHeader::SIZE as u64, found.header.checksum);
        let view = database.view(&found, begin, checksum).unwrap();
        assert!(view.pages.is_some(), "what is committed is known again");
        database.rest().unwrap();
    }
    drop(database);
    Helper::start(Role::Reader, &path).finish();
    assert!(!log.exists(), "as it is without us");
}

/// A file that is opened later would belong to another database.
#[test]
fn another_file_under_the_name_of_one_at_rest_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (path, database) = at_rest(directory.path());
    let other = directory.path().join("other.db");
    drop(open(&other));
    fs::rename(&other, &path).unwrap();
    let error = database.newest_pages().unwrap_err().to_string();
    assert!(error.contains("the database file was replaced or removed"), "{error}");
}
