use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::statfs;
use rustix::io::Errno;
use tracing::warn;

use super::paths::{is_sidecar, sidecar};

/// File systems on which the kernel reports all changes, whoever makes them: the numbers in
/// `statfs(2)` of ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS and bcachefs.
const TELLING: [u32; 8] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x794c_7630,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
];

/// Reports which databases may have changed, with one instance of inotify for all of them, because
/// a user may have only a few.
///
/// Directories are watched and not files, because files come and go. A database is reported by the
/// key that it was added with.
#[derive(Debug)]
pub struct Watches<K> {
    inotify: OwnedFd,
    /// The directories, by their watch.
    directories: HashMap<i32, Directory<K>>,
    /// The watches of directories, by all names of them that were used.
    numbers: HashMap<PathBuf, i32>,
    /// It has been logged that there are no more watches.
    exhausted: bool,
}

#[derive(Debug)]
struct Directory<K> {
    /// Nothing that happens in it is missed.
    telling: bool,
    /// The keys of databases, by the names of the database, of its log and of the index.
    files: HashMap<OsString, K>,
    /// The key that is reported for every name that comes or goes.
    listener: Option<K>,
}

impl<K: Clone> Watches<K> {
    /// An error if the system has no inotify, or no more instances of it.
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let (directories, numbers) = (HashMap::new(), HashMap::new());
        Ok(Self { inotify, directories, numbers, exhausted: false })
    }

    /// Begins to report changes to `database` and its log, which need not exist, and the end of
    /// their directory, after which the database must be added again. Adding it too often does no
    /// harm.
    ///
    /// Returns whether nothing will be missed. Something may be, where the system is out of
    /// watches, there is no such directory, or it is on a network file system: then the caller has
    /// to poll.
    pub fn add(&mut self, database: &Path, key: &K) -> bool {
        let (directory, Some(name)) = (directory_of(database), database.file_name()) else {
            return false;
        };
        let Some(watched) = self.directory(directory) else { return false };
        for name in files_of(name) {
            watched.files.entry(name).or_insert_with(|| key.clone());
        }
        watched.telling
    }

    /// Begins to report to one listener names that come or go in `directory`, except those of files
    /// that SQLite keeps beside a database, and its end. Otherwise like [`Watches::add`].
    pub fn listen(&mut self, directory: &Path, key: &K) -> bool {
        let Some(watched) = self.directory(directory) else { return false };
        watched.listener.get_or_insert_with(|| key.clone());
        watched.telling
    }

    /// Stops reporting changes to a database.
    pub fn remove(&mut self, database: &Path) {
        let (directory, Some(name)) = (directory_of(database), database.file_name()) else {
            return;
        };
        let watched = self.numbers.get(directory).copied();
        let Some((watch, watched)) =
            watched.and_then(|watch| Some((watch, self.directories.get_mut(&watch)?)))
        else {
            return;
        };
        for name in files_of(name) {
            watched.files.remove(&name);
        }
        if watched.files.is_empty() && watched.listener.is_none() {
            self.forget(watch);
        }
    }

    /// The keys of what may have changed since the last call, some perhaps twice. Does not wait.
    pub fn changed(&mut self) -> Vec<K> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        let (mut changed, mut ended) = (Vec::new(), Vec::new());
        while let Ok(event) = reader.next() {
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                changed.extend(self.directories.values().flat_map(Directory::keys).cloned());
            }
            let Some(directory) = self.directories.get(&event.wd()) else { continue };
            let Some(name) = event.file_name() else {
                changed.extend(directory.keys().cloned());
                ended.push(event.wd());
                continue;
            };
            let name = OsStr::from_bytes(name.to_bytes());
            // Whoever closes a log may have been the last one to have it.
            let written = ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE;
            let is_modified = event.events().intersects(written);
            if !is_modified || !name.as_bytes().ends_with(b"-shm") {
                changed.extend(directory.files.get(name).cloned());
            }
            // Files that SQLite makes and removes whenever an application comes or goes are no
            // news.
            let is_news = !is_modified && !is_sidecar(name);
            if is_news {
                changed.extend(directory.listener.iter().cloned());
            }
        }
        for watch in ended {
            self.forget(watch);
        }
        changed
    }

    /// Something to wait on without holding on to this.
    pub fn changes(&self) -> io::Result<Changes> {
        Ok(Changes(self.inotify.try_clone()?))
    }

    /// The directory, which is watched from now on.
    fn directory(&mut self, path: &Path) -> Option<&mut Directory<K>> {
        // Requested each time: if a directory above it was renamed, the name may belong to another
        // one now.
        let watch = self.watch(path)?;
        self.directories.get_mut(&watch)
    }

    fn watch(&mut self, path: &Path) -> Option<i32> {
        let events = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let added = inotify::add_watch(&self.inotify, path, events);
        if added == Err(Errno::NOSPC) && !self.exhausted {
            self.exhausted = true;
            warn!(
                path = %path.display(),
                "not told of changes in this directory, and perhaps in others, whose databases are \
                 looked at in their interval: raise fs.inotify.max_user_watches (sysctl)"
            );
        }
        let watch = added.ok()?;
        self.numbers.insert(path.to_owned(), watch);
        // A directory with two names still has one watch.
        self.directories.entry(watch).or_insert_with(|| Directory {
            telling: is_telling(path),
            files: HashMap::new(),
            listener: None,
        });
        Some(watch)
    }

    fn forget(&mut self, watch: i32) {
        if self.directories.remove(&watch).is_some() {
            self.numbers.retain(|_, other| *other != watch);
            // The watch may have ended by itself.
            let _ = inotify::remove_watch(&self.inotify, watch);
        }
    }
}

/// Waits for changes, without access to what [`Watches`] knows of them.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Blocks until there is something to report, and for `longest` at most. Returns whether there
    /// is.
    pub fn wait(&self, longest: Duration) -> bool {
        let timeout = Timespec::try_from(longest).ok();
        let ready = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], timeout.as_ref());
        ready.is_ok_and(|ready| ready > 0)
    }
}

impl<K> Directory<K> {
    fn keys(&self) -> impl Iterator<Item = &K> {
        self.files.values().chain(&self.listener)
    }
}

fn directory_of(database: &Path) -> &Path {
    let directory = database.parent().filter(|path| !path.as_os_str().is_empty());
    directory.unwrap_or(Path::new("."))
}

/// The names to watch for a database. A process that writes to the index writes to the log, too: of
/// the index only its coming and going is reported.
fn files_of(name: &OsStr) -> [OsString; 3] {
    let beside = |suffix| sidecar(Path::new(name), suffix).into_os_string();
    [name.to_owned(), beside("-wal"), beside("-shm")]
}

fn is_telling(directory: &Path) -> bool {
    let kind = statfs(directory).ok().and_then(|found| u32::try_from(found.f_type).ok());
    kind.is_some_and(|kind| TELLING.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn tells_of_the_database_and_its_log_and_of_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut watches: Watches<char> = Watches::new().unwrap();
        let path = |name: &str| directory.path().join(name);
        watches.add(&path("a"), &'a');
        watches.add(&path("a"), &'a');
        watches.add(&path("b"), &'b');
        let changes = watches.changes().unwrap();
        let told = |watches: &mut Watches<char>| {
            let mut changed = watches.changed();
            changed.dedup();
            changed
        };
        assert!(!changes.wait(Duration::ZERO) && watches.changed().is_empty());
        fs::write(path("a-shm"), "").unwrap();
        assert_eq!(told(&mut watches), ['a']);
        fs::write(path("a-shm"), "index").unwrap();
        assert!(watches.changed().is_empty());
        fs::write(path("b-wal"), "").unwrap();
        assert!(changes.wait(Duration::from_mins(1)));
        assert_eq!(told(&mut watches), ['b']);
        let log = fs::OpenOptions::new().append(true).open(path("b-wal")).unwrap();
        assert!(watches.changed().is_empty());
        (&log).write_all(b"log").unwrap();
        assert_eq!(watches.changed(), ['b']);
        drop(log);
        assert_eq!(watches.changed(), ['b'], "its application may have closed the database");
        fs::rename(path("a-shm"), path("a")).unwrap();
        assert_eq!(told(&mut watches), ['a']);
        watches.remove(&path("a"));
        fs::remove_file(path("a")).unwrap();
        assert!(watches.changed().is_empty());
        watches.remove(&path("b"));
        assert!(watches.directories.is_empty() && watches.numbers.is_empty());
    }

    #[test]
    fn a_listener_hears_of_names_and_not_of_contents() {
        let directory = tempfile::tempdir().unwrap();
        let mut watches: Watches<char> = Watches::new().unwrap();
        watches.listen(directory.path(), &'l');
        watches.listen(directory.path(), &'l');
        let path = directory.path().join("new");
        fs::write(&path, "").unwrap();
        assert_eq!(watches.changed(), ['l']);
        fs::write(&path, "text").unwrap();
        assert!(watches.changed().is_empty());
        for sidecar in ["new-wal", "new-shm", "new-journal"] {
            fs::write(path.with_file_name(sidecar), "").unwrap();
        }
        assert!(watches.changed().is_empty());
        fs::remove_file(&path).unwrap();
        assert_eq!(watches.changed(), ['l']);
    }

    /// A directory was renamed, and another one took its place: the watch went with the first one.
    #[test]
    fn a_directory_that_ends_is_told_to_all_in_it_and_can_be_added_again() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("data");
        let database = directory.join("a");
        let mut watches: Watches<char> = Watches::new().unwrap();
        assert!(!watches.add(&database, &'a'), "there is no such directory");
        for end in [
            |path: &Path| fs::rename(path, path.with_extension("old")),
            |path: &Path| fs::remove_dir_all(path),
        ] {
            fs::create_dir(&directory).unwrap();
            watches.add(&database, &'a');
            end(&directory).unwrap();
            assert!(watches.changed().contains(&'a'));
        }
        fs::create_dir(&directory).unwrap();
        watches.add(&database, &'a');
        fs::write(&database, "").unwrap();
        assert!(watches.changed().contains(&'a'));
    }

    /// More happened than the kernel remembers.
    #[test]
    fn an_overflow_is_told_to_all() {
        let directory = tempfile::tempdir().unwrap();
        let mut watches: Watches<char> = Watches::new().unwrap();
        watches.add(&directory.path().join("quiet"), &'q');
        let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        // Creating and removing are two events, which the kernel cannot take for one.
        for _ in 0..=limit.trim().parse::<u32>().unwrap() / 2 {
            fs::write(directory.path().join("noise"), "").unwrap();
            fs::remove_file(directory.path().join("noise")).unwrap();
        }
        assert!(watches.changed().contains(&'q'));
    }
}
