use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// The application, run as our child.
#[derive(Debug)]
pub(super) struct Application {
    child: Child,
    /// How it ended, once it has.
    status: Option<i32>,
}

impl Application {
    /// Starts `command`, a program and its arguments, with our environment and output.
    pub(super) fn start(command: &[String]) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("the command to run is empty")?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("run {program:?}"))?;
        Ok(Self { child, status: None })
    }

    /// Waits until it has ended. Returns its exit code, or 128 plus the number of its signal.
    pub(super) async fn wait(&mut self) -> anyhow::Result<i32> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        let status = code(self.child.wait().await.context("wait for the application")?);
        self.status = Some(status);
        Ok(status)
    }

    /// How it has ended, or `None` if it has not.
    pub(super) fn ended(&mut self) -> Option<i32> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten().map(code);
        }
        self.status
    }

    /// Passes a signal on.
    pub(super) fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}
