use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::Signal;

use crate::application::Part;
use crate::case::{Case, NOT_ALL, PATIENCE, expect_progress, last_lines};
use crate::interrupt::{INTERRUPTED, LACK, SECOND};
use crate::leash::Leash;
use crate::process::Process;
use crate::role::{AT_WORK, Role};
use crate::site::REPLICAS;

/// How the daemon reports that the application goes on without it.
const ABANDONED: &str = "the application is still running";

/// What happens to a daemon and the application that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The application ends by itself.
    Nothing,
    Signal,
    /// Both are signalled, as a terminal does.
    SignalToBoth,
    SecondSignal,
    KillApplication,
    /// The application goes on for a while, without replication.
    KillDaemon,
}

impl Turn {
    const CHOICE: [Self; 9] = [
        Self::Nothing,
        Self::Nothing,
        Self::Nothing,
        Self::Signal,
        Self::Signal,
        Self::SignalToBoth,
        Self::SecondSignal,
        Self::KillApplication,
        Self::KillDaemon,
    ];

    fn choose(random: &mut fastrand::Rng) -> Self {
        Self::CHOICE[random.usize(..Self::CHOICE.len())]
    }

    fn part(self, random: &mut fastrand::Rng) -> Part {
        match self {
            Self::Nothing => Part::short(random),
            Self::SecondSignal if random.bool() => Part::deaf(random),
            _ => Part::until_told(random),
        }
    }
}

impl Case {
    /// Lets the daemon run the oracle as its child, until one of them ends.
    ///
    /// If the child's exit code is passed on without an error, all that it committed must be in
    /// the replicas.
    pub(crate) fn run_application(&mut self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.kill_daemon()?;
        } else {
            self.stop_daemon()?;
        }
        self.end_users()?;
        // A process that is not the child may keep the daemon from replicating everything.
        if self.random.u32(..4) == 0 {
            let other = [Role::Adversary, Role::Reader][self.random.usize(..2)];
            self.start_user(other)?;
        }
        let turn = Turn::choose(&mut self.random);
        let part = turn.part(&mut self.random);
        self.note(&format!("{turn:?}: {part:?}"))?;
        let leash = Leash::hold(self.fresh("leash"))?;
        self.start_application(part, &leash)?;
        if self.random.u32(..4) > 0 {
            self.let_it_work()?;
        }
        if turn == Turn::KillDaemon {
            return self.orphan_application(leash);
        }
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let status = self.take_turn(turn, &mut daemon, &leash)?;
        // Otherwise nothing could be said about what it commits.
        leash.end()?;
        self.note(&format!("the daemon ended with {status}"))?;
        self.take_leave(&daemon)?;
        self.expect_honesty(turn, part, status, &daemon.said())?;
        self.end_users()?;
        self.start_all()
    }

    fn start_application(&mut self, part: Part, leash: &Leash) -> anyhow::Result<()> {
        let ourselves = std::env::current_exe()?;
        let text = |path: &Path| path.to_str().context("a path that is no text").map(str::to_owned);
        let command = shell_words::join([
            text(&ourselves)?,
            "--serve".to_owned(),
            serde_json::to_string(&part)?,
            text(self.site.home())?,
            text(leash.path())?,
        ]);
        self.start_daemon_with(&["-exec", &command])
    }

    /// Lets the application work for a while.
    fn let_it_work(&mut self) -> anyhow::Result<()> {
        if let Some(daemon) = &mut self.daemon {
            await_application(daemon)?;
        }
        self.pause(1500);
        Ok(())
    }

    /// Makes it happen, and returns the exit code of the daemon.
    fn take_turn(
        &mut self,
        turn: Turn,
        daemon: &mut Process,
        leash: &Leash,
    ) -> anyhow::Result<i32> {
        if self.random.u32(..4) == 0 && daemon.ended()?.is_none() {
            daemon.freeze(Duration::from_millis(self.random.u64(1..1000)))?;
        }
        if turn != Turn::Nothing {
            self.expect_signals_to_work(daemon)?;
        }
        match turn {
            Turn::Nothing | Turn::KillDaemon => (),
            Turn::Signal => daemon.signal(self.any_signal())?,
            Turn::SignalToBoth => {
                let signal = self.any_signal();
                leash.signal(signal);
                daemon.signal(signal)?;
            }
            Turn::SecondSignal => return self.signal_twice(daemon),
            Turn::KillApplication => {
                // Before that, its process id is unknown.
                await_application(daemon)?;
                leash.signal(Signal::KILL);
            }
        }
        daemon.wait(PATIENCE)
    }

    /// Expects that a daemon that ended with `status` reported the truth, also about its child.
    fn expect_honesty(
        &mut self,
        turn: Turn,
        part: Part,
        status: i32,
        said: &str,
    ) -> anyhow::Result<()> {
        let ended = || format!("the daemon ended with {status}: {}", last_lines(said));
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        ensure!(errors.clone().all(|line| line.starts_with(LACK)), ended());
        let interrupted = said.contains(SECOND);
        if errors.count() > 0 {
            let abandoned = said.contains(ABANDONED);
            ensure!(!abandoned || interrupted, "abandoned for no reason, {}", ended());
            match status {
                INTERRUPTED if interrupted => (),
                NOT_ALL if !interrupted && self.may_lack_something() => (),
                _ => bail!(ended()),
            }
        } else {
            let expected = match turn {
                Turn::KillApplication => vec![128 + Signal::KILL.as_raw()],
                Turn::Nothing => vec![part.status()],
                // Before it handles signals, a signal kills it.
                _ if !said.contains(AT_WORK) => {
                    vec![128 + Signal::TERM.as_raw(), 128 + Signal::INT.as_raw()]
                }
                _ => vec![part.status()],
            };
            ensure!(expected.contains(&status), "{expected:?} expected, but {}", ended());
            ensure!(
                !part.is_deaf() || !said.contains(AT_WORK),
                "it was still running: {}",
                ended()
            );
            let place = self.record()?.last_commit();
            self.acknowledge(place);
        }
        for replica in REPLICAS {
            self.check_latest(replica)?;
        }
        // A process that is killed in the middle of a commit may leave one that is not published:
        // the daemon has not seen it, and SQLite finds it in the log when all have closed the
        // database.
        let whole = turn != Turn::KillApplication && !said.contains(LACK);
        if whole && self.users.is_empty() { self.check_identical() } else { Ok(()) }
    }

    /// Kills the daemon only. Another one may follow while the application goes on.
    fn orphan_application(&mut self, leash: Leash) -> anyhow::Result<()> {
        self.kill_daemon()?;
        self.perhaps_pause();
        let replicated = self.random.bool();
        if replicated {
            self.start_daemon()?;
            self.pause(800);
        }
        leash.end()?;
        self.end_users()?;
        if replicated { self.start_users() } else { self.start_all() }
    }
}

/// Waits until the application handles signals, or has ended.
fn await_application(daemon: &mut Process) -> anyhow::Result<()> {
    let began = Instant::now();
    while !daemon.said().contains(AT_WORK) && daemon.ended()?.is_none() {
        expect_progress(began, "the application does not start")?;
        sleep(Duration::from_millis(2));
    }
    Ok(())
}
