//! Replicas on an S3 server that misbehaves in every way: commits arrive once they can, a restore
//! is right or fails, and the trouble is reported in time.

mod answers;
mod beginnings;
mod company;
mod conditions;
mod cost;
mod ends;
mod health;
mod line;
mod listings;
mod memory;
mod reading;

use std::fs;
use std::path::PathBuf;
use std::thread;

use crate::rogue::{BUCKET, Rogue};
use crate::support::{Process, Site, eventually, settle};

/// A database whose only replica is on a store of our own.
struct Remote {
    site: Site,
    store: Rogue,
}

/// What shows that a store misbehaves.
struct Signs {
    /// How many requests a rule made fail.
    struck: u32,
    /// What the daemon has logged since.
    log: String,
}

impl Remote {
    /// Uses settings that make everything happen soon.
    fn new() -> Self {
        Self::with("monitor-interval: 50ms", "sync-interval: 50ms")
    }

    /// Uses these settings of the database and of its replica.
    fn with(database: &str, replica: &str) -> Self {
        let remote = Self { site: Site::new(), store: Rogue::start() };
        let endpoint = remote.store.endpoint();
        let place = format!("type: s3, bucket: {BUCKET}, path: app, endpoint: '{endpoint}'");
        remote.site.configure(database, &[&format!("{place}, region: us-east-1, {replica}")]);
        remote
    }

    /// The keys of objects that contain `part`.
    fn keys(&self, part: &str) -> Vec<String> {
        self.store.keys().into_iter().filter(|key| key.contains(part)).collect()
    }

    fn snapshots(&self) -> usize {
        self.keys("/snapshots/").len()
    }

    fn generations(&self) -> usize {
        let keys = self.store.keys();
        let mut names: Vec<&str> = keys.iter().filter_map(|key| key.split('/').nth(2)).collect();
        names.dedup();
        names.len()
    }

    /// Replicates, until there is a snapshot.
    fn replicate(&self) -> Process {
        self.site.write(1, 30);
        let daemon = self.site.replicate();
        eventually("a snapshot", || self.snapshots() > 0);
        daemon
    }

    /// Puts several segments into the store, and stops the daemon.
    fn fill(&self) {
        let daemon = self.replicate();
        for seed in 10..16 {
            let before = self.keys("/wal/").len();
            self.site.write(seed, 5);
            eventually("a segment", || self.keys("/wal/").len() > before);
        }
        daemon.stop();
    }

    fn verify(&self, arguments: &[&str]) -> Process {
        self.site.start(self.site.command(&["verify"]).args(arguments))
    }

    /// Checks that everything arrived: a restore equals the database, and no object has a defect.
    fn check(&self) {
        self.site.check();
        self.verify(&["-full"]).finish();
    }

    /// Makes the store misbehave before its first request, and again later on, each time until
    /// `is_met`. The only consequences may be a line in the log and a delay.
    fn survives(&self, trouble: impl Fn(&Rogue), is_met: impl Fn(&Signs) -> bool) {
        trouble(&self.store);
        self.site.write(1, 30);
        let daemon = self.site.replicate();
        self.end_trouble(&daemon, (0, 0), &is_met);
        self.survives_later(&daemon, trouble, is_met);
        self.finish(daemon);
    }

    /// Makes the store misbehave while there is a generation, which must go on.
    fn survives_later(
        &self,
        daemon: &Process,
        trouble: impl Fn(&Rogue),
        is_met: impl Fn(&Signs) -> bool,
    ) {
        self.at_work(daemon);
        let generations = self.generations();
        let before = (self.store.struck(), daemon.log().len());
        trouble(&self.store);
        self.site.write(2, 30);
        self.end_trouble(daemon, before, &is_met);
        self.site.write(3, 30);
        self.at_work(daemon);
        assert_eq!(self.generations(), generations, "{}", daemon.log());
    }

    /// Waits until a commit arrives in the store.
    fn at_work(&self, daemon: &Process) {
        let before = self.keys("/wal/").len();
        eventually("a segment", || {
            assert!(said(daemon).is_empty(), "{}", daemon.log());
            self.site.write(4, 1);
            self.keys("/wal/").len() > before
        });
    }

    fn end_trouble(
        &self,
        daemon: &Process,
        before: (u32, usize),
        is_met: &impl Fn(&Signs) -> bool,
    ) {
        eventually("the store misbehaves", || {
            let log = daemon.log();
            assert!(said(daemon).is_empty(), "{log}");
            let (struck, log) = (self.store.struck() - before.0, log[before.1..].to_owned());
            is_met(&Signs { struck, log })
        });
        self.store.behave();
    }

    /// Stops the daemon, which must work, and checks that everything is in its place.
    fn finish(&self, daemon: Process) {
        daemon.stop();
        assert_eq!(self.store.uploads(), 0);
        self.check();
    }

    fn start_restore(&self) -> (Process, PathBuf) {
        let output = self.site.fresh("restored");
        let database = self.site.database();
        let [to, from] = [&output, &database].map(|path| path.to_str().unwrap());
        (self.site.start(&mut self.site.command(&["restore", "-o", to, from])), output)
    }

    /// Expects a restore to fail without leaving a file. Returns its error line.
    fn fail_restore(&self) -> String {
        let (mut restore, output) = self.start_restore();
        assert_eq!(restore.wait(), 1, "{}", restore.log());
        assert!(!output.exists(), "{}", restore.log());
        let [line] = &said(&restore)[..] else { panic!("{}", restore.log()) };
        line.clone()
    }

    /// The content of the database file, which nobody uses.
    fn settled(&self) -> Vec<u8> {
        settle(&self.site.database());
        fs::read(self.site.database()).unwrap()
    }

    /// The file that a restore gives now.
    fn restored(&self) -> PathBuf {
        self.site.restore(&[])
    }
}

/// The lines of output that are not log lines.
fn said(process: &Process) -> Vec<String> {
    process.log().lines().filter(|line| !line.starts_with("time=")).map(str::to_owned).collect()
}

/// Runs a test with each of the cases, at the same time.
fn with_each<T: Copy + Send>(cases: &[T], test: impl Fn(T) + Sync) {
    thread::scope(|scope| {
        for &case in cases {
            let test = &test;
            scope.spawn(move || test(case));
        }
    });
}
