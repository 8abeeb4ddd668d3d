use std::mem;
use std::path::Path;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::leash;
use crate::oracle::Oracle;
use crate::role::{Stage, say_at_work};

/// Exit codes that mean something to the daemon, or to a shell.
const CODES: [u8; 8] = [0, 0, 1, 2, 75, 130, 143, 255];

/// What an application does as the daemon's child.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    seed: u64,
    /// After how many transactions it ends by itself, or `None` if it waits for a signal.
    lasts: Option<u32>,
    /// How many more transactions it makes after the signal.
    more: u32,
    /// How long it rests at most between two transactions, in milliseconds.
    rest: u64,
    /// Whether it closes the database before it ends.
    closes: bool,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Ending {
    Code(u8),
    Signal(i32),
}

impl Part {
    /// An application that ends by itself: often within milliseconds, and sometimes before it does
    /// anything.
    pub(crate) fn short(random: &mut fastrand::Rng) -> Self {
        let most = [0, 2, 80][random.usize(..3)];
        let lasts = random.u32(..=most);
        Self { lasts: Some(lasts), ..Self::until_told(random) }
    }

    /// An application that goes on until a signal, and for a little while after that.
    pub(crate) fn until_told(random: &mut fastrand::Rng) -> Self {
        let ending = match random.u32(..8) {
            0 => Ending::Signal(Signal::KILL.as_raw()),
            1 => Ending::Signal(Signal::USR1.as_raw()),
            2 | 3 => Ending::Code(random.u8(..)),
            _ => Ending::Code(CODES[random.usize(..CODES.len())]),
        };
        let most = [0, 3, 60][random.usize(..3)];
        Self {
            seed: random.u64(..),
            lasts: None,
            more: random.u32(..=most),
            rest: [0, 5, 20][random.usize(..3)],
            closes: random.bool(),
            ending,
        }
    }

    /// An application that ignores signals.
    pub(crate) fn deaf(random: &mut fastrand::Rng) -> Self {
        Self { more: u32::MAX, rest: 20, ..Self::until_told(random) }
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.more == u32::MAX
    }

    /// The exit code that the daemon must pass on.
    pub(crate) fn status(&self) -> i32 {
        match self.ending {
            Ending::Code(code) => code.into(),
            Ending::Signal(number) => 128 + number,
        }
    }

    /// Plays the part, and ends the process. Returns only on an error.
    pub(crate) fn play(self, home: &Path, leash: &Path) -> anyhow::Result<()> {
        let _present = leash::follow(leash)?;
        let stage = Stage::new(home, told_flag()?);
        // From here on, no signal kills the process by itself.
        say_at_work();
        let mut oracle = Oracle::new(&stage, fastrand::Rng::with_seed(self.seed))?;
        let connection = oracle.open(&stage)?;
        let mut made = 0;
        while self.lasts.is_none_or(|lasts| made < lasts) && !stage.is_over() {
            oracle.step(&connection)?;
            made += 1;
            stage.rest(&mut oracle.random, Duration::from_millis(self.rest));
        }
        let more = if stage.is_over() { self.more } else { 0 };
        for _ in 0..more {
            oracle.step(&connection)?;
            sleep(Duration::from_millis(oracle.random.u64(..=self.rest)));
        }
        oracle.count_bytes(&stage)?;
        if self.closes {
            drop(connection);
        } else {
            mem::forget(connection);
        }
        self.end()
    }

    fn end(self) -> anyhow::Result<()> {
        match self.ending {
            Ending::Code(code) => exit(code.into()),
            Ending::Signal(number) => {
                let signal = Signal::from_named_raw(number).context("no signal of that number")?;
                kill_process(getpid(), signal)?;
                sleep(Duration::from_mins(1));
                bail!("{signal:?} did not end it");
            }
        }
    }
}

/// A flag that is set when a signal asks us to end.
fn told_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let told = Arc::new(AtomicBool::new(false));
    let setter = Arc::clone(&told);
    let (listening, listens) = mpsc::channel();
    thread::spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let (mut terminate, mut interrupt) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            listening.send(())?;
            loop {
                tokio::select! {
                    _ = terminate.recv() => (),
                    _ = interrupt.recv() => (),
                }
                setter.store(true, Ordering::Relaxed);
            }
        })
    });
    listens.recv().context("listen to signals")?;
    Ok(told)
}
