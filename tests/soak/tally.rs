use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::case::Counts;

/// What all cases came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cases: u64,
    failures: Vec<u64>,
    faults: BTreeMap<&'static str, u64>,
    acknowledged: u64,
    restores: u64,
    bytes: u64,
    slowest_stop: Duration,
    requests: u64,
    requests_struck: u64,
}

impl Tally {
    /// Adds a case, and says how it ended.
    pub(crate) fn count(&mut self, seed: u64, (counts, outcome): (Counts, anyhow::Result<()>)) {
        self.cases += 1;
        for (name, count) in &counts.faults {
            *self.faults.entry(name).or_default() += count;
        }
        self.acknowledged += counts.acknowledged;
        self.restores += counts.restores;
        self.bytes += counts.bytes;
        self.requests += counts.requests;
        self.requests_struck += counts.requests_struck;
        self.slowest_stop = self.slowest_stop.max(counts.slowest_stop);
        match outcome {
            Ok(()) => println!("seed {seed} ok: {} restores", counts.restores),
            Err(error) => {
                self.failures.push(seed);
                println!("seed {seed} FAILED: {error:#}");
                println!("    once more: cargo test --test soak -- --seed {seed}");
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
        let faults: Vec<String> =
            self.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
        write!(
            f,
            "soak: {} cases, {} faults ({}), {} bytes written, {} times acknowledged, {} restores \
             compared, {} requests to S3, {} of them went wrong, slowest stop {:.1} s, {} failures {:?}",
            self.cases,
            self.faults.values().sum::<u64>(),
            faults.join(", "),
            self.bytes,
            self.acknowledged,
            self.restores,
            self.requests,
            self.requests_struck,
            self.slowest_stop.as_secs_f64(),
            self.failures.len(),
            self.failures
        )
    }
}
