use std::collections::BTreeSet;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use crate::case::Case;
use crate::power::files;
use crate::site::REPLICAS;

const HOUR: Duration = Duration::from_hours(1);

/// How the clock of a replica was moved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// When it was last moved. From then on, its times are ours again.
    set: SystemTime,
    /// Whether it was ever set back: what was stored before then seems younger than it is.
    back: bool,
}

/// How far a clock is moved, and in which direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Jump {
    Forth(Duration),
    Back(Duration),
}

impl Jump {
    /// What `time` seems to have been after the clock was moved.
    pub(crate) fn seen_from_behind(self, time: SystemTime) -> SystemTime {
        match self {
            Self::Forth(jump) => time - jump,
            Self::Back(jump) => time + jump,
        }
    }
}

impl Case {
    /// Moves the clock of the machine, of the S3 server, or of both, while no daemon runs.
    ///
    /// Our own clock cannot be moved, so the times of everything stored are changed instead.
    pub(crate) fn set_clock(&mut self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.kill_daemon()?;
        } else {
            self.stop_daemon()?;
        }
        let hours = HOUR * self.random.u32(1..=72);
        let jump = if self.random.bool() { Jump::Forth(hours) } else { Jump::Back(hours) };
        let (machine, server) =
            [(true, true), (true, false), (false, true)][self.random.usize(..3)];
        for replica in REPLICAS {
            let remote = self.settings.remote == Some(replica);
            if if remote { server } else { machine } {
                self.note(&format!("the clock of {replica} is set: {jump:?}"))?;
                self.shift_times(replica, jump)?;
            }
        }
        self.perhaps_pause();
        self.start_daemon()
    }

    fn shift_times(&mut self, replica: &'static str, jump: Jump) -> anyhow::Result<()> {
        match &self.store {
            Some(store) if self.settings.remote == Some(replica) => {
                store.set_times(|time| jump.seen_from_behind(time));
            }
            _ => {
                for path in files(&self.site.replica(replica))? {
                    let file = File::options().write(true).open(path)?;
                    file.set_modified(jump.seen_from_behind(file.metadata()?.modified()?))?;
                }
            }
        }
        let was_back = self.clocks.get(replica).is_some_and(|clock| clock.back);
        let back = was_back || matches!(jump, Jump::Back(_));
        self.clocks.insert(replica, Clock { set: SystemTime::now(), back });
        Ok(())
    }

    /// From when on the times in a replica can be relied on, but not before `known`. `None` if
    /// they never can.
    pub(crate) fn times_count_from(&self, replica: &str, known: SystemTime) -> Option<SystemTime> {
        match self.clocks.get(replica) {
            None => Some(known),
            Some(clock) => (!clock.back).then_some(known.max(clock.set)),
        }
    }

    /// Whether the times in some replica do not show the order of events.
    pub(crate) fn times_mislead(&self) -> bool {
        self.clocks.values().any(|clock| clock.back)
    }

    /// Whether a restore may give an older state: the times of the objects show which of several
    /// generations is the latest, and the clock was set back.
    pub(crate) fn may_be_misled(
        &self,
        replica: &str,
        fork: Option<&String>,
    ) -> anyhow::Result<bool> {
        let back = self.clocks.get(replica).is_some_and(|clock| clock.back);
        Ok(back && self.generations(replica, fork)?.len() > 1)
    }

    /// The generation that the daemon writes, or wrote last.
    pub(crate) fn current_generation(&self) -> Option<String> {
        let cursor = self.site.cursor();
        cursor.lines().find_map(|line| line.strip_prefix("generation ")).map(str::to_owned)
    }

    fn generations(
        &self,
        replica: &str,
        fork: Option<&String>,
    ) -> anyhow::Result<BTreeSet<String>> {
        let place = fork.map_or_else(String::new, |fork| format!("forks/{fork}/"));
        let prefix = format!("{replica}/{place}generations/");
        Ok(match &self.store {
            Some(store) if self.settings.remote == Some(replica) => {
                let keys = store.keys();
                let names =
                    keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.split('/').next());
                names.map(str::to_owned).collect()
            }
            _ => {
                let directory = self.site.replica(replica).join(format!("{place}generations"));
                if !directory.exists() {
                    return Ok(BTreeSet::new());
                }
                let names = fs::read_dir(directory)?
                    .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
                names.collect::<std::io::Result<_>>()?
            }
        })
    }
}
