use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::application::Part;
use crate::harness;
use crate::role::Role;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Only tests of another name were asked for.
    Nothing,
    Run {
        seconds: Option<u64>,
        seed: Option<u64>,
        jobs: usize,
        /// Whether every case has a store that is away for minutes.
        long: bool,
    },
    /// Internal: be one of the processes of a case.
    Play { role: Role, seed: u64, home: PathBuf },
    /// Internal: be the application that the daemon runs.
    Serve { part: Part, home: PathBuf, leash: PathBuf },
    /// Internal: become this program, so that it does not outlive the rig.
    Become(Vec<String>),
}

/// Reads the arguments. Those of cargo's test harness are accepted and have no effect, except for
/// the names of tests.
pub(crate) fn parse(words: &[String]) -> anyhow::Result<Command> {
    match words {
        [first, role, seed, home] if first == "--play" => {
            return Ok(Command::Play {
                role: role.parse()?,
                seed: seed.parse()?,
                home: PathBuf::from(home),
            });
        }
        [first, part, home, leash] if first == "--serve" => {
            return Ok(Command::Serve {
                part: serde_json::from_str(part)?,
                home: PathBuf::from(home),
                leash: PathBuf::from(leash),
            });
        }
        [first, program @ ..] if first == "--become" => {
            return Ok(Command::Become(program.to_vec()));
        }
        _ => (),
    }
    let (mut seconds, mut seed, mut jobs, mut long) = (None, None, 2, false);
    let mut filters = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || -> anyhow::Result<u64> {
            let value = words.next().with_context(|| format!("{word} needs a number"))?;
            value.parse().with_context(|| format!("{word} {value}"))
        };
        match word.as_str() {
            "--seconds" => seconds = Some(number()?),
            "--seed" => seed = Some(number()?),
            "--jobs" => jobs = usize::try_from(number()?)?,
            "--long" => long = true,
            word if harness::only_asks(word) => return Ok(Command::Nothing),
            word if harness::skip_flag(word, &mut words) => (),
            filter => filters.push(filter),
        }
    }
    if jobs == 0 {
        bail!("--jobs needs at least 1");
    }
    if !filters.is_empty() && !filters.iter().any(|filter| "soak".contains(filter)) {
        return Ok(Command::Nothing);
    }
    Ok(Command::Run { seconds, seed, jobs, long })
}
