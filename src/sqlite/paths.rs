use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the names of the files that SQLite keeps beside a database end in.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Whether a file named `name` is one that SQLite keeps beside a database.
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

/// Where SQLite keeps the log of a database: for a link, beside what the link leads to.
pub fn log_path(database: &Path) -> PathBuf {
    let is_link = database.symlink_metadata().is_ok_and(|found| found.is_symlink());
    let target = if is_link { database.canonicalize().ok() } else { None };
    sidecar(target.as_deref().unwrap_or(database), "-wal")
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
        assert_eq!(log_path(database), Path::new("/data/bbs.sqlite-wal"));
    }

    #[test]
    fn the_log_of_a_link_is_beside_what_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let [link, database] = [root.join("link.db"), root.join("below/bbs.sqlite")];
        std::os::unix::fs::symlink(&database, &link).unwrap();
        assert_eq!(log_path(&link), root.join("link.db-wal"), "it leads nowhere");
        std::fs::create_dir(root.join("below")).unwrap();
        std::fs::write(&database, "").unwrap();
        assert_eq!(log_path(&link), root.join("below/bbs.sqlite-wal"));
    }
}
