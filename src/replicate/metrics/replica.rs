use std::time::SystemTime;

use prometheus::{Gauge, IntCounter, IntGauge};

use super::families::Families;
use super::reasons::Reasons;
use super::{level, set_time, time};
use crate::replicate::health::{Health, Signs, Trouble};

/// What a validation found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// Nothing wrong, or nothing that could be.
    #[default]
    Restorable,
    /// The replica leads to what the database is, and SQLite finds that damaged.
    DamagedDatabase(String),
    /// Something in the replica keeps it from being restored.
    Unrestorable(String),
    /// It could not be told: the store did not answer, or this machine could not restore it.
    Unknown(String),
}

/// What is counted for one replica.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    /// The bytes that were sent, before compression.
    pub wal_bytes: IntCounter,
    pub wal_index: IntGauge,
    pub wal_offset: IntGauge,
    validation_ok: IntCounter,
    validation_error: IntCounter,
    joining: IntGauge,
    diverged: IntGauge,
    invalid: IntGauge,
    refused: IntGauge,
    health: IntGauge,
    oldest_unreplicated: Gauge,
    reasons: Reasons,
    /// The path of its database, and its name.
    labels: [String; 2],
}

impl ReplicaMetrics {
    /// `labels` are the path of its database, and its name.
    pub(super) fn of(families: &Families, labels: [&str; 2]) -> Self {
        let [database, name] = labels;
        let validation =
            |status| families.replica_validation_total.with_label_values(&[database, name, status]);
        let labels = &labels;
        Self {
            wal_bytes: families.replica_wal_bytes.with_label_values(labels),
            wal_index: families.replica_wal_index.with_label_values(labels),
            wal_offset: families.replica_wal_offset.with_label_values(labels),
            validation_ok: validation("ok"),
            validation_error: validation("error"),
            joining: families.replica_joining.with_label_values(labels),
            diverged: families.replica_diverged.with_label_values(labels),
            invalid: families.replica_invalid.with_label_values(labels),
            refused: families.replica_refused.with_label_values(labels),
            health: families.replica_health.with_label_values(labels),
            oldest_unreplicated: families.replica_lag.0.with_label_values(labels),
            reasons: families.reasons.clone(),
            labels: labels.map(str::to_owned),
        }
    }

    /// Counts a validation, and keeps what it found.
    pub fn validated(&self, validity: Validity) {
        match validity {
            Validity::Restorable => self.validation_ok.inc(),
            _ => self.validation_error.inc(),
        }
        self.set_validity(validity);
    }

    /// Clears a failed validation: there is no backup yet that could be wrong.
    pub fn nothing_to_validate(&self) {
        self.set_validity(Validity::Restorable);
    }

    fn set_validity(&self, validity: Validity) {
        self.invalid.set((validity != Validity::Restorable).into());
        self.reasons.set_validity(&self.labels, validity);
    }

    /// Sets whether a snapshot is being stored in the replica.
    pub fn set_joining(&self, joining: bool) {
        self.joining.set(joining.into());
    }

    /// Sets whether the database is replicated to a fork.
    pub fn set_diverged(&self, diverged: bool) {
        self.diverged.set(diverged.into());
    }

    /// Sets whether the store refuses what is asked of it.
    pub fn set_refused(&self, refused: bool) {
        self.refused.set(refused.into());
    }

    /// Sets the last error of an operation on the store, or `None` once it succeeds.
    pub(in crate::replicate) fn set_error(&self, operation: &'static str, error: Option<String>) {
        let [database, name] = &self.labels;
        self.reasons.set_error([database, name], operation, error);
    }

    /// The last error of the store, of an operation that has not succeeded since.
    pub(in crate::replicate) fn error(&self) -> Option<String> {
        self.reasons.error_of(&self.labels)
    }

    /// Sets how good the replica is, and why it is not.
    pub(in crate::replicate) fn set_health(&self, health: Health, reason: &'static str) {
        self.reasons.set(&self.labels, reason);
        self.health.set(level(health));
    }

    /// The metrics of the replica that are signs of its health.
    pub(in crate::replicate) fn signs(&self) -> Signs {
        Signs {
            joining: self.joining.get() != 0,
            trouble: [
                (&self.invalid, Trouble::Invalid),
                (&self.diverged, Trouble::Diverged),
                (&self.refused, Trouble::Refused),
            ]
            .into_iter()
            .find_map(|(gauge, trouble)| (gauge.get() != 0).then_some(trouble)),
            ..Signs::default()
        }
    }

    /// What was last set by [`ReplicaMetrics::set_oldest_unreplicated`].
    pub(in crate::replicate) fn oldest_unreplicated(&self) -> Option<SystemTime> {
        time(&self.oldest_unreplicated)
    }

    /// Sets when the oldest commit that the replica lacks was seen. `None`: it lacks none.
    pub fn set_oldest_unreplicated(&self, commit: Option<SystemTime>) {
        set_time(&self.oldest_unreplicated, commit);
    }
}
