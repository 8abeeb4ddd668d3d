use std::time::Duration;

pub(crate) const USAGE: &str = "\
cargo bench [-- [ROW...] [--mib N] [--seconds N] [--tries N] [--plots]]

  ROW          page, restore, snapshot, writes, stalls, idle, restart, churn, loss or delay, or how
               one of them begins; default: all
  --mib N      size of the large database in MiB, from which the others follow; default: 512
  --seconds N  how long a daemon is watched; default: 60
  --tries N    how often what is uncertain is tried; default: 9
  --plots      draw docs/restore.svg, and measure only that if no row is named";

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub rows: Vec<String>,
    pub mib: u32,
    pub watched: Duration,
    pub tries: u32,
    pub plots: bool,
}

impl Settings {
    /// Reads the arguments. The error is a message for the user.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let watched = Duration::from_mins(1);
        let mut settings = Self { rows: Vec::new(), mib: 512, watched, tries: 9, plots: false };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse().ok());
                let positive = value.filter(|number: &u32| *number > 0);
                positive.ok_or(format!("{argument} needs a number above 0\n\n{USAGE}"))
            };
            match argument.as_str() {
                // Cargo passes this to every benchmark.
                "--bench" => (),
                "--mib" => settings.mib = number()?,
                "--seconds" => settings.watched = Duration::from_secs(number()?.into()),
                "--tries" => settings.tries = number()?,
                "--plots" => settings.plots = true,
                row if super::ROWS.iter().any(|(name, _)| name.starts_with(row)) => {
                    settings.rows.push(row.to_owned());
                }
                other => return Err(format!("what is {other:?}?\n\n{USAGE}")),
            }
        }
        Ok(settings)
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        match self.rows.as_slice() {
            [] => !self.plots,
            rows => rows.iter().any(|begin| row.starts_with(begin.as_str())),
        }
    }

    /// Scales `full`, which is the value at the default size.
    pub(crate) fn scaled(&self, full: u32) -> u32 {
        let scaled = u64::from(full) * u64::from(self.mib) / 512;
        u32::try_from(scaled).unwrap().max(1)
    }
}
