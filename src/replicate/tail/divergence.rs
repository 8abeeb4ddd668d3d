use std::fmt;

use tracing::warn;

use super::Tail;
use super::sameness::Sameness;
use super::slot::Request;
use crate::format::Key;
use crate::provenance::Provenance;
use crate::replicate::cursor::Saved;
use crate::replicate::descent::{Evidence, descends};
use crate::replicate::options::OnDivergence;
use crate::replicate::tip::Tip;
use crate::wal::{Checksum, Salt};

/// Where the first snapshot for a replica is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replicate) enum Destination {
    Replica,
    /// A fork, beside what the replica holds.
    Fork,
}

/// The error that ends replication because the database does not continue what a replica holds.
#[derive(Debug)]
pub(super) struct Diverged {
    database: String,
    replica: String,
    tip: Key,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, replica, tip } = self;
        write!(
            f,
            "{database} does not continue what replica {replica} holds, up to {tip}, and \
             on-divergence is \"stop\": restore the database from there, or start once with \
             -on-divergence continue to let it take the place of that history"
        )
    }
}

impl std::error::Error for Diverged {}

impl Tail {
    /// Notes that the file is not what was captured, and is not known to continue what a replica
    /// holds.
    pub(super) fn estrange(&mut self) {
        self.ancestry.sameness.doubt(Sameness::Refuted);
        if let Err(error) = Saved::refute(&self.state.cursor()) {
            warn!(db = %self.path().display(), "cannot take note of that: {error}");
        }
        if let Err(error) = Provenance::forget(self.path()) {
            warn!(db = %self.path().display(), "cannot forget what it was restored from: {error}");
        }
    }

    /// Notes that the database is another one from now on.
    pub(super) fn end_lineage(&mut self) {
        if let Err(error) = self.ancestry.end() {
            warn!(db = %self.path().display(), "cannot forget the history of another file: {error}");
        }
    }

    /// Finds out, once for each replica that waits for a snapshot, whether the database continues
    /// what the replica holds. Must be called before the log is emptied: the log is part of the
    /// evidence.
    pub(super) fn choose_destinations(&mut self) -> anyhow::Result<()> {
        for at in 0..self.slots.len() {
            let Some(request @ Request { destination: None, .. }) = self.slots[at].request else {
                continue;
            };
            let destination = match request.tip() {
                Some(tip) if !descends(&tip, &self.evidence(at, &tip)?) => self.diverge(at, tip)?,
                _ => Destination::Replica,
            };
            self.slots[at].request = Some(Request { destination: Some(destination), ..request });
        }
        Ok(())
    }

    /// Decides what to do when the database does not continue what a replica holds.
    fn diverge(&self, slot: usize, tip: Tip) -> Result<Destination, Diverged> {
        let (db, name) = (self.path().display(), &self.slots[slot].name);
        let newest = tip.key;
        match self.options.on_divergence {
            OnDivergence::Fork => {
                // The replica that stores the fork logs what to do about it.
                warn!(
                    %db, name, %newest,
                    "this database does not continue what the replica holds, and goes to a fork"
                );
                let sent = self.slots[slot].staging.sent().ok().flatten();
                if self.ancestry.lineage.generations().is_empty() && sent.is_none() {
                    warn!(
                        %db, name, state = %self.state.path().display(),
                        "nothing is known of what was replicated of this database before. If only \
                         the state directory was lost, and the database is the right one, stop \
                         and start once with `replicate -on-divergence continue`"
                    );
                }
                Ok(Destination::Fork)
            }
            OnDivergence::Continue => {
                warn!(
                    %db, name, %newest,
                    "this database does not continue what the replica holds, and takes its place: \
                     what was there is kept for as long as the retention says"
                );
                Ok(Destination::Replica)
            }
            OnDivergence::Stop => {
                let (database, replica) = (db.to_string(), name.clone());
                Err(Diverged { database, replica, tip: newest })
            }
        }
    }

    fn evidence(&self, slot: usize, tip: &Tip) -> anyhow::Result<Evidence> {
        Ok(Evidence {
            lineage: self.ancestry.lineage.generations().to_vec(),
            sent: self.slots[slot].staging.sent()?,
            restored_from: Provenance::of(self.path()).map(|restored| restored.0),
            litestream: self.state.generation_of_litestream(),
            in_log: self.ancestry.sameness != Sameness::Refuted && self.has_in_log(tip)?,
        })
    }

    /// Whether the log proves that the database went through the state that `tip` ends with.
    fn has_in_log(&self, tip: &Tip) -> anyhow::Result<bool> {
        let (Some(database), Some(seal)) = (&self.database, &tip.seal) else { return Ok(false) };
        let Some(log) = database.log()? else { return Ok(false) };
        let (salt, checksum) = (Salt(seal.salt), Checksum::from_bytes(seal.log.checksum));
        Ok(log.header.salt == salt && log.holds(seal.log.offset, checksum)?)
    }
}
