use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the names of files end in that SQLite keeps beside a database.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether a file of that name is one that SQLite keeps beside a database.
pub fn is_sidecar(name: &OsStr) -> bool {
    SIDECARS.iter().any(|end| name.as_bytes().ends_with(end.as_bytes()))
}

/// The file of SQLite that belongs to `database` and whose name ends in `suffix`: `-wal`, `-shm`
/// or `-journal`.
pub fn sidecar(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory for our own state beside `database`, named as Litestream 0.3 names its own.
pub fn state_directory(database: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(database.file_name().unwrap_or_default());
    name.push("-litestream");
    database.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_neighbours_of_a_database() {
        let database = Path::new("/data/bbs.sqlite");
        assert_eq!(sidecar(database, "-wal"), Path::new("/data/bbs.sqlite-wal"));
        assert_eq!(state_directory(database), Path::new("/data/.bbs.sqlite-litestream"));
    }
}
