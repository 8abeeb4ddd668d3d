use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::workload::is_busy;
use super::{Process, Workload, open};

const ROLE: &str = "LITESTREAM_TEST_ROLE";
const DATABASE: &str = "LITESTREAM_TEST_DATABASE";

/// What another process does with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Writes, checkpoints in every way and reopens the database, all at random, until asked to
    /// stop.
    Adversary { seed: u64, autocheckpoint: u32 },
    /// Reads in one transaction until asked to stop.
    Reader,
    /// Leaves a large transaction open, part of which is in the log.
    Spiller,
    /// Reads one row in exclusive locking mode, and so keeps everybody out.
    Recluse,
    /// Writes `rows` rows, and ends with the exit code `status`.
    Rows { rows: u32, status: i32 },
    /// Waits for SIGTERM, then writes, and ends with the exit code `status`.
    LateRow { status: i32 },
}

/// Another process that uses a database. It must be a process, since locks belong to processes.
pub(crate) struct Helper(Process);

impl Helper {
    /// Starts the process, and waits until it is at work.
    pub(crate) fn start(role: Role, database: &Path) -> Self {
        let log = database.with_extension(format!("{}.log", fastrand::u64(..)));
        let mut command = Self::command(role, database);
        let mut process = Process::start(command.stdin(Stdio::piped()), &log);
        process.wait_for("at work");
        Self(process)
    }

    /// The command of the helper, with the environment that it needs.
    pub(crate) fn command(role: Role, database: &Path) -> Command {
        let [program, arguments @ ..] = &Self::words()[..] else { unreachable!() };
        let mut command = Command::new(program);
        command.args(arguments).envs(Self::environment(role, database));
        command
    }

    /// The words of the helper's command line.
    pub(crate) fn words() -> Vec<String> {
        let program = env::current_exe().unwrap();
        let test = "support::helper::is_what_other_tests_start";
        let arguments = [test, "--exact", "--nocapture", "--test-threads=1"];
        let words = [program.to_str().unwrap()].into_iter().chain(arguments);
        words.map(str::to_owned).collect()
    }

    pub(crate) fn environment(role: Role, database: &Path) -> [(&'static str, String); 2] {
        [(ROLE, role.to_string()), (DATABASE, database.to_str().unwrap().to_owned())]
    }

    /// Asks the helper to stop, and waits until it has closed the database.
    pub(crate) fn finish(mut self) {
        drop(self.0.take_stdin());
        self.0.finish();
    }

    /// Kills the helper.
    pub(crate) fn kill(self) {
        self.0.kill();
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Adversary { seed, autocheckpoint } => {
                write!(f, "adversary {seed} {autocheckpoint}")
            }
            Self::Reader => f.write_str("reader"),
            Self::Spiller => f.write_str("spiller"),
            Self::Recluse => f.write_str("recluse"),
            Self::Rows { rows, status } => write!(f, "rows {rows} {status}"),
            Self::LateRow { status } => write!(f, "late-row {status}"),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
        let status = |text: &str| text.parse::<i32>().map_err(|error| error.to_string());
        let words: Vec<&str> = text.split(' ').collect();
        Ok(match words[..] {
            ["adversary", seed, autocheckpoint] => Self::Adversary {
                seed: number(seed)?.into(),
                autocheckpoint: number(autocheckpoint)?,
            },
            ["reader"] => Self::Reader,
            ["spiller"] => Self::Spiller,
            ["recluse"] => Self::Recluse,
            ["rows", rows, code] => Self::Rows { rows: number(rows)?, status: status(code)? },
            ["late-row", code] => Self::LateRow { status: status(code)? },
            _ => return Err(format!("no role: {text:?}")),
        })
    }
}

/// Not a test by itself: other tests start it as a process of its own.
#[test]
fn is_what_other_tests_start() {
    let Ok(role) = env::var(ROLE) else { return };
    let database = PathBuf::from(env::var_os(DATABASE).unwrap());
    play(role.parse().unwrap(), &database);
}

fn play(role: Role, database: &Path) {
    match role {
        Role::Adversary { seed, autocheckpoint } => adversary(database, seed, autocheckpoint),
        Role::Reader => {
            let connection = open(database);
            let sql = "BEGIN; SELECT count(*) FROM sqlite_master";
            connection.execute_batch(sql).unwrap();
            wait_for_the_end();
        }
        Role::Spiller => {
            let connection = open(database);
            let sql = "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;
                       UPDATE t SET content = zeroblob(5000); DELETE FROM t WHERE number % 2";
            connection.execute_batch(sql).unwrap();
            wait_for_the_end();
        }
        Role::Recluse => {
            let connection = Connection::open(database).unwrap();
            let sql = "PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; COMMIT";
            connection.execute_batch(sql).unwrap();
            wait_for_the_end();
        }
        Role::Rows { rows, status } => {
            let connection = open(database);
            write_rows(&connection, rows);
            drop(connection);
            std::process::exit(status);
        }
        Role::LateRow { status } => {
            let connection = open(database);
            write_rows(&connection, 1);
            wait_for_sigterm();
            write_rows(&connection, 1);
            drop(connection);
            std::process::exit(status);
        }
    }
}

fn write_rows(connection: &Connection, rows: u32) {
    connection.execute_batch(Workload::SCHEMA).unwrap();
    for _ in 0..rows {
        connection.execute("INSERT INTO t (content) VALUES (hex(randomblob(50)))", []).unwrap();
    }
}

#[allow(clippy::print_stdout)]
fn say_at_work() {
    println!("at work");
}

/// Returns when our parent closes our standard input, or ends.
fn wait_for_the_end() {
    say_at_work();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn wait_for_sigterm() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kind = tokio::signal::unix::SignalKind::terminate();
        let mut signal = tokio::signal::unix::signal(kind).unwrap();
        say_at_work();
        signal.recv().await;
    });
}

fn adversary(database: &Path, seed: u64, autocheckpoint: u32) {
    let mut workload = Workload::new(seed);
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    thread::spawn(move || {
        wait_for_the_end();
        stop.store(true, Ordering::Relaxed);
    });
    while !stopped.load(Ordering::Relaxed) {
        let connection = open(database);
        let cache = workload.random().u32(1..12);
        connection
            .execute_batch(&format!(
                "PRAGMA wal_autocheckpoint = {autocheckpoint}; PRAGMA cache_size = {cache}"
            ))
            .unwrap();
        for _ in 0..workload.random().u32(1..60) {
            // Do not wait long for other connections, or the tests would take too long.
            connection.busy_timeout(Duration::from_secs(5)).unwrap();
            expect_at_worst_busy(&connection, workload.step(&connection));
            if workload.random().u32(..6) == 0 {
                connection.busy_timeout(Duration::from_millis(20)).unwrap();
                expect_at_worst_busy(&connection, workload.checkpoint(&connection));
            }
            thread::sleep(Duration::from_millis(workload.random().u64(..8)));
        }
    }
}

fn expect_at_worst_busy(connection: &Connection, outcome: rusqlite::Result<()>) {
    let Err(error) = outcome else { return };
    assert!(is_busy(&error), "{error}");
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").unwrap();
    }
}
