use std::fs;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::case::{Case, PATIENCE};
use crate::fault::{Fault, exchange};
use crate::process::Hang;
use crate::rogue::Line;
use crate::site::REPLICAS;

/// The failures of a read-only directory. They strike all replicas that are directories.
const READ_ONLY: &str =
    "object-writing = erofs\nobject-renaming = erofs\nobject-deleting = erofs\n";

/// How a replica can be away.
#[derive(Clone, Copy, Debug)]
enum Absence {
    Line(Line),
    /// There is a file in place of its directory.
    NoDirectory,
    ReadOnly,
}

impl Case {
    /// Makes a replica unavailable for one to three minutes, while everything goes on.
    pub(crate) fn miss_a_replica(&mut self) -> anyhow::Result<()> {
        let replica = REPLICAS[self.random.usize(..REPLICAS.len())];
        let remote = self.settings.remote == Some(replica);
        let absence = match (remote, self.random.bool()) {
            (true, true) => Absence::Line(Line::Refuses),
            (true, false) => Absence::Line(Line::Hangs),
            (false, true) => Absence::NoDirectory,
            (false, false) => Absence::ReadOnly,
        };
        *self.counts.faults.entry("absence").or_default() += 1;
        self.note(&format!("{replica} is away: {absence:?}"))?;
        self.begin(absence, replica)?;
        let end = Instant::now() + Duration::from_secs(self.random.u64(60..180));
        while Instant::now() < end {
            self.pause(10_000);
            match self.random.u32(..6) {
                // See [`Case::await_use`].
                0 | 1 if matches!(absence, Absence::ReadOnly) => (),
                0 => self.inject(Fault::KillDaemon)?,
                1 => self.inject(Fault::StopDaemon)?,
                2 => self.inject(Fault::RestartUsers)?,
                _ => (),
            }
            self.expect_everybody_alive()?;
            self.look_at_replicas()?;
        }
        self.note("it is back")?;
        self.end(absence, replica)?;
        self.store_was_bad = Some(Instant::now());
        self.pause(10_000);
        self.look_at_replicas()
    }

    fn begin(&mut self, absence: Absence, replica: &'static str) -> anyhow::Result<()> {
        self.store_was_bad = Some(Instant::now());
        // In a read-only directory, a proof cannot be recorded.
        self.excuse(&REPLICAS);
        match absence {
            Absence::ReadOnly => {
                self.await_use()?;
                // The replica can be read all the time, but it lacks something when everything is
                // at rest.
                self.site.arm(READ_ONLY)?;
                return Ok(());
            }
            Absence::Line(line) => {
                if let Some(store) = &self.store {
                    store.set_line(line);
                }
            }
            Absence::NoDirectory => {
                let (path, away) = (self.site.replica(replica), self.site.path("away"));
                fs::create_dir_all(&path)?;
                fs::write(&away, "")?;
                exchange(&path, &away)?;
            }
        }
        self.unreachable = Some(replica);
        Ok(())
    }

    /// Waits until the daemon has used a replica. If every replica refuses from the start, the
    /// daemon ends: that is a mistake, not an outage.
    fn await_use(&mut self) -> anyhow::Result<()> {
        let used = ["replica goes on", "snapshot written"];
        let began = Instant::now();
        while let Some(daemon) = &self.daemon {
            let said = daemon.said();
            if used.iter().any(|used| said.contains(used)) {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, Hang("no replica is used".to_owned()));
            self.pause(100);
            self.expect_everybody_alive()?;
        }
        Ok(())
    }

    fn end(&mut self, absence: Absence, replica: &str) -> anyhow::Result<()> {
        match absence {
            Absence::ReadOnly => self.site.arm("")?,
            Absence::Line(_) => {
                if let Some(store) = &self.store {
                    store.behave();
                }
            }
            Absence::NoDirectory => {
                let (path, away) = (self.site.replica(replica), self.site.path("away"));
                exchange(&path, &away)?;
                fs::remove_file(&away)?;
            }
        }
        self.unreachable = None;
        Ok(())
    }
}
