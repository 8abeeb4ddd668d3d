use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::guard;

/// How long anything may take before it counts as failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_mins(1);

/// A litestream: this one, or a peer.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub name: &'static str,
    binary: PathBuf,
}

impl Program {
    /// All programs, ours first. A peer is where `tests/run` installs it, or where its variable
    /// says; a missing one is left out.
    pub(crate) fn all() -> Vec<Self> {
        let peer = |variable: &str, installed: &str| {
            let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join(installed);
            let path = std::env::var_os(variable).map_or(installed, PathBuf::from);
            path.exists().then_some(path)
        };
        [
            ("this", Some(env!("CARGO_BIN_EXE_litestream").into())),
            ("0.3", peer("LITESTREAM_0_3", "target/venv-0.3/bin/litestream")),
            ("0.5", peer("LITESTREAM_0_5", "target/venv-0.5/bin/litestream")),
        ]
        .into_iter()
        .filter_map(|(name, binary)| Some(Self { name, binary: binary? }))
        .collect()
    }

    pub(crate) fn is_this(&self) -> bool {
        self.name == "this"
    }

    pub(crate) fn version(&self) -> String {
        let output = Command::new(&self.binary).arg("version").output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        fs::metadata(&self.binary).unwrap().len()
    }

    /// Starts the program. What it prints is appended to `log`.
    pub(crate) fn start(&self, arguments: &[&str], keys: (&str, &str), log: &Path) -> Process {
        let output = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            // 0.5 does not work with it.
            .env_remove("AWS_CA_BUNDLE")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", keys.0)
            .env("AWS_SECRET_ACCESS_KEY", keys.1)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        let began = Instant::now();
        let child = command.spawn().unwrap();
        guard::started(child.id());
        Process { child, began, log: log.to_owned() }
    }
}

/// A running litestream, which ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    began: Instant,
    log: PathBuf,
}

/// The time and memory that a process took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub time: Duration,
    /// Bytes.
    pub peak_memory: u64,
}

impl Process {
    /// The time since it was started.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The processor time that it has used, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        Duration::from_millis(10 * ticks.sum::<u64>())
    }

    /// The bytes now in memory. 0 if the process has ended.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS")
    }

    /// The most bytes that were in memory. 0 if the process has ended, because it is unknown then.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM")
    }

    fn status(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Waits until a condition holds.
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended before {what}\n{}", self.log());
            assert!(began.elapsed() < PATIENCE, "no {what}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it has used almost no processor time for two seconds, but at most for a minute.
    pub(crate) fn wait_until_quiet(&self) {
        let limit = Instant::now() + Duration::from_mins(1);
        while Instant::now() < limit {
            let before = self.cpu();
            sleep(Duration::from_secs(2));
            if self.cpu().saturating_sub(before) <= Duration::from_millis(20) {
                return;
            }
        }
    }

    /// Waits for its end, and expects success.
    pub(crate) fn finish(mut self) -> Run {
        let mut peak_memory = 0;
        let status = loop {
            peak_memory = self.peak_memory().max(peak_memory);
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(self.age() < PATIENCE, "does not end\n{}", self.log());
            sleep(Duration::from_millis(1));
        };
        let time = self.age();
        assert!(status.success(), "{}", self.log());
        Run { time, peak_memory }
    }

    /// Stops it as a user would, or by force if that takes too long: 0.3 hangs now and then.
    pub(crate) fn stop(self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let began = Instant::now();
        let mut this = self;
        while this.child.try_wait().unwrap().is_none() {
            if began.elapsed() > STOP_MAX {
                eprintln!("does not stop\n{}", this.log());
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// Kills it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The end of its log.
    fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // Report this before waiting for it: afterwards its number may be reused.
        guard::ended(self.child.id());
        let _ = self.child.wait();
    }
}
