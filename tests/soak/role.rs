use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::bail;
use rusqlite::{Connection, ErrorCode};

use crate::site::Site;
use crate::{adversary, oracle, process, reader};

/// A process that uses the database. Locks belong to processes, so each role has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Writes commits that can be told apart afterwards.
    Oracle,
    /// Writes, checkpoints and reconnects in every way there is.
    Adversary,
    /// Reads in long transactions.
    Reader,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Oracle, Self::Adversary, Self::Reader];

    /// Plays the role until our parent closes our standard input.
    pub(crate) fn play(self, seed: u64, home: &Path) -> anyhow::Result<()> {
        process::die_with_parent()?;
        let stage = Stage::new(home, stop_flag());
        let random = fastrand::Rng::with_seed(seed);
        match self {
            Self::Oracle => oracle::play(&stage, random),
            Self::Adversary => adversary::play(&stage, random),
            Self::Reader => reader::play(&stage, random),
        }
    }
}

/// The environment in which a role is played.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) site: Site,
    stop: Arc<AtomicBool>,
}

impl Stage {
    /// Makes a stage that is over when `stop` is set.
    pub(crate) fn new(home: &Path, stop: Arc<AtomicBool>) -> Self {
        Self { site: Site::at(home), stop }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Opens the database with settings that an application may have.
    pub(crate) fn open(&self, random: &mut fastrand::Rng) -> rusqlite::Result<Connection> {
        let connection = Connection::open(self.site.database())?;
        connection.busy_timeout(Duration::from_secs(3))?;
        connection.execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA wal_autocheckpoint = {}; PRAGMA cache_size = {}",
            if self.site.is_durable() { 2 } else { random.u32(..3) },
            [0, 1, 10, 1000][random.usize(..4)],
            [2, 10, 1000][random.usize(..3)],
        ))?;
        Ok(connection)
    }

    /// Sleeps for a random time of up to `max`, or until it is over.
    pub(crate) fn rest(&self, random: &mut fastrand::Rng, max: Duration) {
        let mut left = max.mul_f64(random.f64());
        while !left.is_zero() && !self.is_over() {
            let nap = left.min(Duration::from_millis(50));
            thread::sleep(nap);
            left -= nap;
        }
    }
}

/// Reports that the role is at work from here on.
pub(crate) fn say_at_work() {
    println!("{AT_WORK}");
}

pub(crate) const AT_WORK: &str = "at work";

/// Ignores errors that other users of the database may cause.
pub(crate) fn tolerate_busy(outcome: rusqlite::Result<()>) -> rusqlite::Result<()> {
    match outcome {
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            ) =>
        {
            Ok(())
        }
        outcome => outcome,
    }
}

/// A flag that is set when our standard input ends.
fn stop_flag() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&stop);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        setter.store(true, Ordering::Relaxed);
    });
    stop
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oracle => "oracle",
            Self::Adversary => "adversary",
            Self::Reader => "reader",
        })
    }
}

impl FromStr for Role {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match Self::ALL.into_iter().find(|role| role.to_string() == text) {
            Some(role) => Ok(role),
            None => bail!("no role: {text:?}"),
        }
    }
}
