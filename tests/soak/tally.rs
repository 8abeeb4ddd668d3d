use std::fmt;

use crate::counts::{Counts, Restores};
use crate::process::Hang;

/// The results of all cases.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cases: u64,
    failures: Vec<u64>,
    /// Failures because something did not end.
    hangs: u64,
    counts: Counts,
}

impl Tally {
    /// Adds a case, and prints how it ended.
    pub(crate) fn count(
        &mut self,
        seed: u64,
        long: bool,
        (counts, outcome): (Counts, anyhow::Result<()>),
    ) {
        self.cases += 1;
        self.counts.add(&counts);
        match outcome {
            Ok(()) => println!("seed {seed} ok: {} restores", counts.restores.compared),
            Err(error) => {
                self.failures.push(seed);
                self.hangs += u64::from(error.is::<Hang>());
                println!("seed {seed} FAILED: {error:#}");
                let long = if long { " --long" } else { "" };
                println!("    once more: cargo test --test soak -- --seed {seed}{long}");
            }
        }
    }

    pub(crate) fn passed(&self) -> u64 {
        self.cases - self.failed()
    }

    pub(crate) fn failed(&self) -> u64 {
        self.failures.len() as u64
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, failures, hangs, counts } = self;
        let faults: Vec<String> =
            counts.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let Restores { compared, live, live_wrong } = counts.restores;
        write!(
            f,
            "soak: {cases} cases, {} faults ({}), {} bytes written, {} times acknowledged, \
             {} validations, {compared} restores compared, {live} of them live and {live_wrong} of these wrong, \
             {} requests to S3, {} of them went wrong, slowest stop {:.1} s, \
             slowest after a second signal {:.1} s, {hangs} hangs, \
             {} failures {failures:?}",
            counts.faults.values().sum::<u64>(),
            faults.join(", "),
            counts.bytes,
            counts.acknowledged,
            counts.validations,
            counts.requests,
            counts.requests_struck,
            counts.slowest_stop.as_secs_f64(),
            counts.slowest_interruption.as_secs_f64(),
            failures.len(),
        )
    }
}
