use std::fmt::Write;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use litestream::failpoint::Failpoint;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::case::Case;
use crate::process::Process;
use crate::role::Role;
use crate::site::REPLICAS;
use crate::trouble::Trouble;

/// What happens to a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillDaemon,
    StopDaemon,
    FreezeDaemon,
    KillWriter,
    FreezeWriter,
    RestartUsers,
    KillAll,
    Outage,
    DamageState,
    LastClose,
    RollBack,
    Replace,
    Restore,
    Failpoint,
    Disk,
    PowerLoss,
    CleanStop,
    Interrupt,
    Exec,
    Clock,
    Store(Trouble),
}

impl Fault {
    /// The faults to choose from. Frequent ones are repeated.
    const CHOICE: [Self; 28] = [
        Self::KillDaemon,
        Self::KillDaemon,
        Self::KillDaemon,
        Self::StopDaemon,
        Self::FreezeDaemon,
        Self::KillWriter,
        Self::FreezeWriter,
        Self::RestartUsers,
        Self::KillAll,
        Self::Outage,
        Self::Outage,
        Self::DamageState,
        Self::LastClose,
        Self::RollBack,
        Self::Replace,
        Self::Restore,
        Self::Failpoint,
        Self::Failpoint,
        Self::Disk,
        Self::PowerLoss,
        Self::PowerLoss,
        Self::CleanStop,
        Self::Interrupt,
        Self::Interrupt,
        Self::Exec,
        Self::Exec,
        Self::Exec,
        Self::Clock,
    ];

    /// Chooses a fault. `remote`: a replica is on an S3 server.
    pub(crate) fn choose(random: &mut fastrand::Rng, remote: bool) -> Self {
        if remote && random.u32(..2) == 0 {
            return Self::Store(Trouble::choose(random));
        }
        Self::CHOICE[random.usize(..Self::CHOICE.len())]
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillDaemon => "kill",
            Self::StopDaemon => "stop",
            Self::FreezeDaemon => "freeze",
            Self::KillWriter => "kill-writer",
            Self::FreezeWriter => "freeze-writer",
            Self::RestartUsers => "restart-users",
            Self::KillAll => "kill-all",
            Self::Outage => "outage",
            Self::DamageState => "damage-state",
            Self::LastClose => "last-close",
            Self::RollBack => "roll-back",
            Self::Replace => "replace",
            Self::Restore => "restore",
            Self::Failpoint => "failpoint",
            Self::Disk => "disk",
            Self::PowerLoss => "power-loss",
            Self::CleanStop => "clean-stop",
            Self::Interrupt => "interrupt",
            Self::Exec => "exec",
            Self::Clock => "clock",
            Self::Store(trouble) => trouble.name(),
        }
    }
}

impl Case {
    /// Makes a fault happen. Afterwards everybody is at work again.
    pub(crate) fn inject(&mut self, fault: Fault) -> anyhow::Result<()> {
        if fault != Fault::CleanStop {
            *self.counts.faults.entry(fault.name()).or_default() += 1;
        }
        self.note(&format!("{fault:?}"))?;
        match fault {
            Fault::KillDaemon => {
                self.kill_daemon()?;
                self.perhaps_pause();
                self.start_daemon()
            }
            Fault::StopDaemon => {
                self.stop_daemon()?;
                self.perhaps_pause();
                self.start_daemon()
            }
            Fault::FreezeDaemon => {
                let pause = Duration::from_millis(self.random.u64(1..1500));
                self.daemon.as_ref().map_or(Ok(()), |daemon| daemon.freeze(pause))
            }
            Fault::KillWriter => {
                let (role, process) = self.users.swap_remove(self.random.usize(..2));
                process.kill()?;
                self.perhaps_pause();
                self.start_user(role)
            }
            Fault::FreezeWriter => {
                let pause = Duration::from_millis(self.random.u64(1..1500));
                let user = self.random.usize(..self.users.len());
                self.users[user].1.freeze(pause)
            }
            Fault::RestartUsers => {
                self.end_users()?;
                self.perhaps_pause();
                self.start_users()
            }
            Fault::KillAll => {
                self.kill_all()?;
                self.site.save_volume()?;
                self.has_copy = true;
                self.start_all()
            }
            Fault::Outage => self.outage(),
            Fault::DamageState => self.damage_state(),
            Fault::LastClose => self.last_close(),
            Fault::RollBack => self.roll_back(),
            Fault::Replace => self.replace(),
            Fault::Restore => self.restore_in_place(),
            Fault::Failpoint => self.die_at_failpoint(),
            Fault::Disk => self.disk(),
            Fault::PowerLoss => self.lose_power(),
            Fault::CleanStop => {
                self.come_to_rest()?;
                self.start_all()
            }
            Fault::Interrupt => {
                self.interrupt_daemon()?;
                self.perhaps_pause();
                self.start_daemon()
            }
            Fault::Exec => self.run_application(),
            Fault::Clock => self.set_clock(),
            Fault::Store(trouble) => self.befall(trouble),
        }
    }

    /// Pauses, or not, so that the next step sometimes follows at once.
    pub(crate) fn perhaps_pause(&mut self) {
        if self.random.bool() {
            self.pause(500);
        }
    }

    pub(crate) fn kill_all(&mut self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.kill_daemon()?;
            self.kill_users()
        } else {
            self.kill_users()?;
            self.kill_daemon()
        }
    }

    /// Starts the daemon before or after the others.
    pub(crate) fn start_all(&mut self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.start_daemon()?;
            self.start_users()
        } else {
            self.start_users()?;
            self.start_daemon()
        }
    }

    /// Replaces the directory of a replica by a file for a while, so that it cannot be used.
    fn outage(&mut self) -> anyhow::Result<()> {
        let replica = REPLICAS[self.random.usize(..REPLICAS.len())];
        if self.settings.remote == Some(replica) {
            return self.befall(Trouble::Outage);
        }
        self.excuse(&[replica]);
        let (path, away) = (self.site.replica(replica), self.site.path("away"));
        fs::create_dir_all(&path)?;
        fs::write(&away, "")?;
        exchange(&path, &away)?;
        self.unreachable = Some(replica);
        self.linger()?;
        exchange(&path, &away)?;
        fs::remove_file(&away)?;
        self.unreachable = None;
        Ok(())
    }

    /// Waits for a while, in which the daemon may be killed or stopped.
    fn linger(&mut self) -> anyhow::Result<()> {
        self.pause(1500);
        self.perhaps_restart_daemon()?;
        self.pause(1000);
        Ok(())
    }

    fn perhaps_restart_daemon(&mut self) -> anyhow::Result<()> {
        match self.random.u32(..6) {
            0 => self.inject(Fault::KillDaemon),
            1 => self.inject(Fault::StopDaemon),
            2 => self.inject(Fault::Interrupt),
            _ => Ok(()),
        }
    }

    /// Makes the S3 server misbehave for a while, and checks that what it gives is right.
    fn befall(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        let (Some(store), Some(replica)) = (&self.store, self.settings.remote) else {
            return Ok(());
        };
        trouble.befall(store, &mut self.random);
        let store = Arc::clone(store);
        self.excuse(&[replica]);
        self.store_was_bad = Some(Instant::now());
        let unusable = trouble.stops_restores() || trouble.hides_objects();
        self.unreachable = Some(replica).filter(|_| unusable);
        self.linger()?;
        if trouble.hides_objects() {
            self.check_any(replica)?;
        } else if !trouble.stops_restores() {
            self.check_latest(replica)?;
        }
        store.behave();
        self.unreachable = None;
        self.store_was_bad = Some(Instant::now());
        Ok(())
    }

    /// Removes or damages the state of the daemon.
    fn damage_state(&mut self) -> anyhow::Result<()> {
        self.kill_daemon()?;
        self.perhaps_pause();
        let state = self.site.state();
        let file = state.join(["cursor", "pages"][self.random.usize(..2)]);
        match self.random.u32(..3) {
            _ if !state.exists() => (),
            0 => fs::remove_dir_all(&state)?,
            // The daemon has not come that far.
            _ if !file.exists() => (),
            1 => overwrite_a_part(&file, &mut self.random)?,
            _ => {
                let file = fs::File::options().write(true).open(&file)?;
                file.set_len(self.random.u64(..=file.metadata()?.len()))?;
            }
        }
        self.start_daemon()
    }

    /// Lets the last connection to the database delete the log, while no daemon runs.
    fn last_close(&mut self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.kill_daemon()?;
        } else {
            self.stop_daemon()?;
        }
        self.perhaps_pause();
        self.end_users()?;
        self.start_all()
    }

    /// Replaces the database by a vacuumed copy, as an application may to make it smaller, with or
    /// without a running daemon.
    fn replace(&mut self) -> anyhow::Result<()> {
        let absent = self.random.bool();
        if absent {
            self.kill_daemon()?;
        }
        self.end_users()?;
        self.site.replace_database().context("replace the database")?;
        self.start_users()?;
        if absent { self.start_daemon() } else { Ok(()) }
    }

    /// Replaces database and state by an older copy.
    fn roll_back(&mut self) -> anyhow::Result<()> {
        self.kill_all()?;
        if self.has_copy {
            self.site.roll_back_volume().context("put the older copy back")?;
            self.note("rolled back")?;
        } else {
            self.site.save_volume()?;
            self.has_copy = true;
        }
        // What is found must be in the record before it is replicated.
        self.start_user(Role::Oracle)?;
        self.start_user(Role::Adversary)?;
        self.start_daemon()?;
        self.start_user(Role::Reader)
    }
}

impl Case {
    /// Makes the daemon die at some step, at its next pass or a later one.
    fn die_at_failpoint(&mut self) -> anyhow::Result<()> {
        let failpoint = Failpoint::ALL[self.random.usize(..Failpoint::ALL.len())];
        let script = format!("{} = kill @ {}", failpoint.name(), self.random.u32(1..6));
        self.note(&script)?;
        let at_start = self.random.bool();
        if at_start {
            self.kill_daemon()?;
        }
        self.site.arm(&script)?;
        if at_start {
            self.start_daemon()?;
        }
        // The daemon passes some places rarely, or never.
        for _ in 0..20 {
            if self.daemon.as_mut().map_or(Ok(None), Process::ended)?.is_some() {
                self.note("died")?;
                break;
            }
            self.pause(100);
        }
        self.kill_daemon()?;
        self.site.arm("")?;
        self.perhaps_pause();
        self.start_daemon()
    }

    /// Makes the disk of the daemon, or of the replicas, fail or slow down for a while.
    fn disk(&mut self) -> anyhow::Result<()> {
        let mut script = String::new();
        for _ in 0..self.random.u32(1..4) {
            let failpoint = Failpoint::ALL[self.random.usize(..Failpoint::ALL.len())];
            let fault = ["enospc", "eio", "slow 1ms", "slow 20ms"][self.random.usize(..4)];
            writeln!(script, "{} = {fault}", failpoint.name())?;
        }
        self.note(&script)?;
        self.excuse(&REPLICAS);
        self.site.arm(&script)?;
        self.pause(1500);
        self.perhaps_restart_daemon()?;
        self.pause(1000);
        Ok(self.site.arm("")?)
    }

    /// Ends everything, and loses what was not synced.
    fn lose_power(&mut self) -> anyhow::Result<()> {
        self.kill_all()?;
        self.boot += 1;
        self.site.lose_power(&mut self.random).context("lose power")?;
        self.record_what_is_left()?;
        self.perhaps_pause();
        self.start_all()
    }
}

/// Exchanges the names of two files, so that neither is missing for a moment.
pub(crate) fn exchange(one: &Path, other: &Path) -> anyhow::Result<()> {
    Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
}

fn overwrite_a_part(path: &Path, random: &mut fastrand::Rng) -> anyhow::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    let mut bytes = vec![0; random.usize(1..20)];
    random.fill(&mut bytes);
    Ok(file.write_all_at(&bytes, random.u64(..file.metadata()?.len().max(1)))?)
}
