use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use rusqlite::Connection;

use crate::case::{Case, Known, PATIENCE, last_lines};
use crate::process::{Process, litestream};
use crate::record::Recorder;
use crate::site::REPLICAS;
use crate::state::State;

/// The resolution of file times, with a margin: file systems use a clock that moves in steps of up
/// to 10 ms.
const CLOCK: Duration = Duration::from_millis(20);

/// The result of a restore.
enum Restored {
    File(PathBuf),
    Nothing(String),
}

impl Case {
    /// Restores the latest state, which must be a real commit, not older than what the replica is
    /// known to hold. Does so also for the replica that the database left for a fork.
    pub(crate) fn check_latest(&mut self, replica: &'static str) -> anyhow::Result<()> {
        if self.unreachable == Some(replica) {
            return Ok(());
        }
        let fork = self.site.fork(replica);
        if fork.is_some() {
            self.check_latest_of(replica, None)?;
        }
        self.check_latest_of(replica, fork)
    }

    fn check_latest_of(
        &mut self,
        replica: &'static str,
        fork: Option<String>,
    ) -> anyhow::Result<()> {
        self.judge(|case| case.compare_latest(replica, fork))
    }

    /// Makes a restore and compares it. Wrong ones while everything is at work are counted.
    fn judge(
        &mut self,
        compare: impl FnOnce(&mut Self) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let live = self.is_live();
        let outcome = compare(self);
        self.counts.restores.live_wrong += u64::from(live && outcome.is_err());
        outcome
    }

    /// Whether the daemon and the writers are at work.
    fn is_live(&self) -> bool {
        self.daemon.is_some() && !self.users.is_empty()
    }

    fn compare_latest(
        &mut self,
        replica: &'static str,
        fork: Option<String>,
    ) -> anyhow::Result<()> {
        let required = self.required(replica, fork.as_ref(), None);
        let misled = self.may_be_misled(replica, fork.as_ref())?;
        match self.restore(replica, fork.as_ref(), &[])? {
            Restored::File(path) => {
                let state = verify(&path)?;
                let record = self.record()?;
                // Meanwhile, another generation may have begun, or the older one may have expired.
                let misled = misled || self.may_be_misled(replica, fork.as_ref())?;
                let required = required.filter(|_| !misled);
                let place = match (record.places(state), &self.peer) {
                    (Ok(places), _) => places.last().copied(),
                    (Err(_), Some(peer)) => {
                        peer.expect_state(state, required)?;
                        return discard(&path);
                    }
                    (Err(error), None) => return Err(error),
                };
                ensure!(
                    place >= required,
                    "LOST: {} is at {place:?} of the record, the replica had {required:?}",
                    path.display()
                );
                let time = SystemTime::now();
                // With a rival, the replica may become the other one's at any time.
                let known = place.filter(|_| self.peer.is_none());
                self.known.extend(known.map(|place| Known { replica, fork, time, place }));
                discard(&path)
            }
            Restored::Nothing(reason) if required.is_none() && is_about_a_beginning(&reason) => {
                Ok(())
            }
            Restored::Nothing(reason) => {
                bail!("restore {replica}: {reason}")
            }
        }
    }

    /// Restores from a replica that does not list all that it has: the result must be some commit,
    /// or nothing.
    pub(crate) fn check_any(&mut self, replica: &'static str) -> anyhow::Result<()> {
        let fork = self.site.fork(replica);
        self.judge(|case| {
            if let Restored::File(path) = case.restore(replica, fork.as_ref(), &[])? {
                let state = verify(&path)?;
                match (case.record()?.places(state), &case.peer) {
                    (Err(_), Some(peer)) => peer.expect_state(state, None)?,
                    (places, _) => places.map(|_| ())?,
                }
                discard(&path)?;
            }
            Ok(())
        })
    }

    /// Restores the state at the time of some commit. It must be one from that time, not older
    /// than what the replica was known to hold before.
    pub(crate) fn check_some_time(&mut self, replica: &'static str) -> anyhow::Result<()> {
        self.judge(|case| case.compare_some_time(replica))
    }

    fn compare_some_time(&mut self, replica: &'static str) -> anyhow::Result<()> {
        let fork = self.site.fork(replica);
        let mut known = self.known.iter();
        let first = known.find(|known| known.replica == replica && known.fork == fork);
        let Some(first) = first.filter(|_| self.unreachable != Some(replica)) else {
            return Ok(());
        };
        let Some(begin) = self.times_count_from(replica, first.time) else { return Ok(()) };
        let record = self.record()?;
        let times = record.entries.iter().map(|entry| entry.time);
        // What the other daemon writes has its own times.
        let end = self.peer.as_ref().map(|peer| peer.since);
        let times = times.filter(|time| end.is_none_or(|end| *time + CLOCK < end));
        let times: Vec<SystemTime> = times.filter(|time| begin + CLOCK < *time).collect();
        let Some(time) = self.random.choice(times) else { return Ok(()) };
        let required = self.required(replica, fork.as_ref(), Some(time));
        let text = humantime::format_rfc3339_nanos(time).to_string();
        match self.restore(replica, fork.as_ref(), &["-timestamp", &text])? {
            Restored::File(path) => {
                let state = verify(&path)?;
                let places = record.places(state).with_context(|| format!("as of {text}"))?;
                let then = places.iter().rfind(|&&at| record.entries[at].time <= time + CLOCK);
                ensure!(then.is_some(), "{} is from after {text}", path.display());
                ensure!(
                    then.copied() >= required,
                    "LOST: {}, as of {text}, is at {then:?}, the replica had {required:?}",
                    path.display()
                );
                discard(&path)
            }
            Restored::Nothing(reason)
                if (self.settings.forgets(replica) || self.renews_times(replica))
                    && is_about_a_beginning(&reason) =>
            {
                Ok(())
            }
            Restored::Nothing(reason) => bail!("restore {replica} as of {text}: {reason}"),
        }
    }

    /// Whether objects may have been stored again, so that they seem younger.
    pub(crate) fn renews_times(&self, replica: &str) -> bool {
        self.store_was_bad.is_some() && self.settings.remote == Some(replica)
    }

    /// The place of what a replica was known to hold at the time `before`.
    fn required(
        &self,
        replica: &str,
        fork: Option<&String>,
        before: Option<SystemTime>,
    ) -> Option<usize> {
        if before.is_some() && self.renews_times(replica) {
            return None;
        }
        let of_replica = self.known.iter();
        let of_replica =
            of_replica.filter(|known| known.replica == replica && known.fork.as_ref() == fork);
        let known = of_replica.filter(|known| before.is_none_or(|time| known.time + CLOCK < time));
        known.map(|known| known.place).max()
    }

    /// Restores both replicas, which must equal, byte by byte, what SQLite makes of database and
    /// log. Nobody may be using the database. With a rival, one of all forks must be equal.
    pub(crate) fn check_identical(&mut self) -> anyhow::Result<()> {
        let source = self.fresh("source.db");
        self.site.copy_database(&source)?;
        let state = verify(&source)?;
        self.record()?.places(state).context("the database itself")?;
        let expected = fs::read(&source)?;
        for replica in REPLICAS {
            let mut forks = vec![self.site.fork(replica)];
            if self.peer.is_some() {
                forks.extend(self.other_forks(replica)?);
            }
            let mut differences = Vec::new();
            for fork in &forks {
                differences.extend(self.compare_bytes(replica, fork.as_ref(), &expected)?);
            }
            let source = source.display();
            ensure!(
                differences.len() < forks.len(),
                "{source} is not in {replica}: {differences:?}"
            );
        }
        discard(&source)
    }

    /// Why what is restored differs from `expected`, or `None` if it does not.
    fn compare_bytes(
        &mut self,
        replica: &str,
        fork: Option<&String>,
        expected: &[u8],
    ) -> anyhow::Result<Option<String>> {
        let generation =
            self.current_generation().filter(|_| fork == self.site.fork(replica).as_ref());
        let arguments = match &generation {
            Some(generation) if self.may_be_misled(replica, fork)? => {
                vec!["-generation", generation]
            }
            _ => Vec::new(),
        };
        Ok(match self.restore(replica, fork, &arguments)? {
            Restored::File(path) => {
                let difference = difference(expected, &fs::read(&path)?);
                if difference.is_none() || self.peer.is_some() {
                    discard(&path)?;
                }
                difference.map(|difference| format!("{}: {difference}", path.display()))
            }
            Restored::Nothing(reason) => Some(reason),
        })
    }

    /// Records the state of the database, while nobody uses it: it may be older than the last
    /// commit, and must be in the record before it is replicated.
    pub(crate) fn record_what_is_left(&mut self) -> anyhow::Result<()> {
        let copy = self.fresh("left.db");
        self.site.copy_database(&copy)?;
        let state = verify(&copy)?;
        let record = self.record()?;
        let place = record.places(state).context("the database itself")?.last().copied();
        let lost = place < record.last_commit();
        ensure!(!(lost && self.site.is_durable()), "the model loses what SQLite has synced");
        self.note(if lost { "commits were lost" } else { "nothing was lost" })?;
        Recorder::open(&self.site.record())?.found(state)?;
        discard(&copy)
    }

    fn restore(
        &mut self,
        replica: &str,
        fork: Option<&String>,
        arguments: &[&str],
    ) -> anyhow::Result<Restored> {
        let (output, log) = (self.fresh("restored.db"), self.fresh("restore.log"));
        let mut command = litestream()?;
        command.arg("restore").args(arguments).arg("-o").arg(&output);
        if let Some(fork) = fork {
            command.args(["-fork", fork]);
        }
        if self.settings.remote == Some(replica) {
            command.arg("-config").arg(self.site.config()).args(["-replica", replica]);
            command.arg(self.site.database());
        } else {
            command.arg(format!("file://{}", self.site.replica(replica).display()));
        }
        let live = self.is_live();
        let mut process = Process::start(&mut command, &log)?;
        let status = process.wait(PATIENCE)?;
        let said = process.said();
        ensure!(!said.contains("panicked"), "the restore panicked: {}", log.display());
        match status {
            0 => {
                let proven = said.contains("identical to the source");
                ensure!(proven, "nothing is proven of it: {}", last_lines(&said));
                self.counts.restores.compared += 1;
                self.counts.restores.live += u64::from(live);
                fs::remove_file(log)?;
                Ok(Restored::File(output))
            }
            1 => {
                ensure!(!output.exists(), "{} is left of a failure", output.display());
                Ok(Restored::Nothing(last_lines(&said)))
            }
            _ => bail!("the restore ended with {status}: {}", last_lines(&said)),
        }
    }
}

/// Removes a database and its side files.
pub(crate) fn discard(path: &Path) -> anyhow::Result<()> {
    for suffix in ["db", "db-wal", "db-shm"] {
        let path = path.with_extension(suffix);
        if path.exists() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Copies the log into the file, and checks whatever can be checked within it.
pub(crate) fn verify(path: &Path) -> anyhow::Result<State> {
    let look = || -> anyhow::Result<State> {
        let connection = Connection::open(path)?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        State::verify(&connection)
    };
    look().with_context(|| format!("CORRUPT: {}", path.display()))
}

/// Whether a message reports that there is nothing that old, or nothing yet.
fn is_about_a_beginning(message: &str) -> bool {
    let texts = ["no matching backups found", "no snapshot", "there is no fork"];
    texts.iter().any(|text| message.contains(text))
}

fn difference(expected: &[u8], found: &[u8]) -> Option<String> {
    if expected.len() != found.len() {
        return Some(format!("{} bytes instead of {}", found.len(), expected.len()));
    }
    let at = expected.iter().zip(found).position(|(left, right)| left != right)?;
    Some(format!("byte {at} differs"))
}
