use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{PATIENCE, eventually};

/// A child process that does not outlive its test.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`. What it prints is appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a second signal, as an impatient user would. A signal within 50 ms of the first would
    /// count as its echo.
    pub(crate) fn signal_again(&self) {
        thread::sleep(Duration::from_millis(60));
        self.signal(Signal::TERM);
    }

    /// Suspends the process, and waits until none of its threads runs. [`Signal::CONT`] resumes
    /// it.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap();
    }

    pub(crate) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for its end. Returns its exit code, or 128 plus the number of its signal.
    pub(crate) fn wait(&mut self) -> i32 {
        let status = self.wait_within(PATIENCE);
        status.unwrap_or_else(|| panic!("does not end\n{}", self.log()))
    }

    /// Waits for its end. Returns `None` if that takes longer than `limit`.
    pub(crate) fn wait_within(&mut self, limit: Duration) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().or(status.signal().map(|signal| 128 + signal));
            }
            thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// Stops it as a user would, and expects that it could finish all of its work.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        self.finish()
    }

    /// Waits for its end, and expects success. Returns its output.
    pub(crate) fn finish(mut self) -> String {
        let status = self.wait();
        assert_eq!(status, 0, "{}", self.log());
        self.log()
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Everything in its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until it logs `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        eventually(text, || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() || self.says(text), "{text:?} was not said\n{}", self.log());
            self.says(text)
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            // The log is the best explanation of why a test waited in vain.
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
