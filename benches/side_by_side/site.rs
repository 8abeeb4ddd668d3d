use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::guard;
use super::program::{Process, Program};
use super::seaweed::{self, Bucket};
use super::server::{self, Object};

/// What one program works on: a directory with databases, and a place for their replicas.
///
/// Both are removed with this value.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
    pub bucket: Bucket,
}

/// Where replicas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    S3,
    Directory,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir_in(guard::directory()).unwrap();
        Self { directory, bucket: seaweed::bucket() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The database, if there is only one.
    pub(crate) fn database(&self) -> PathBuf {
        self.path("app.db")
    }

    /// Writes the configuration for the one database.
    pub(crate) fn configure(&self, place: Place, sync_interval: &str) {
        let replica = self.replica(place, "app.db", sync_interval);
        self.write(&format!("{{path: {}, replicas: [{replica}]}}", self.database().display()));
    }

    /// Writes the configuration for several databases.
    pub(crate) fn configure_all(&self, databases: &[PathBuf]) {
        let entries = databases.iter().map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let replica = self.replica(Place::S3, name, "1s");
            format!("{{path: {}, replicas: [{replica}]}}", path.display())
        });
        self.write(&entries.collect::<Vec<_>>().join(",\n"));
    }

    /// Writes the configuration for all databases of a directory. Only our program supports this.
    pub(crate) fn configure_directory(&self, databases: &Path) {
        let replica = self.replica(Place::S3, "all", "1s");
        let databases = databases.display();
        self.write(&format!("{{dir: {databases}, pattern: \"*.db\", replicas: [{replica}]}}"));
    }

    fn replica(&self, place: Place, name: &str, sync_interval: &str) -> String {
        let Bucket { name: bucket, endpoint, .. } = &self.bucket;
        let place = match place {
            Place::S3 => format!(
                "type: s3, bucket: {bucket}, path: {name}, endpoint: \"{endpoint}\", \
                 region: us-east-1"
            ),
            Place::Directory => format!("type: file, path: {}", self.path("replica").display()),
        };
        format!("{{{place}, sync-interval: {sync_interval}}}")
    }

    fn write(&self, databases: &str) {
        fs::write(self.path("litestream.yml"), format!("dbs: [{databases}]\n")).unwrap();
    }

    /// Starts the daemon as configured.
    pub(crate) fn replicate(&self, program: &Program) -> Process {
        self.start(program, &["replicate"], &[])
    }

    /// Starts to restore the one database from its replica.
    pub(crate) fn restore(&self, program: &Program, output: &Path) -> Process {
        let database = self.database();
        let arguments = ["-o", output.to_str().unwrap(), database.to_str().unwrap()];
        self.start(program, &["restore"], &arguments)
    }

    fn start(&self, program: &Program, command: &[&str], arguments: &[&str]) -> Process {
        let config = self.path("litestream.yml");
        let config = ["-config", config.to_str().unwrap()];
        let keys = (&*self.bucket.access_key_id, &*self.bucket.secret_access_key);
        program.start(&[command, &config, arguments].concat(), keys, &self.path("log"))
    }

    pub(crate) fn objects(&self, place: Place) -> Vec<Object> {
        match place {
            Place::S3 => server::list(&self.bucket, ""),
            Place::Directory => files(&self.path("replica")),
        }
    }

    /// Waits until a daemon has stored a snapshot.
    pub(crate) fn wait_for_snapshot(&self, daemon: &mut Process, place: Place) {
        daemon.wait_until("snapshot", || self.objects(place).iter().any(Object::is_snapshot));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        server::remove(&self.bucket);
    }
}

impl Object {
    /// Whether the object contains the whole database. In 0.5, the first object does.
    pub(crate) fn is_snapshot(&self) -> bool {
        self.is_a("snapshot.lz4") || self.is_a("ltx")
    }

    /// Whether the object contains recent commits: a segment, or in 0.5 a file of the lowest
    /// level.
    pub(crate) fn is_segment(&self) -> bool {
        let lowest = ["/ltx/0/", "/0000/"].iter().any(|level| self.key.contains(level));
        self.is_a("wal.lz4") || (self.is_a("ltx") && lowest)
    }

    fn is_a(&self, extension: &str) -> bool {
        self.key.strip_suffix(extension).is_some_and(|name| name.ends_with('.'))
    }
}

fn files(directory: &Path) -> Vec<Object> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            // The file may just have been removed.
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.is_dir() {
                left.push(path);
                continue;
            }
            let version = format!("{:?}", metadata.modified().unwrap());
            let key = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            found.push(Object { key, size: metadata.len(), version });
        }
    }
    found
}
