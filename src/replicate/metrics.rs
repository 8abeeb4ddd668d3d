//! What replication counts, by the names that Litestream gives to it.

use std::path::Path;
use std::time::SystemTime;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge as GaugeValue, MetricFamily};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// All the counters and gauges of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
}

/// Clones share their values.
#[derive(Clone, Debug)]
struct Families {
    db_size: IntGaugeVec,
    wal_size: IntGaugeVec,
    shadow_wal_index: IntGaugeVec,
    shadow_wal_size: IntGaugeVec,
    total_wal_bytes: IntCounterVec,
    sync_count: IntCounterVec,
    sync_error_count: IntCounterVec,
    sync_seconds: CounterVec,
    checkpoint_count: IntCounterVec,
    checkpoint_error_count: IntCounterVec,
    checkpoint_seconds: CounterVec,
    replica_wal_bytes: IntCounterVec,
    replica_wal_index: IntGaugeVec,
    replica_wal_offset: IntGaugeVec,
    replica_validation_total: IntCounterVec,
    replica_lag: Lag,
    operation_total: IntCounterVec,
    operation_bytes: IntCounterVec,
}

/// What is counted of one database.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    pub db_size: IntGauge,
    pub wal_size: IntGauge,
    /// The index and the bytes of the WALs that have been captured and are not yet on all replicas.
    pub shadow_wal_index: IntGauge,
    pub shadow_wal_size: IntGauge,
    pub total_wal_bytes: IntCounter,
    pub sync_count: IntCounter,
    pub sync_error_count: IntCounter,
    pub sync_seconds: Counter,
    families: Families,
    database: String,
}

/// What is counted of the checkpoints of one database in one mode.
#[derive(Clone, Debug)]
pub struct CheckpointMetrics {
    pub count: IntCounter,
    pub error_count: IntCounter,
    pub seconds: Counter,
}

/// What is counted of one replica.
#[derive(Clone, Debug)]
pub struct ReplicaMetrics {
    /// Before compression.
    pub wal_bytes: IntCounter,
    pub wal_index: IntGauge,
    pub wal_offset: IntGauge,
    pub validation_ok: IntCounter,
    pub validation_error: IntCounter,
    oldest_unreplicated: Gauge,
}

/// A request to a store, as Litestream names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    List,
    Get,
    Put,
    Delete,
}

impl Metrics {
    /// Fails only if two metrics have the same name.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        Ok(Self { registry, families })
    }

    pub fn database(&self, path: &Path) -> DatabaseMetrics {
        let database = path.display().to_string();
        let families = self.families.clone();
        let labels = &[database.as_str()];
        DatabaseMetrics {
            db_size: families.db_size.with_label_values(labels),
            wal_size: families.wal_size.with_label_values(labels),
            shadow_wal_index: families.shadow_wal_index.with_label_values(labels),
            shadow_wal_size: families.shadow_wal_size.with_label_values(labels),
            total_wal_bytes: families.total_wal_bytes.with_label_values(labels),
            sync_count: families.sync_count.with_label_values(labels),
            sync_error_count: families.sync_error_count.with_label_values(labels),
            sync_seconds: families.sync_seconds.with_label_values(labels),
            families,
            database,
        }
    }

    /// Counts a request to a store of type `replica_type`. Litestream counts none for files.
    pub fn count_operation(&self, replica_type: &str, operation: Operation, bytes: u64) {
        let labels = &[replica_type, operation.name()];
        self.families.operation_total.with_label_values(labels).inc();
        self.count_bytes(replica_type, operation, bytes);
    }

    /// Counts bytes of a request that is under way.
    pub fn count_bytes(&self, replica_type: &str, operation: Operation, bytes: u64) {
        let labels = &[replica_type, operation.name()];
        self.families.operation_bytes.with_label_values(labels).inc_by(bytes);
    }

    /// All values, as Prometheus reads them.
    pub fn render(&self) -> anyhow::Result<String> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl DatabaseMetrics {
    /// `mode` is one of SQLite's, in upper case.
    pub fn checkpoint(&self, mode: &str) -> CheckpointMetrics {
        let labels = &[self.database.as_str(), mode];
        CheckpointMetrics {
            count: self.families.checkpoint_count.with_label_values(labels),
            error_count: self.families.checkpoint_error_count.with_label_values(labels),
            seconds: self.families.checkpoint_seconds.with_label_values(labels),
        }
    }

    pub fn replica(&self, name: &str) -> ReplicaMetrics {
        let labels = &[self.database.as_str(), name];
        let validation = |status| {
            let labels = &[self.database.as_str(), name, status];
            self.families.replica_validation_total.with_label_values(labels)
        };
        ReplicaMetrics {
            wal_bytes: self.families.replica_wal_bytes.with_label_values(labels),
            wal_index: self.families.replica_wal_index.with_label_values(labels),
            wal_offset: self.families.replica_wal_offset.with_label_values(labels),
            validation_ok: validation("ok"),
            validation_error: validation("error"),
            oldest_unreplicated: self.families.replica_lag.0.with_label_values(labels),
        }
    }
}

impl ReplicaMetrics {
    /// Says when the oldest commit that the replica lacks was seen. `None`: it lacks none.
    pub fn set_oldest_unreplicated(&self, commit: Option<SystemTime>) {
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let seconds = commit.and_then(since_epoch).unwrap_or_default().as_secs_f64();
        self.oldest_unreplicated.set(seconds);
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::List => "LIST",
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

impl Families {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        const DB: &[&str] = &["db"];
        const MODE: &[&str] = &["db", "mode"];
        const REPLICA: &[&str] = &["db", "name"];
        const STATUS: &[&str] = &["db", "name", "status"];
        const OPERATION: &[&str] = &["replica_type", "operation"];
        let gauge = |name, help, labels| {
            registered(registry, IntGaugeVec::new(options(name, help), labels)?)
        };
        let count = |name, help, labels| {
            registered(registry, IntCounterVec::new(options(name, help), labels)?)
        };
        let seconds = |name, help, labels| {
            registered(registry, CounterVec::new(options(name, help), labels)?)
        };
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
            replica_lag: registered(registry, lag)?,
            operation_total: count("replica_operation_total", "Requests to stores", OPERATION)?,
            operation_bytes: count(
                "replica_operation_bytes",
                "Bytes in requests to stores",
                OPERATION,
            )?,
        })
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("litestream_{name}"), help)
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

/// Gauges that hold a time since the epoch, and show how long ago that is.
///
/// So a lag grows even when the task that should keep it up to date does not run. 0 shows as 0.
#[derive(Clone, Debug)]
struct Lag(GaugeVec);

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn renders_every_metric_by_the_name_that_litestream_has_for_it() {
        let metrics = Metrics::new().unwrap();
        let database = metrics.database(Path::new("/data/db"));
        let replica = database.replica("s3");
        database.db_size.set(4096);
        database.sync_seconds.inc_by(0.5);
        database.checkpoint("PASSIVE").count.inc();
        replica.validation_ok.inc();
        metrics.count_operation("s3", Operation::Put, 481);
        let text = metrics.render().unwrap();
        for line in [
            "litestream_db_size{db=\"/data/db\"} 4096",
            "litestream_wal_size{db=\"/data/db\"} 0",
            "litestream_shadow_wal_index{db=\"/data/db\"} 0",
            "litestream_shadow_wal_size{db=\"/data/db\"} 0",
            "litestream_total_wal_bytes{db=\"/data/db\"} 0",
            "litestream_sync_count{db=\"/data/db\"} 0",
            "litestream_sync_error_count{db=\"/data/db\"} 0",
            "litestream_sync_seconds{db=\"/data/db\"} 0.5",
            "litestream_checkpoint_count{db=\"/data/db\",mode=\"PASSIVE\"} 1",
            "litestream_checkpoint_error_count{db=\"/data/db\",mode=\"PASSIVE\"} 0",
            "litestream_checkpoint_seconds{db=\"/data/db\",mode=\"PASSIVE\"} 0",
            "litestream_replica_wal_bytes{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_wal_index{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_wal_offset{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_validation_total{db=\"/data/db\",name=\"s3\",status=\"ok\"} 1",
            "litestream_replica_validation_total{db=\"/data/db\",name=\"s3\",status=\"error\"} 0",
            "litestream_replica_lag_seconds{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_operation_total{operation=\"PUT\",replica_type=\"s3\"} 1",
            "litestream_replica_operation_bytes{operation=\"PUT\",replica_type=\"s3\"} 481",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn lag_grows_until_the_commit_is_replicated() {
        let metrics = Metrics::new().unwrap();
        let replica = metrics.database(Path::new("/db")).replica("s3");
        let lag = || {
            let text = metrics.render().unwrap();
            let line =
                text.lines().find(|line| line.starts_with("litestream_replica_lag")).unwrap();
            line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()
        };
        replica.set_oldest_unreplicated(Some(SystemTime::now() - Duration::from_mins(1)));
        assert!((60.0..90.0).contains(&lag()));
        replica.set_oldest_unreplicated(None);
        assert!(lag() <= 0.0);
    }
}
