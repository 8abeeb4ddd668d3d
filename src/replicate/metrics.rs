//! What replication counts, under the names that Litestream uses.

mod families;
mod reasons;
mod replica;

use std::path::Path;
use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use super::health::Health;
use families::Families;
pub use replica::{ReplicaMetrics, Validity};

/// All the counters and gauges of a process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
}

/// What is counted for one database.
#[derive(Clone, Debug)]
pub struct DatabaseMetrics {
    pub db_size: IntGauge,
    pub wal_size: IntGauge,
    /// The index of the WAL that is being captured.
    pub shadow_wal_index: IntGauge,
    /// The bytes that wait for the replica for which most is waiting.
    pub shadow_wal_size: IntGauge,
    pub total_wal_bytes: IntCounter,
    pub sync_count: IntCounter,
    pub sync_error_count: IntCounter,
    pub sync_seconds: Counter,
    /// How long nobody could write because of a checkpoint.
    pub stall_seconds: Histogram,
    looked_at: Gauge,
    families: Families,
    database: String,
}

/// What is counted for the checkpoints of one database in one mode.
#[derive(Clone, Debug)]
pub struct CheckpointMetrics {
    pub count: IntCounter,
    pub error_count: IntCounter,
    pub seconds: Counter,
}

/// How good a replica was when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaHealth {
    pub database: String,
    /// Empty for what is not followed at all: a database, or a directory with databases.
    pub name: String,
    pub health: Health,
    /// Why it is not good. `None` if it is.
    pub reason: Option<&'static str>,
    /// What went wrong last, with its store or with its database, if it is not good.
    pub error: Option<String>,
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
    /// Registers all metrics. Fails only if two of them have the same name.
    pub fn new() -> anyhow::Result<Self> {
        let registry = Registry::new();
        let families = Families::register(&registry)?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(ProcessCollector::for_self()))?;
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
            stall_seconds: families.stall_seconds.with_label_values(labels),
            looked_at: families.db_looked_at.with_label_values(labels),
            families,
            database,
        }
    }

    /// Removes all metrics of a database that is no longer replicated.
    pub fn forget(&self, path: &Path) {
        self.families.forget(&path.display().to_string());
    }

    /// Shows that what is at a path is not followed, like the health of a replica without a name.
    pub(super) fn leave_out(&self, path: &Path, health: Health, reason: &'static str) {
        let labels = [path.display().to_string(), String::new()];
        self.families.replica_health.with_label_values(&labels).set(level(health));
        self.families.reasons.set(&labels, reason);
    }

    /// Undoes `leave_out`.
    pub(super) fn take_in(&self, path: &Path) {
        let labels = [path.display().to_string(), String::new()];
        // There is none if all metrics of that path were forgotten.
        let _ = self.families.replica_health.remove_label_values(&labels);
        self.families.reasons.set(&labels, "");
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

    /// The health of each replica, and of what is not followed, in order.
    pub fn health(&self) -> Vec<ReplicaHealth> {
        let families = self.families.replica_health.collect();
        let metrics = families.iter().flat_map(MetricFamily::get_metric);
        let mut found: Vec<ReplicaHealth> = metrics
            .map(|metric| {
                let label = |name| {
                    let mut labels = metric.get_label().iter();
                    labels.find(|label| label.name() == name).map_or("", |label| label.value())
                };
                let health = match metric.get_gauge().get_value() {
                    value if value < 0.5 => Health::Good,
                    value if value < 1.5 => Health::Late,
                    _ => Health::Failing,
                };
                let labels = [label("db"), label("name")].map(str::to_owned);
                let (reason, error) = self.families.reasons.of(&labels);
                let [database, name] = labels;
                ReplicaHealth { database, name, health, reason, error }
            })
            .collect();
        found.sort_by(|a, b| (&a.database, &a.name).cmp(&(&b.database, &b.name)));
        found
    }

    /// All values, in the format that Prometheus reads.
    pub fn render(&self) -> anyhow::Result<String> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

impl DatabaseMetrics {
    /// Sets when the log was last looked at without an error.
    pub fn set_looked_at(&self, time: SystemTime) {
        set_time(&self.looked_at, Some(time));
    }

    pub(super) fn looked_at(&self) -> Option<SystemTime> {
        time(&self.looked_at)
    }

    /// The metrics of checkpoints in `mode`, which is one of SQLite's, in upper case.
    pub fn checkpoint(&self, mode: &str) -> CheckpointMetrics {
        let labels = &[self.database.as_str(), mode];
        CheckpointMetrics {
            count: self.families.checkpoint_count.with_label_values(labels),
            error_count: self.families.checkpoint_error_count.with_label_values(labels),
            seconds: self.families.checkpoint_seconds.with_label_values(labels),
        }
    }

    pub fn replica(&self, name: &str) -> ReplicaMetrics {
        ReplicaMetrics::of(&self.families, [&self.database, name])
    }

    /// Sets what went wrong last, or `None` when that is over.
    pub fn set_error(&self, error: Option<String>) {
        self.families.reasons.set_error([&self.database, ""], "replication", error);
    }
}

fn level(health: Health) -> i64 {
    match health {
        Health::Good => 0,
        Health::Late => 1,
        Health::Failing => 2,
    }
}

/// Sets a gauge to seconds since 1970; 0 stands for `None`.
fn set_time(gauge: &Gauge, time: Option<SystemTime>) {
    let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
    gauge.set(time.and_then(since_epoch).unwrap_or_default().as_secs_f64());
}

fn time(gauge: &Gauge) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(gauge.get()).ok().filter(|since| !since.is_zero())?;
    SystemTime::UNIX_EPOCH.checked_add(since)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_every_metric_by_the_name_that_litestream_has_for_it() {
        let metrics = Metrics::new().unwrap();
        let database = metrics.database(Path::new("/data/db"));
        let replica = database.replica("s3");
        database.db_size.set(4096);
        database.sync_seconds.inc_by(0.5);
        database.checkpoint("PASSIVE").count.inc();
        replica.validated(Validity::Restorable);
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
            "litestream_checkpoint_stall_seconds_count{db=\"/data/db\"} 0",
            "litestream_checkpoint_count{db=\"/data/db\",mode=\"PASSIVE\"} 1",
            "litestream_checkpoint_error_count{db=\"/data/db\",mode=\"PASSIVE\"} 0",
            "litestream_checkpoint_seconds{db=\"/data/db\",mode=\"PASSIVE\"} 0",
            "litestream_replica_wal_bytes{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_wal_index{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_wal_offset{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_validation_total{db=\"/data/db\",name=\"s3\",status=\"ok\"} 1",
            "litestream_replica_validation_total{db=\"/data/db\",name=\"s3\",status=\"error\"} 0",
            "litestream_replica_lag_seconds{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_health{db=\"/data/db\",name=\"s3\"} 0",
            "litestream_replica_operation_total{operation=\"PUT\",replica_type=\"s3\"} 1",
            "litestream_replica_operation_bytes{operation=\"PUT\",replica_type=\"s3\"} 481",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    /// An operation that succeeds does not hide that another one fails.
    #[test]
    fn shows_the_last_error_of_what_still_fails() {
        let replica = Metrics::new().unwrap().database(Path::new("/data/db")).replica("s3");
        replica.set_error("storing", Some("the disk is full".to_owned()));
        replica.set_error("listing", Some("no answer".to_owned()));
        assert_eq!(replica.error().unwrap(), "no answer");
        replica.set_error("listing", None);
        assert_eq!(replica.error().unwrap(), "the disk is full");
        replica.set_error("storing", None);
        assert_eq!(replica.error(), None);
    }

    /// These have the names that every Prometheus client uses.
    #[cfg(target_os = "linux")]
    #[test]
    fn renders_what_the_process_itself_takes() {
        let text = Metrics::new().unwrap().render().unwrap();
        for name in ["resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds"] {
            let line = format!("process_{name} ");
            assert!(text.lines().any(|found| found.starts_with(&line)), "{name}\n{text}");
        }
    }

    #[test]
    fn a_database_that_is_replicated_no_more_is_not_shown() {
        let metrics = Metrics::new().unwrap();
        for path in ["/gone", "/there"] {
            let database = metrics.database(Path::new(path));
            database.checkpoint("PASSIVE").count.inc();
            database.replica("s3").set_health(Health::Late, "it is slow");
        }
        metrics.forget(Path::new("/gone"));
        let text = metrics.render().unwrap();
        assert!(!text.contains("/gone") && text.contains("/there"), "{text}");
        let [found] = &metrics.health()[..] else { panic!("{:?}", metrics.health()) };
        assert_eq!((found.health, found.reason), (Health::Late, Some("it is slow")));
        metrics.database(Path::new("/there")).replica("s3").set_health(Health::Good, "");
        assert_eq!(metrics.health()[0].reason, None);
        let again = metrics.database(Path::new("/gone")).replica("s3");
        again.validated(Validity::Restorable);
        let reasons: Vec<_> = metrics.health().iter().map(|found| found.reason).collect();
        assert_eq!(reasons, [None, None], "of one that was there before");
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
