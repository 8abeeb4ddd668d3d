use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};

use crate::state::State;

/// The oracle's log of its commits, one line each, outside the database.
///
/// A line is written before the commit, and another one after it. If the oracle is killed in
/// between, nobody knows whether the commit happened.
#[derive(Debug)]
pub(crate) struct Recorder(File);

impl Recorder {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::options().create(true).append(true).open(path)?))
    }

    /// Records what is in the database at the start: the last commit, or that of an older copy.
    pub(crate) fn found(&mut self, state: State) -> anyhow::Result<()> {
        self.line("found", state)
    }

    pub(crate) fn trying(&mut self, state: State) -> anyhow::Result<()> {
        self.line("try", state)
    }

    pub(crate) fn committed(&mut self) -> anyhow::Result<()> {
        Ok(self.0.write_all(b"done\n")?)
    }

    pub(crate) fn rolled_back(&mut self) -> anyhow::Result<()> {
        Ok(self.0.write_all(b"undone\n")?)
    }

    fn line(&mut self, what: &str, state: State) -> anyhow::Result<()> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let State { n, chain, cells } = state;
        let line = format!("{what} {nanos} {n} {chain:x} {cells:x}\n");
        Ok(self.0.write_all(line.as_bytes())?)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The oracle was killed before it could record the outcome.
    Unknown,
    Committed,
    RolledBack,
}

/// A state of the database, and when it was about to be committed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) time: SystemTime,
    pub(crate) state: State,
    fate: Fate,
}

/// The record as read back. Its places are in the order of time.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) entries: Vec<Entry>,
    /// The places of each state. A state occurs again where the oracle was restarted.
    places: HashMap<State, Vec<usize>>,
}

impl Record {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        let text = fs::read_to_string(path)?;
        // The last line may be incomplete.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let last = entries.last_mut().map(|entry| &mut entry.fate);
            match (line, last) {
                ("done", Some(fate)) => *fate = Fate::Committed,
                ("undone", Some(fate)) => *fate = Fate::RolledBack,
                _ => entries.push(parse(line).with_context(|| format!("record: {line:?}"))?),
            }
        }
        let mut places: HashMap<State, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            places.entry(entry.state).or_default().push(at);
        }
        Ok(Self { entries, places })
    }

    /// The place of the last commit that is known to have happened.
    pub(crate) fn last_commit(&self) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.fate == Fate::Committed)
    }

    /// The places where the database was in `state`. A state that was never committed is an error.
    pub(crate) fn places(&self, state: State) -> anyhow::Result<&[usize]> {
        let Some(places) = self.places.get(&state) else {
            bail!("{state:?} was never written");
        };
        if places.iter().all(|&at| self.entries[at].fate == Fate::RolledBack) {
            bail!("{state:?} was rolled back");
        }
        Ok(places)
    }
}

fn parse(line: &str) -> anyhow::Result<Entry> {
    let words: Vec<&str> = line.split(' ').collect();
    let &[what, nanos, n, chain, cells] = words.as_slice() else { bail!("not five words") };
    let fate = if what == "found" { Fate::Committed } else { Fate::Unknown };
    let [chain, cells] = [chain, cells].map(|text| u128::from_str_radix(text, 16));
    let state = State { n: n.parse()?, chain: chain?, cells: cells? };
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos.parse()?);
    Ok(Entry { time, state, fate })
}
