use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::options::DatabaseOptions;
use crate::sqlite::{FileId, is_sidecar, state_directory};

/// What a database begins with: see "The Database Header" in the file format of SQLite.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A directory whose databases are replicated, each to a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryOptions {
    /// Absolute.
    pub path: PathBuf,
    /// The pattern of the names of databases or, if it has a slash, of their paths in the
    /// directory.
    pub pattern: Pattern,
    /// Whether to look in directories below it as well.
    pub recursive: bool,
    /// Whether to look for databases that come and go.
    pub watch: bool,
    /// The options of each database. The paths in it are those of the directory, and each database
    /// is replicated to places below those of its replicas, under the path of the database.
    pub template: DatabaseOptions,
}

/// The databases of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// In order.
    pub databases: Vec<PathBuf>,
    /// The directory, and those below it that were looked into.
    pub directories: Vec<PathBuf>,
    /// What could not be looked into, and why: directories, and files that may be databases.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// Files that match the pattern and are no SQLite databases, or encrypted ones.
    pub others: BTreeSet<PathBuf>,
    /// Hard links to databases that are followed by another name.
    pub linked: BTreeSet<PathBuf>,
    /// New names of files that are open, and are followed under an old name.
    pub renamed: BTreeSet<PathBuf>,
    /// Some file may become a database.
    pub unsettled: bool,
}

/// The databases of some directories, each once.
#[derive(Debug, Default)]
pub struct Look {
    pub databases: Vec<DatabaseOptions>,
    /// Where they were looked for.
    pub directories: Vec<PathBuf>,
    /// What could not be looked into, and why: directories, and files that may be databases.
    pub unreadable: BTreeMap<PathBuf, String>,
    /// Files that match the pattern and are no SQLite databases, or encrypted ones.
    pub others: BTreeSet<PathBuf>,
    /// Hard links to databases that are followed by another name.
    pub linked: BTreeSet<PathBuf>,
    /// New names of files that are open, and are followed under an old name.
    pub renamed: BTreeSet<PathBuf>,
    /// Some file may become a database.
    pub unsettled: bool,
}

/// What is followed already.
#[derive(Clone, Debug, Default)]
pub struct Followed {
    paths: HashSet<PathBuf>,
    /// The files that have these names.
    files: HashSet<FileId>,
    /// The files that are open, whatever their names.
    open: HashSet<FileId>,
}

/// What a file is, judged by its first bytes.
enum Kind {
    Database,
    /// It is empty, so it is not known yet.
    Unsettled,
    Other,
}

impl DirectoryOptions {
    /// The options of the database at `path`, if it is one to be replicated, whether or not there
    /// is such a file.
    pub fn database(&self, path: &Path) -> Option<DatabaseOptions> {
        let relative = path.strip_prefix(&self.path).ok()?;
        // A path that is not UTF-8 has no name in a store.
        let key = relative.to_str().filter(|_| self.matches(relative))?;
        let mut options = DatabaseOptions {
            path: path.to_owned(),
            state_directory: state_directory(path),
            ..self.template.clone()
        };
        for replica in &mut options.replicas {
            replica.location = replica.location.below(key);
        }
        Some(options)
    }

    /// Looks for databases. Those that are followed are found again, but not under another name. A
    /// directory that does not exist has none.
    ///
    /// A file that is followed is never opened: closing it would drop all locks that this process
    /// has on it, see [`crate::sqlite`].
    pub fn scan(&self, followed: &mut Followed) -> Scan {
        let mut scan = Scan::default();
        let mut left = vec![self.path.clone()];
        while let Some(directory) = left.pop() {
            let mut paths = match names(&directory) {
                Ok(paths) => paths,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    scan.unreadable.insert(directory, error.to_string());
                    continue;
                }
            };
            // Of two names of one file, always the first one counts.
            paths.sort_unstable();
            for path in paths {
                // What a link leads to has a name of its own, here or elsewhere.
                let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
                if metadata.is_dir() && self.recursive && !is_ours(&path) {
                    left.push(path);
                } else if metadata.is_file() && self.database(&path).is_some() {
                    scan.take(path, FileId::of(&metadata), followed);
                } else if metadata.is_file() && self.is_no_text(&path) {
                    scan.refuse_name(path, FileId::of(&metadata), followed);
                }
            }
            scan.directories.push(directory);
        }
        scan.databases.sort_unstable();
        scan
    }

    /// Whether the file would be looked at if its path were UTF-8, which it is not.
    fn is_no_text(&self, path: &Path) -> bool {
        path.to_str().is_none()
            && self.database(Path::new(path.to_string_lossy().as_ref())).is_some()
    }

    fn matches(&self, relative: &Path) -> bool {
        let Some(name) = relative.file_name().and_then(|name| name.to_str()) else { return false };
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        let deep = relative.components().count() > 1;
        let ours = relative
            .parent()
            .is_some_and(|parent| parent.iter().any(|part| is_ours(Path::new(part))));
        if !plain || ours || (deep && !self.recursive) || is_sidecar(OsStr::new(name)) {
            return false;
        }
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
        if self.pattern.as_str().contains('/') {
            self.pattern.matches_path_with(relative, options)
        } else {
            self.pattern.matches_with(name, options)
        }
    }
}

impl Look {
    /// Looks into directories. If two of them have the same database, the first one counts.
    pub fn into(directories: &[DirectoryOptions], followed: &mut Followed) -> Self {
        let mut look = Self::default();
        let mut seen = HashSet::new();
        for directory in directories {
            let scan = directory.scan(followed);
            let databases = scan.databases.iter().filter_map(|path| directory.database(path));
            look.databases.extend(databases.filter(|database| seen.insert(database.path.clone())));
            look.directories.extend(scan.directories);
            look.unreadable.extend(scan.unreadable);
            look.others.extend(scan.others);
            look.linked.extend(scan.linked);
            look.renamed.extend(scan.renamed);
            look.unsettled |= scan.unsettled;
        }
        look
    }

    /// Fails if one of the directories itself could not be looked into, and not only something in
    /// it: then it is an error in the configuration.
    pub fn expect_all(&self, directories: &[DirectoryOptions]) -> io::Result<()> {
        for DirectoryOptions { path, .. } in directories {
            if let Some(reason) = self.unreadable.get(path) {
                return Err(io::Error::other(format!("directory {}: {reason}", path.display())));
            }
        }
        Ok(())
    }
}

impl Scan {
    fn take(&mut self, path: PathBuf, file: FileId, followed: &mut Followed) {
        if followed.paths.contains(&path) {
            return self.databases.push(path);
        }
        if followed.files.contains(&file) {
            self.linked.insert(path);
            return;
        }
        if followed.open.contains(&file) {
            // It will be closed once its tail notices the new name.
            self.unsettled = true;
            self.renamed.insert(path);
            return;
        }
        match kind(&path) {
            Ok(Kind::Database) => {
                followed.add(&path);
                self.databases.push(path);
            }
            Ok(Kind::Unsettled) => self.unsettled = true,
            // It was a database before, so it is damaged, and its replica gets nothing any more.
            Ok(Kind::Other) if state_directory(&path).exists() => {
                let reason = "it was replicated, and is not a SQLite database any more, or is \
                              encrypted";
                self.unreadable.insert(path, reason.to_owned());
            }
            Ok(Kind::Other) => drop(self.others.insert(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => (),
            Err(error) => {
                self.unreadable.insert(path, error.to_string());
            }
        }
    }

    /// Takes note of a file whose path is not UTF-8, if it is a database.
    fn refuse_name(&mut self, path: PathBuf, file: FileId, followed: &Followed) {
        let is_open = followed.files.contains(&file) || followed.open.contains(&file);
        if !is_open && matches!(kind(&path), Ok(Kind::Database)) {
            let reason = "its path is not in UTF-8, so that it has no name in a store: rename it";
            self.unreadable.insert(path, reason.to_owned());
        }
    }
}

impl Followed {
    /// Adds a file that is open, whatever its name is now.
    pub(super) fn add_open(&mut self, file: FileId) {
        self.open.insert(file);
    }

    pub fn add(&mut self, path: &Path) {
        self.files.extend(fs::metadata(path).ok().as_ref().map(FileId::of));
        self.paths.insert(path.to_owned());
    }

    pub fn contains(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }
}

fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
}

/// Whether `path` is a directory of our own state.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with("-litestream")
}

fn kind(path: &Path) -> io::Result<Kind> {
    let mut start = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut start)?;
    Ok(match start.as_slice() {
        [] => Kind::Unsettled,
        start if start == MAGIC => Kind::Database,
        _ => Kind::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::options::ReplicaOptions;
    use crate::store::Location;
    use std::time::Duration;

    fn options(path: &Path, pattern: &str, recursive: bool) -> DirectoryOptions {
        let second = Duration::from_secs(1);
        DirectoryOptions {
            path: path.to_owned(),
            pattern: Pattern::new(pattern).unwrap(),
            recursive,
            watch: false,
            template: DatabaseOptions {
                path: path.to_owned(),
                state_directory: path.to_owned(),
                monitor_interval: second,
                checkpoint_interval: second,
                min_checkpoint_pages: 1,
                max_checkpoint_pages: 0,
                on_divergence: crate::replicate::OnDivergence::Fork,
                reference: crate::replicate::Reference::ByPath,
                replicas: vec![ReplicaOptions {
                    name: "file".to_owned(),
                    location: Location::File("/backup".into()),
                    sync_interval: second,
                    retention: second,
                    retention_check_interval: second,
                    snapshot_interval: second,
                    validation_interval: second,
                }],
            },
        }
    }

    #[test]
    fn a_database_has_places_of_its_own() {
        let tenants = options(Path::new("/data"), "*.db", true);
        let database = tenants.database(Path::new("/data/a/b.db")).unwrap();
        assert_eq!(database.path, Path::new("/data/a/b.db"));
        assert_eq!(database.state_directory, Path::new("/data/a/.b.db-litestream"));
        assert_eq!(database.replicas[0].location, Location::File("/backup/a/b.db".into()));
    }

    #[test]
    fn takes_what_the_pattern_names_and_nothing_of_sqlite_or_ours() {
        for (pattern, recursive, path, expected) in [
            ("*.db", false, "/data/a.db", true),
            ("*.db", false, "/data/a/b.db", false),
            ("*.db", true, "/data/a/b.db", true),
            ("*.db", true, "/other/a.db", false),
            ("*.db", true, "/data/a.sqlite", false),
            ("*", true, "/data/a", true),
            ("*", true, "/data/a-wal", false),
            ("*", true, "/data/a-shm", false),
            ("*", true, "/data/a-journal", false),
            ("*", true, "/data/.a-litestream/pages", false),
            ("*", true, "/data/../a", false),
            ("*", true, "/data", false),
            ("*/main.db", true, "/data/a/main.db", true),
            ("*/main.db", true, "/data/main.db", false),
            ("*/main.db", true, "/data/a/b/main.db", false),
            ("**/main.db", true, "/data/a/b/main.db", true),
        ] {
            let found = options(Path::new("/data"), pattern, recursive).database(Path::new(path));
            assert_eq!(found.is_some(), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn finds_databases_and_what_may_become_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("below/.a.db-litestream")).unwrap();
        for name in ["a.db", "below/b.db", "below/.a.db-litestream/c.db", "d.other"] {
            fs::write(path(name), [MAGIC.as_slice(), b"and more"].concat()).unwrap();
        }
        fs::write(path("text.db"), "no database").unwrap();
        fs::hard_link(path("a.db"), path("z.db")).unwrap();
        let scan =
            |recursive| options(directory.path(), "*.db", recursive).scan(&mut Followed::default());
        let deep = scan(true);
        assert_eq!(deep.databases.len(), 2, "one of two names: {deep:?}");
        assert!(deep.databases.contains(&path("below/b.db")) && !deep.unsettled);
        assert_eq!(deep.others, BTreeSet::from([path("text.db")]));
        assert_eq!(deep.directories, [directory.path().to_owned(), path("below")]);
        assert_eq!(scan(false).databases.len(), 1);
        fs::write(path("new.db"), "").unwrap();
        assert!(scan(false).unsettled);
        let none = options(&path("missing"), "*", true).scan(&mut Followed::default());
        assert_eq!(none, Scan::default());
    }

    /// A database that is followed was once opened to see whether it is one. Closing it dropped
    /// SQLite's locks, and the next process that closed the database deleted the log under our
    /// transaction.
    #[test]
    fn what_is_followed_is_not_looked_into() {
        let directory = tempfile::tempdir().unwrap();
        let [path, link] = ["a.db", "b.db"].map(|name| directory.path().join(name));
        fs::write(&path, "only seen from outside").unwrap();
        fs::hard_link(&path, &link).unwrap();
        let mut followed = Followed::default();
        followed.add(&path);
        let scan = options(directory.path(), "*.db", false).scan(&mut followed);
        assert_eq!((scan.databases, scan.unsettled), (vec![path], false));
    }
}
