use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus::core::{Collector, Desc, MetricVec, MetricVecBuilder};
use prometheus::proto::{Gauge as GaugeValue, MetricFamily};
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

use super::reasons::Reasons;

/// The bounds of the buckets for stalls, in seconds.
const STALLS: [f64; 9] = [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0];

/// Clones share their values.
#[derive(Clone, Debug)]
pub(super) struct Families {
    pub(super) db_size: IntGaugeVec,
    pub(super) wal_size: IntGaugeVec,
    pub(super) shadow_wal_index: IntGaugeVec,
    pub(super) shadow_wal_size: IntGaugeVec,
    pub(super) total_wal_bytes: IntCounterVec,
    pub(super) sync_count: IntCounterVec,
    pub(super) sync_error_count: IntCounterVec,
    pub(super) sync_seconds: CounterVec,
    pub(super) checkpoint_count: IntCounterVec,
    pub(super) checkpoint_error_count: IntCounterVec,
    pub(super) checkpoint_seconds: CounterVec,
    pub(super) stall_seconds: HistogramVec,
    pub(super) replica_wal_bytes: IntCounterVec,
    pub(super) replica_wal_index: IntGaugeVec,
    pub(super) replica_wal_offset: IntGaugeVec,
    pub(super) replica_validation_total: IntCounterVec,
    pub(super) replica_joining: IntGaugeVec,
    pub(super) replica_diverged: IntGaugeVec,
    pub(super) replica_invalid: IntGaugeVec,
    pub(super) replica_refused: IntGaugeVec,
    pub(super) replica_health: IntGaugeVec,
    pub(super) reasons: Reasons,
    pub(super) db_looked_at: GaugeVec,
    pub(super) replica_lag: Lag,
    pub(super) operation_total: IntCounterVec,
    pub(super) operation_bytes: IntCounterVec,
    /// All of the families above, to forget a database in each.
    all: Arc<[Box<dyn Family>]>,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        const DB: &[&str] = &["db"];
        const MODE: &[&str] = &["db", "mode"];
        const REPLICA: &[&str] = &["db", "name"];
        const STATUS: &[&str] = &["db", "name", "status"];
        const OPERATION: &[&str] = &["replica_type", "operation"];
        let all = RefCell::new(Vec::new());
        let gauge = |name, help, labels| {
            add(registry, &all, IntGaugeVec::new(options(name, help), labels)?)
        };
        let count = |name, help, labels| {
            add(registry, &all, IntCounterVec::new(options(name, help), labels)?)
        };
        let seconds =
            |name, help, labels| add(registry, &all, CounterVec::new(options(name, help), labels)?);
        let moment = |name, help| add(registry, &all, GaugeVec::new(options(name, help), DB)?);
        let lag = Lag(GaugeVec::new(
            options("replica_lag_seconds", "Age of the oldest commit that the replica lacks"),
            REPLICA,
        )?);
        Ok(Self {
            db_size: gauge("db_size", "Bytes in the database file", DB)?,
            wal_size: gauge("wal_size", "Bytes in the WAL", DB)?,
            shadow_wal_index: gauge("shadow_wal_index", "Index of the WAL being captured", DB)?,
            shadow_wal_size: gauge("shadow_wal_size", "Bytes of captured WALs", DB)?,
            total_wal_bytes: count("total_wal_bytes", "Bytes captured from the WAL", DB)?,
            sync_count: count("sync_count", "Looks at the WAL", DB)?,
            sync_error_count: count("sync_error_count", "Looks at the WAL that failed", DB)?,
            sync_seconds: seconds("sync_seconds", "Time spent on looks at the WAL", DB)?,
            checkpoint_count: count("checkpoint_count", "Checkpoints", MODE)?,
            checkpoint_error_count: count("checkpoint_error_count", "Failed checkpoints", MODE)?,
            checkpoint_seconds: seconds("checkpoint_seconds", "Time spent on checkpoints", MODE)?,
            stall_seconds: add(
                registry,
                &all,
                HistogramVec::new(
                    HistogramOpts::from(options(
                        "checkpoint_stall_seconds",
                        "How long nobody could write because of a checkpoint",
                    ))
                    .buckets(STALLS.to_vec()),
                    DB,
                )?,
            )?,
            replica_wal_bytes: count(
                "replica_wal_bytes",
                "Bytes of WAL sent, before compression",
                REPLICA,
            )?,
            replica_wal_index: gauge("replica_wal_index", "Index of the last WAL sent", REPLICA)?,
            replica_wal_offset: gauge(
                "replica_wal_offset",
                "Offset in the last WAL up to which it was sent",
                REPLICA,
            )?,
            replica_validation_total: count(
                "replica_validation_total",
                "Comparisons of the replica with the database",
                STATUS,
            )?,
            replica_joining: gauge(
                "replica_joining",
                "Whether a snapshot is being stored in the replica",
                REPLICA,
            )?,
            replica_diverged: gauge(
                "replica_diverged",
                "Whether the replica holds another history, and the database is in a fork",
                REPLICA,
            )?,
            replica_invalid: gauge(
                "replica_invalid",
                "Whether the last validation failed",
                REPLICA,
            )?,
            replica_refused: gauge(
                "replica_refused",
                "Whether its store refuses what is asked of it, which somebody has to mend",
                REPLICA,
            )?,
            replica_health: gauge(
                "replica_health",
                "0: good, 1: late, 2: somebody must look after it",
                REPLICA,
            )?,
            reasons: Reasons::default(),
            db_looked_at: moment("db_looked_at_seconds", "When the WAL was looked at, since 1970")?,
            replica_lag: add(registry, &all, lag)?,
            operation_total: count("replica_operation_total", "Requests to stores", OPERATION)?,
            operation_bytes: count(
                "replica_operation_bytes",
                "Bytes in requests to stores",
                OPERATION,
            )?,
            all: all.into_inner().into(),
        })
    }
}

/// Registers a family, and adds it to `all`.
fn add<F: Collector + Family + Clone + 'static>(
    registry: &Registry,
    all: &RefCell<Vec<Box<dyn Family>>>,
    family: F,
) -> prometheus::Result<F> {
    registry.register(Box::new(family.clone()))?;
    all.borrow_mut().push(Box::new(family.clone()));
    Ok(family)
}

impl Families {
    /// Removes all metrics of one database.
    pub(super) fn forget(&self, database: &str) {
        self.all.iter().for_each(|family| family.forget(database));
        self.reasons.forget(database);
    }
}

/// A family of metrics, which may have values for each database.
trait Family: Debug + Send + Sync {
    fn forget(&self, database: &str);
}

impl<T: MetricVecBuilder> Family for MetricVec<T> {
    fn forget(&self, database: &str) {
        for metric in self.collect().iter().flat_map(MetricFamily::get_metric) {
            let labels = metric.get_label().iter();
            let labels: HashMap<&str, &str> =
                labels.map(|label| (label.name(), label.value())).collect();
            if labels.get("db") == Some(&database) {
                // It was there a moment ago. If it is gone, so much the better.
                let _ = self.remove(&labels);
            }
        }
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("litestream_{name}"), help)
}

/// Gauges that hold a time since the epoch, and show how long ago that is.
///
/// So a lag grows even when the task that should keep it up to date does not run. 0 shows as 0.
#[derive(Clone, Debug)]
pub(super) struct Lag(pub(super) GaugeVec);

impl Family for Lag {
    fn forget(&self, database: &str) {
        self.0.forget(database);
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut families = self.0.collect();
        for metric in families.iter_mut().flat_map(MetricFamily::mut_metric) {
            let since = metric.get_gauge().get_value();
            let mut age = GaugeValue::default();
            if 0.0 < since {
                age.set_value((now.as_secs_f64() - since).max(0.0));
            }
            metric.set_gauge(age);
        }
        families
    }
}
