//! Measures this litestream beside others in one run, on the same databases:
//!
//! ```text
//! cargo bench
//! ```
//!
//! The others are found where `tests/run` installs them, or in `$LITESTREAM_0_3` and
//! `$LITESTREAM_0_5`. Whoever is missing is left out. Replicas are directories, so that no network
//! and no server are measured.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use litestream::format::{Digest, Generation, PageDigest, lz4};
use litestream::wal::{ByteOrder, Checksum};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

/// Of the database that is restored.
const MEGABYTES: u32 = 128;
/// Commits after its snapshot, each of them a segment of its own if the daemon keeps up.
const COMMITS: usize = 400;
const RESTORES: usize = 3;

const WATCHED: Duration = Duration::from_secs(10);
const COMMITS_PER_SECOND: u32 = 100;

struct Peer {
    name: &'static str,
    binary: PathBuf,
}

fn main() {
    let scratch = tempfile::tempdir().unwrap();
    let peers: Vec<Peer> = [
        ("this", Some(env!("CARGO_BIN_EXE_litestream").into())),
        ("0.3", peer("LITESTREAM_0_3", "target/venv-0.3/bin/litestream")),
        ("0.5", peer("LITESTREAM_0_5", "target/venv-0.5/bin/litestream")),
    ]
    .into_iter()
    .filter_map(|(name, binary)| Some(Peer { name, binary: binary? }))
    .collect();

    for Peer { name, binary } in &peers {
        let version = Command::new(binary).arg("version").output().unwrap().stdout;
        let version = String::from_utf8_lossy(&version).trim().to_owned();
        let size = fs::metadata(binary).unwrap().len();
        println!("{name:4}  version {version}, binary of {} MB", size / 1_000_000);
    }
    measure_pages();
    compare_restores(&peers, scratch.path());
    compare_daemons(&peers, scratch.path());
}

/// Prints what is done to each page on its way from the log to a segment.
fn measure_pages() {
    const PAGES: u32 = 20_000;
    let generation = Generation::from_bits(1);
    let mut page = vec![0; 4096];
    page[..2048].fill_with(|| fastrand::u8(..));
    let time = |work: &mut dyn FnMut(u32)| {
        let began = Instant::now();
        (1..=PAGES).for_each(work);
        began.elapsed() / PAGES
    };
    let mut checksum = Checksum::default();
    let checked = time(&mut |_| checksum = checksum.update(ByteOrder::Little, black_box(&page)));
    let mut digest = Digest::default();
    let digested = time(&mut |number| {
        digest = digest.with(PageDigest::of(generation, number, black_box(&page)));
    });
    let mut encoder = lz4::Encoder::new(std::io::sink(), 4096 * u64::from(PAGES));
    let compressed = time(&mut |_| encoder.write_all(black_box(&page)).unwrap());
    black_box((checksum, digest));
    let all = checked + digested + compressed;
    println!("\nwork on a page of 4 KiB, half of it random");
    for (name, time) in [("checksum", checked), ("digest", digested), ("LZ4", compressed)] {
        let share = 100.0 * time.as_secs_f64() / all.as_secs_f64();
        println!("{name:8}  {:5} ns   {share:3.0} %", time.as_nanos());
    }
}

fn peer(variable: &str, installed: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
    let path = std::env::var_os(variable).map_or(installed, PathBuf::from);
    path.exists().then_some(path)
}

impl Peer {
    fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_remove("AWS_CA_BUNDLE")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// All restore the same replica, which the first of them has written.
fn compare_restores(peers: &[Peer], scratch: &Path) {
    let (database, replica) = (scratch.join("large.db"), scratch.join("replica"));
    let url = format!("file://{}", replica.display());
    let connection = Connection::open(&database).unwrap();
    connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)").unwrap();
    // Half of it is random, and cannot be compressed.
    let fill = "INSERT INTO t (data) SELECT randomblob(2000) || zeroblob(2000)
        FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?1) SELECT i FROM n)";
    connection.execute(fill, [MEGABYTES * 1_000_000 / 4096]).unwrap();

    let config = scratch.join("config.yml");
    let text = format!(
        "dbs: [{{path: {}, replicas: [{{url: \"{url}\", sync-interval: 10ms}}]}}]",
        database.display()
    );
    fs::write(&config, text).unwrap();
    let daemon = peers[0].start(&["replicate", "-config", config.to_str().unwrap()]);
    wait_until(|| !files_below(&replica, ".snapshot.lz4").is_empty());
    for _ in 0..COMMITS {
        connection.execute("INSERT INTO t (data) VALUES (randomblob(4000))", ()).unwrap();
        sleep(Duration::from_millis(20));
    }
    stop(daemon);
    let written = rows(&connection);
    drop(connection);

    let segments = files_below(&replica, ".wal.lz4").len();
    println!("\nrestore of {MEGABYTES} MB and {segments} segments, the best of {RESTORES}");
    println!("      time       peak memory");
    for peer in peers {
        let (mut best, mut peak) = (Duration::MAX, 0);
        for _ in 0..RESTORES {
            let output = scratch.join("restored.db");
            let began = Instant::now();
            let mut restore = peer.start(&["restore", "-o", output.to_str().unwrap(), &url]);
            let status = loop {
                // The peak is asked for while it runs: afterwards nobody knows.
                peak = memory(&restore, "VmHWM").max(peak);
                if let Some(status) = restore.try_wait().unwrap() {
                    break status;
                }
                sleep(Duration::from_millis(1));
            };
            best = best.min(began.elapsed());
            assert!(status.success(), "{} cannot restore", peer.name);
            assert_eq!(rows(&Connection::open(&output).unwrap()), written, "{}", peer.name);
            fs::remove_file(output).unwrap();
        }
        println!("{:4}  {:5} ms   {peak:4} MB", peer.name, best.as_millis());
    }
}

fn rows(database: &Connection) -> u32 {
    database.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap()
}

/// Each follows a database of its own, at the same time.
fn compare_daemons(peers: &[Peer], scratch: &Path) {
    let mut daemons = Vec::new();
    for peer in peers {
        let path = scratch.join(peer.name);
        fs::create_dir(&path).unwrap();
        let connection = Connection::open(path.join("app.db")).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)").unwrap();
        let url = format!("file://{}", path.join("replica").display());
        let daemon = peer.start(&["replicate", path.join("app.db").to_str().unwrap(), &url]);
        daemons.push((peer, daemon, connection));
    }
    sleep(Duration::from_secs(3));

    println!("\nreplicating while nothing is written, for {WATCHED:?}");
    watch(&daemons, || sleep(WATCHED));
    println!("\nreplicating {COMMITS_PER_SECOND} commits a second, for {WATCHED:?}");
    watch(&daemons, || {
        let began = Instant::now();
        let mut next = began;
        while began.elapsed() < WATCHED {
            for (.., connection) in &daemons {
                let insert = "INSERT INTO t (data) VALUES (randomblob(1000))";
                connection.execute(insert, ()).unwrap();
            }
            next += Duration::from_secs(1) / COMMITS_PER_SECOND;
            sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    for (_, daemon, _) in daemons {
        stop(daemon);
    }
}

/// Prints what the daemons took while `work` was done.
fn watch(daemons: &[(&Peer, Child, Connection)], work: impl FnOnce()) {
    let before: Vec<Duration> = daemons.iter().map(|(_, daemon, _)| cpu(daemon)).collect();
    work();
    println!("      CPU        memory");
    for ((peer, daemon, _), before) in daemons.iter().zip(before) {
        let taken = cpu(daemon).saturating_sub(before);
        println!("{:4}  {:5} ms   {:4} MB", peer.name, taken.as_millis(), memory(daemon, "VmRSS"));
    }
}

/// The time of processors that a process has used, in hundredths of a second.
fn cpu(process: &Child) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

/// Megabytes. 0 when the process has ended.
fn memory(process: &Child, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default().div_ceil(1000)
}

fn stop(mut daemon: Child) {
    let pid = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    daemon.wait().unwrap();
}

fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "litestream does not get on");
        sleep(Duration::from_millis(10));
    }
}

fn files_below(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path, suffix));
        } else if path.to_str().is_some_and(|path| path.ends_with(suffix)) {
            found.push(path);
        }
    }
    found
}
