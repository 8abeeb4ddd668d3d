use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A child process. It outlives neither this value nor the thread that started it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// Something took longer than anything may.
#[derive(Debug)]
pub(crate) struct Hang(pub(crate) String);

impl fmt::Display for Hang {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HANG: {}", self.0)
    }
}

impl std::error::Error for Hang {}

/// Makes the kernel kill this process when its parent is gone, in whatever way.
pub(crate) fn die_with_parent() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

/// Replaces this process by a program. Returns only on an error.
pub(crate) fn become_program(words: &[String]) -> anyhow::Result<()> {
    die_with_parent()?;
    let [program, arguments @ ..] = words else { bail!("--become needs a program") };
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("run {program}"))
}

/// A command that runs this program again, for other arguments.
pub(crate) fn ourselves() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe()?))
}

/// The program under test, in a minimal environment.
pub(crate) fn litestream() -> anyhow::Result<Command> {
    let mut command = ourselves()?;
    command
        .args(["--become", env!("CARGO_BIN_EXE_litestream")])
        .env_clear()
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    Ok(command)
}

impl Process {
    /// Starts `command`. What it prints is appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Suspends it for a while.
    pub(crate) fn freeze(&self, pause: Duration) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        sleep(pause);
        self.signal(Signal::CONT)
    }

    /// Asks one of our own processes to end.
    pub(crate) fn ask_to_end(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Its exit code, or 128 plus the number of its signal, once it has ended.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        let status = self.child.try_wait()?;
        Ok(status.and_then(|status| status.code().or(status.signal().map(|number| 128 + number))))
    }

    /// Waits for its end. Taking longer than `patience` is an error.
    pub(crate) fn wait(&mut self, patience: Duration) -> anyhow::Result<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > patience {
                let log = self.log.display();
                bail!(Hang(format!("{log} does not end within {patience:?}")));
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Kills it.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// Everything in its log.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
