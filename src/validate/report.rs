use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Validation;
use super::defect::is_defect;
use super::proven::Proven;
use crate::format::Proof;
use crate::replicate::{Validity, note_defect};
use crate::restore::{Restored, Verdict};
use crate::utc;

/// The result of a validation.
pub(super) enum Validated {
    /// There is no backup, and none is known to have been there.
    Nothing,
    /// The added segments are right.
    Followed { segments: usize },
    Restored {
        restored: Restored,
        /// The damage that SQLite found, if any.
        damage: Option<String>,
        /// The proof before this one.
        before: Option<Proof>,
    },
}

impl Validation<'_> {
    /// Logs the result of a validation, and notes it for those who watch the replica.
    pub(super) fn report(&self, validated: &Validated, elapsed: Duration) {
        let (db, name) = (self.database.path.display(), &self.replica.name);
        self.note_defect(None);
        let (restored, damage, before) = match validated {
            Validated::Nothing => {
                self.metrics.nothing_to_validate();
                debug!(%db, name, "validator: there is no backup yet");
                return;
            }
            Validated::Followed { segments } => {
                self.metrics.validated(Validity::Restorable);
                let Some((_, Proven { seal, .. })) = &self.proven else { return };
                let (generation, position) = (seal.generation, seal.end);
                let proof = "what was added leads to the source at its last commit";
                info!(%db, name, status = "ok", %generation, %position, segments, ?elapsed, proof, "validator");
                return;
            }
            Validated::Restored { restored, damage, before } => (restored, damage, before),
        };
        let (generation, position) = (restored.generation, restored.position);
        let found = damage.clone().map_or(Validity::Restorable, Validity::DamagedDatabase);
        self.metrics.validated(found);
        if let Some(damage) = damage {
            let good = before.map_or_else(
                || "it is not known when it was good".to_owned(),
                |proof| {
                    let proven = utc::seconds(proof.proven);
                    format!("it was good at {proven}: `restore -last-verified` gives that")
                },
            );
            error!(
                %db, name, status = "damaged", %generation, %position, damage, good,
                "validator: the database itself is damaged. Nothing expires from the replica until \
                 it is well-formed again"
            );
            return;
        }
        let proof = match restored.verdict {
            Verdict::Identical { .. } => "identical to the source at its last commit",
            Verdict::Unsealed => "checksums are right; it was not written by this program",
        };
        info!(%db, name, status = "ok", %generation, %position, ?elapsed, proof, "validator");
    }

    /// Logs why a validation failed. If that is because of what is in the replica, has it mended.
    pub(super) fn report_failure(&mut self, failure: &anyhow::Error) {
        let (db, name) = (self.database.path.display(), &self.replica.name);
        let reason = format!("{failure:#}");
        if is_defect(failure) {
            self.metrics.validated(Validity::Unrestorable(reason.clone()));
            error!(%db, name, status = "error", reason, "validator: the replica cannot be restored");
            self.note_defect(Some(&reason));
            (self.mend)(self.defect.is_none());
        } else {
            self.metrics.validated(Validity::Unknown(reason.clone()));
            error!(
                %db, name, status = "error", reason,
                "validator: the replica could not be validated"
            );
        }
        self.defect = Some(reason);
    }

    fn note_defect(&self, defect: Option<&str>) {
        if let Err(error) = note_defect(self.database, &self.replica.name, defect) {
            let (db, name) = (self.database.path.display(), &self.replica.name);
            warn!(%db, name, %error, "cannot take note of what validation found");
        }
    }
}
