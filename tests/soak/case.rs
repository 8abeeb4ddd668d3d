use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use litestream::failpoint::SCRIPT;
use rustix::process::Signal;

use crate::clock::Clock;
use crate::counts::Counts;
use crate::fault::Fault;
use crate::process::{Hang, Process, litestream, ourselves};
use crate::record::Record;
use crate::rival::Peer;
use crate::rogue::Rogue;
use crate::role::{AT_WORK, Role};
use crate::site::{REPLICAS, Settings, Site};

/// How long anything may take on a busy machine that is not a matter of seconds.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// How long the daemon may take to end, with a `shutdown-timeout` of 3 s.
pub(crate) const STOP_MAX: Duration = Duration::from_secs(30);

/// Exit code: not everything is replicated.
pub(crate) const NOT_ALL: i32 = 75;

/// How long a replica may take to recover. The daemon's pause between two attempts may be longer
/// than its `shutdown-timeout`, and starts again if the daemon was stopped within one.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// What a replica is known to hold. From then on, no restore may be older.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) replica: &'static str,
    pub(crate) fork: Option<String>,
    pub(crate) time: SystemTime,
    /// The place of the state in the record.
    pub(crate) place: usize,
}

/// One database, and what happens to it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) random: fastrand::Rng,
    pub(crate) site: Site,
    pub(crate) settings: Settings,
    pub(crate) daemon: Option<Process>,
    pub(crate) users: Vec<(Role, Process)>,
    pub(crate) known: Vec<Known>,
    /// A replica that cannot be reached.
    pub(crate) unreachable: Option<&'static str>,
    pub(crate) has_copy: bool,
    /// Replicas that validation may rightly have reported as not restorable.
    pub(crate) excused: BTreeSet<&'static str>,
    /// The S3 server of the replica that the settings name.
    pub(crate) store: Option<Arc<Rogue>>,
    /// When something was last wrong with the server, or a replica was away for long.
    pub(crate) store_was_bad: Option<Instant>,
    /// How often the machine was booted.
    pub(crate) boot: u32,
    pub(crate) counts: Counts,
    /// The other daemon that writes to the replicas, from some time on.
    pub(crate) peer: Option<Peer>,
    /// How the clock of a replica was last moved, if it was.
    pub(crate) clocks: BTreeMap<&'static str, Clock>,
    files: u32,
}

impl Case {
    /// Runs the case of `seed`. Its directory remains if it fails.
    ///
    /// With `long`, one of the replicas is away for minutes.
    pub(crate) fn run(seed: u64, long: bool) -> (Counts, anyhow::Result<()>) {
        let home = std::env::temp_dir().join(format!("soak-{}-{seed}", std::process::id()));
        let mut random = fastrand::Rng::with_seed(seed);
        let settings = Settings::choose(&mut random);
        let mut case = Self::new(Site::at(&home), settings, random);
        let outcome = case.play(long);
        case.counts.bytes += case.site.bytes_written();
        if let Some(store) = &case.store {
            case.counts.requests = store.requests().len() as u64;
            case.counts.requests_struck = store.struck().into();
        }
        let settings = &case.settings;
        let outcome = match outcome {
            Ok(()) => fs::remove_dir_all(&home).context("clean up"),
            Err(error) => Err(error.context(format!("{}, {settings:?}", home.display()))),
        };
        (std::mem::take(&mut case.counts), outcome)
    }

    /// A case in which nothing has happened yet.
    pub(crate) fn new(site: Site, settings: Settings, random: fastrand::Rng) -> Self {
        Self {
            settings,
            random,
            site,
            daemon: None,
            users: Vec::new(),
            known: Vec::new(),
            unreachable: None,
            has_copy: false,
            excused: BTreeSet::new(),
            store: None,
            store_was_bad: None,
            boot: 1,
            counts: Counts::default(),
            peer: None,
            clocks: BTreeMap::new(),
            files: 0,
        }
    }

    fn play(&mut self, long: bool) -> anyhow::Result<()> {
        let remote = self.settings.remote;
        self.store = remote.map(|_| Arc::new(Rogue::with_seed(self.random.u64(..))));
        self.site.build(&self.settings, self.store.as_deref())?;
        self.start_users()?;
        self.start_daemon()?;
        for _ in 0..self.random.u32(4..10) {
            self.pause(1200);
            let fault = Fault::choose(&mut self.random, self.store.is_some());
            self.inject(fault).with_context(|| format!("{fault:?}"))?;
            self.expect_everybody_alive().with_context(|| format!("after {fault:?}"))?;
            self.look_at_replicas().with_context(|| format!("after {fault:?}"))?;
        }
        if long {
            self.miss_a_replica().context("a replica was away for minutes")?;
        }
        if self.random.u32(..4) == 0 && !self.times_mislead() {
            self.compete().context("with a rival")
        } else {
            self.come_to_rest().context("at the end")
        }
    }

    /// Restores from the replicas, whether or not anything is running.
    pub(crate) fn look_at_replicas(&mut self) -> anyhow::Result<()> {
        for replica in REPLICAS {
            match self.random.u32(..4) {
                0 | 1 => self.check_latest(replica)?,
                2 => self.check_some_time(replica)?,
                _ => (),
            }
        }
        Ok(())
    }

    /// Ends everything, so that the replicas must equal the database.
    pub(crate) fn come_to_rest(&mut self) -> anyhow::Result<()> {
        self.end_users()?;
        self.rest_daemon()?;
        self.check_identical()?;
        self.verify_replicas()?;
        for replica in REPLICAS {
            self.check_some_time(replica)?;
        }
        Ok(())
    }

    /// Ends the daemon once it has replicated everything, with nobody at work.
    pub(crate) fn rest_daemon(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.stop_daemon()? == Some(NOT_ALL) {
            expect_progress(began, "the daemon does not get everything replicated")?;
            self.start_daemon()?;
            sleep(Duration::from_secs(1));
        }
        Ok(())
    }

    /// Waits for a random time of up to `max` milliseconds.
    pub(crate) fn pause(&mut self, max: u64) {
        sleep(Duration::from_millis(self.random.u64(..max)));
    }

    /// Adds a line to the story of the case, which helps to find out why it failed.
    pub(crate) fn note(&self, text: &str) -> anyhow::Result<()> {
        let path = self.site.path("story");
        let mut story = fs::File::options().create(true).append(true).open(path)?;
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        Ok(writeln!(story, "{now} {text}")?)
    }

    /// A name that was not used before.
    pub(crate) fn fresh(&mut self, name: &str) -> std::path::PathBuf {
        self.files += 1;
        self.site.path(&format!("{}.{name}", self.files))
    }

    pub(crate) fn record(&self) -> anyhow::Result<Record> {
        Record::read(&self.site.record())
    }

    /// Starts the daemon, without waiting for it.
    pub(crate) fn start_daemon(&mut self) -> anyhow::Result<()> {
        self.start_daemon_with(&[])
    }

    pub(crate) fn start_daemon_with(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = litestream()?;
        command.args(["replicate", "-config"]).arg(self.site.config()).args(arguments);
        command.env(SCRIPT, self.site.failpoints()).env("LITESTREAM_BOOT", self.boot.to_string());
        let log = self.fresh("daemon.log");
        self.daemon = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    /// Stops the daemon as a user does.
    ///
    /// If it reports that everything is replicated, this must hold from now on. Returns its exit
    /// code.
    pub(crate) fn stop_daemon(&mut self) -> anyhow::Result<Option<i32>> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(None) };
        self.expect_signals_to_work(&mut daemon)?;
        let place = self.record()?.last_commit();
        let began = Instant::now();
        daemon.signal(Signal::TERM)?;
        let status = daemon.wait(STOP_MAX)?;
        self.counts.slowest_stop = self.counts.slowest_stop.max(began.elapsed());
        self.note(&format!("the daemon ended with {status} after {:?}", began.elapsed()))?;
        self.take_leave(&daemon)?;
        match status {
            0 => self.acknowledge(place),
            NOT_ALL if self.may_lack_something() => (),
            _ => bail!("the daemon ended with {status}: {}", last_lines(&daemon.said())),
        }
        Ok(Some(status))
    }

    /// Looks at what a daemon has left that has ended.
    pub(crate) fn take_leave(&mut self, daemon: &Process) -> anyhow::Result<()> {
        ensure!(!daemon.said().contains("panicked"), "the daemon panicked");
        self.hear_out(&daemon.said())?;
        if self.site.cursor().contains("clean true") {
            self.site.mark_synced()?;
        }
        Ok(())
    }

    /// Notes that the daemon has reported everything up to `place` of the record as replicated.
    pub(crate) fn acknowledge(&mut self, place: Option<usize>) {
        let Some(place) = place else { return };
        self.counts.acknowledged += 1;
        if self.peer.is_none() {
            let time = SystemTime::now();
            let fork = |replica| self.site.fork(replica);
            let known = |replica| Known { replica, fork: fork(replica), time, place };
            self.known.extend(REPLICAS.map(known));
        }
    }

    /// Whether a daemon may rightly report that something is not replicated.
    pub(crate) fn may_lack_something(&self) -> bool {
        !self.users.is_empty() || self.replica_may_lag()
    }

    fn replica_may_lag(&self) -> bool {
        let bad = self.store_was_bad.is_some_and(|time| time.elapsed() < RECOVERY_MAX);
        // A daemon that finds another one there begins anew, and may have to wait before that.
        bad || self.unreachable.is_some() || self.peer.is_some()
    }

    /// Waits until the daemon handles signals: right after its start, a signal just kills it.
    pub(crate) fn expect_signals_to_work(&self, daemon: &mut Process) -> anyhow::Result<()> {
        let (began, id) = (Instant::now(), format!("{}\n", daemon.id()));
        let lock = self.site.state().join("lock");
        while fs::read_to_string(&lock).map_or(true, |text| text != id) {
            let ended = daemon.ended()?;
            ensure!(ended.is_none(), "the daemon ended: {}", last_lines(&daemon.said()));
            expect_progress(began, "the daemon does not start")?;
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn kill_daemon(&mut self) -> anyhow::Result<()> {
        let Some(daemon) = self.daemon.take() else { return Ok(()) };
        let log = daemon.log();
        daemon.kill()?;
        self.hear_out(&fs::read_to_string(log)?)
    }

    /// Starts all that use the database, and waits until they do.
    pub(crate) fn start_users(&mut self) -> anyhow::Result<()> {
        Role::ALL.into_iter().try_for_each(|role| self.start_user(role))
    }

    pub(crate) fn start_user(&mut self, role: Role) -> anyhow::Result<()> {
        let mut command = ourselves()?;
        command.args(["--play", &role.to_string(), &self.random.u64(..).to_string()]);
        command.arg(self.site.home());
        let log = self.fresh(&format!("{role}.log"));
        let mut process = Process::start(&mut command, &log)?;
        let began = Instant::now();
        while !process.said().contains(AT_WORK) {
            let ended = process.ended()?;
            ensure!(ended.is_none(), "the {role} ended: {}", last_lines(&process.said()));
            expect_progress(began, &format!("the {role} does not start"))?;
            sleep(Duration::from_millis(5));
        }
        self.users.push((role, process));
        Ok(())
    }

    /// Lets all that use the database close it.
    pub(crate) fn end_users(&mut self) -> anyhow::Result<()> {
        self.users.iter_mut().for_each(|(_, process)| process.ask_to_end());
        for (role, mut process) in std::mem::take(&mut self.users) {
            let status = process.wait(PATIENCE)?;
            ensure!(status == 0, "the {role} ended with {status}: {}", last_lines(&process.said()));
        }
        Ok(())
    }

    pub(crate) fn kill_users(&mut self) -> anyhow::Result<()> {
        std::mem::take(&mut self.users).into_iter().try_for_each(|(_, process)| process.kill())
    }

    pub(crate) fn expect_everybody_alive(&mut self) -> anyhow::Result<()> {
        let users = self.users.iter_mut().map(|(role, process)| (role.to_string(), process));
        let daemon = self.daemon.iter_mut().map(|process| ("daemon".to_owned(), process));
        for (name, process) in users.chain(daemon) {
            if let Some(status) = process.ended()? {
                bail!("the {name} ended with {status}: {}", last_lines(&process.said()));
            }
        }
        self.daemon.as_ref().map_or(Ok(()), |daemon| self.expect_no_alarm(&daemon.said()))
    }
}

pub(crate) fn expect_progress(began: Instant, otherwise: &str) -> anyhow::Result<()> {
    ensure!(began.elapsed() < PATIENCE, Hang(otherwise.to_owned()));
    Ok(())
}

/// The end of a log, which contains the reason.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(4).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}
