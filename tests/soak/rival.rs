use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::{Context, ensure};

use crate::case::Case;
use crate::check::{discard, verify};
use crate::fault::Fault;
use crate::record::Record;
use crate::site::REPLICAS;
use crate::state::State;
use crate::trouble::Trouble;

/// Another daemon that writes to the same replicas, with a database of its own.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// The record of its writers.
    record: PathBuf,
    /// When it began.
    pub(crate) since: SystemTime,
    /// The place in our record of the last state that both have.
    split: Option<usize>,
}

impl Peer {
    /// Expects that its database was once in `state`, and that this contains what the replica was
    /// known to hold before: a daemon must not replace what it does not continue.
    pub(crate) fn expect_state(&self, state: State, required: Option<usize>) -> anyhow::Result<()> {
        Record::read(&self.record)?.places(state).context("not ours, nor the other one's")?;
        let split = self.split;
        ensure!(required <= split, "LOST: the other one's from {split:?} on, was at {required:?}");
        Ok(())
    }
}

/// The faults that happen to either of the two.
const FAULTS: [Fault; 9] = [
    Fault::KillDaemon,
    Fault::KillDaemon,
    Fault::StopDaemon,
    Fault::FreezeDaemon,
    Fault::KillWriter,
    Fault::RestartUsers,
    Fault::DamageState,
    Fault::LastClose,
    Fault::Failpoint,
];

impl Case {
    /// Lets a second daemon, which has a copy of everything as if it were on another machine,
    /// write to the same replicas. In the end both databases must be there.
    pub(crate) fn compete(&mut self) -> anyhow::Result<()> {
        let mut rival = self.clone_machine()?;
        let outcome = self.compete_with(&mut rival);
        rival.counts.bytes = rival.site.bytes_written();
        self.counts.add(&rival.counts);
        outcome
    }

    /// Clones the machine: at rest, at some moment, or as it was earlier.
    fn clone_machine(&mut self) -> anyhow::Result<Self> {
        *self.counts.faults.entry("rival").or_default() += 1;
        if self.random.bool() {
            self.come_to_rest()?;
        } else {
            self.kill_all()?;
        }
        let earlier = self.has_copy && self.random.u32(..3) == 0;
        self.note(if earlier { "a rival with the older copy" } else { "a rival" })?;
        let random = self.random.fork();
        // Each may find what the other one has yet to delete.
        self.excuse(&REPLICAS);
        let mut rival = Self::new(self.site.of_rival(), self.settings.clone(), random);
        rival.store.clone_from(&self.store);
        rival.store_was_bad = self.store_was_bad;
        rival.clocks.clone_from(&self.clocks);
        rival.excuse(&REPLICAS);
        // It is another machine, or at least another container.
        rival.boot = self.boot + [0, 1000][self.random.usize(..2)];
        self.site.clone_for_rival(&rival.site, earlier)?;
        rival.site.configure(&self.settings, self.store.as_deref())?;
        let copy = rival.fresh("cloned.db");
        rival.site.copy_database(&copy)?;
        let split = self.record()?.places(verify(&copy)?)?.last().copied();
        discard(&copy)?;
        let since = SystemTime::now();
        self.peer = Some(Peer { record: rival.site.record(), since, split });
        rival.peer = Some(Peer { record: self.site.record(), since, split });
        Ok(rival)
    }

    fn compete_with(&mut self, rival: &mut Self) -> anyhow::Result<()> {
        if self.random.bool() {
            self.start_all()?;
            rival.start_all()?;
        } else {
            rival.start_all()?;
            self.start_all()?;
        }
        for _ in 0..self.random.u32(2..6) {
            self.pause(1200);
            self.strike_either(rival)?;
            self.expect_everybody_alive()?;
            rival.expect_everybody_alive().context("the rival")?;
            if self.random.bool() {
                self.look_at_replicas()?;
            } else {
                rival.look_at_replicas().context("the rival")?;
            }
        }
        if self.random.bool() {
            self.come_to_rest().context("before the rival")?;
            self.start_all()?;
        }
        rival.come_to_rest().context("the rival")?;
        self.pause(1200);
        self.come_to_rest().context("after the rival")?;
        // Nothing that happened since may have removed it.
        rival.check_identical().context("the rival, after its end")
    }

    fn strike_either(&mut self, rival: &mut Self) -> anyhow::Result<()> {
        let fault = match self.random.u32(..12) {
            // This one strikes both.
            0 | 1 if self.store.is_some() => Fault::Store(Trouble::choose(&mut self.random)),
            0 => Fault::Outage,
            _ => FAULTS[self.random.usize(..FAULTS.len())],
        };
        let of_both = matches!(fault, Fault::Store(_) | Fault::Outage);
        if of_both || self.random.bool() {
            self.inject(fault).with_context(|| format!("{fault:?}"))?;
        } else {
            self.note(&format!("{fault:?} of the rival"))?;
            rival.inject(fault).with_context(|| format!("{fault:?} of the rival"))?;
        }
        rival.store_was_bad = self.store_was_bad;
        Ok(())
    }

    /// All forks of a replica except our own; `None` stands for the replica itself.
    pub(crate) fn other_forks(&self, replica: &str) -> anyhow::Result<BTreeSet<Option<String>>> {
        let mut forks = BTreeSet::from([None]);
        let remote = self.store.as_ref().filter(|_| self.settings.remote == Some(replica));
        if let Some(store) = remote {
            let prefix = format!("{replica}/forks/");
            for key in store.keys() {
                let name = key.strip_prefix(&prefix).and_then(|rest| rest.split('/').next());
                forks.extend(name.map(|name| Some(name.to_owned())));
            }
        } else {
            let directory = self.site.replica(replica).join("forks");
            if directory.exists() {
                for entry in fs::read_dir(directory)? {
                    forks.insert(Some(entry?.file_name().to_string_lossy().into_owned()));
                }
            }
        }
        forks.remove(&self.site.fork(replica));
        Ok(forks)
    }
}
