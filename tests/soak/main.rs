//! Tries to make replication lose or corrupt data. How it works, and what it covers: tests/README.md.
//!
//! A case is a database with writers, a daemon, two replicas and a few faults, all decided by a
//! seed. Only the decisions are determined: what the processes make of them depends on the
//! machine.
#![allow(clippy::print_stdout)]

mod absence;
mod adversary;
mod application;
mod arguments;
mod case;
mod check;
mod clock;
mod counts;
mod exec;
mod fault;
mod harness;
mod interrupt;
mod leash;
mod oracle;
mod power;
mod process;
mod proofs;
mod reader;
mod record;
mod restoration;
mod rival;
#[path = "../rogue/mod.rs"]
mod rogue;
mod role;
mod site;
mod state;
mod tally;
mod trouble;

use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use arguments::Command;
use case::Case;
use tally::Tally;

/// The cases that are always run.
const FIXED: std::ops::RangeInclusive<u64> = 1..=7;

/// A run of at least this many seconds has time for stores that are away for minutes, in one of
/// this many cases.
const LONG_RUN: (u64, u64) = (600, 24);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments::parse(&words) {
        Ok(Command::Nothing) => {
            println!("0 passed, 0 failed");
            Ok(true)
        }
        Ok(Command::Play { role, seed, home }) => role.play(seed, &home).map(|()| true),
        Ok(Command::Serve { part, home, leash }) => part.play(&home, &leash).map(|()| true),
        Ok(Command::Become(words)) => process::become_program(&words).map(|()| true),
        Ok(Command::Run { seconds, seed, jobs, long }) => Ok(run(seconds, seed, jobs, long)),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs cases until the time is over, and returns whether all passed.
///
/// With a seed and no time there is one case. With neither, the fixed ones and a fresh one.
fn run(seconds: Option<u64>, seed: Option<u64>, jobs: usize, long: bool) -> bool {
    let (at_least, one_of) = LONG_RUN;
    let has_time = seconds.is_some_and(|seconds| seconds >= at_least);
    let is_long = |seed: u64| long || (has_time && seed.is_multiple_of(one_of));
    let fresh = fastrand::u64(1000..1_000_000_000);
    let first = seed.unwrap_or(fresh);
    let seeds: Box<dyn Iterator<Item = u64> + Send> = match (seconds, seed) {
        (Some(_), _) => Box::new(first..),
        (None, Some(seed)) => Box::new(seed..=seed),
        (None, None) => Box::new(FIXED.chain([fresh])),
    };
    println!("soak: first seed {first}, fixed seeds {FIXED:?}");
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let (seeds, tally) = (Mutex::new(seeds), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while end.is_none_or(|end| Instant::now() < end) {
                    let Some(seed) = seeds.lock().ok().and_then(|mut seeds| seeds.next()) else {
                        return;
                    };
                    let long = is_long(seed);
                    let outcome = Case::run(seed, long);
                    let mut tally = tally.lock().expect("nobody panics with the lock");
                    tally.count(seed, long, outcome);
                }
            });
        }
    });
    tally.into_inner().is_ok_and(|tally| {
        println!("{tally}");
        println!("{} passed, {} failed", tally.passed(), tally.failed());
        tally.failed() == 0
    })
}
