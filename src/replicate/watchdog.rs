//! Looks at every replica from outside, so that nothing can fail without a word: not even what
//! should say so.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tracing::{error, info, warn};

use super::health::{Health, Signs, diagnose};
use super::metrics::{DatabaseMetrics, Metrics, ReplicaMetrics};
use super::options::DatabaseOptions;

const INTERVAL: Duration = Duration::from_secs(1);

/// Watches all replicas of all databases.
#[derive(Debug)]
pub(super) struct Watchdog {
    replicas: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    database: PathBuf,
    log: PathBuf,
    name: String,
    interval: Duration,
    database_metrics: DatabaseMetrics,
    metrics: ReplicaMetrics,
    health: Health,
}

impl Watchdog {
    pub(super) fn new(databases: &[DatabaseOptions], metrics: &Metrics) -> Self {
        let mut replicas = Vec::new();
        for database in databases {
            let database_metrics = metrics.database(&database.path);
            let mut log = database.path.as_os_str().to_owned();
            log.push("-wal");
            for replica in &database.replicas {
                replicas.push(Watched {
                    database: database.path.clone(),
                    log: log.clone().into(),
                    name: replica.name.clone(),
                    interval: replica.sync_interval,
                    database_metrics: database_metrics.clone(),
                    metrics: database_metrics.replica(&replica.name),
                    health: Health::Good,
                });
            }
        }
        Self { replicas }
    }

    /// Watches for ever.
    pub(super) async fn run(mut self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = SystemTime::now();
            self.replicas.iter_mut().for_each(|watched| watched.look(now));
        }
    }
}

impl Watched {
    fn look(&mut self, now: SystemTime) {
        let age = |since: SystemTime| now.duration_since(since).unwrap_or_default();
        let signs = Signs {
            unacknowledged: self.metrics.oldest_unreplicated().map(age),
            unseen: self.unseen_since().map(age),
            ..self.metrics.signs()
        };
        let (health, reason) = diagnose(&signs, self.interval);
        self.metrics.set_health(health);
        if health != self.health {
            self.say(health, reason, signs.unacknowledged.max(signs.unseen));
            self.health = health;
        }
    }

    /// When the log was written to, unless it was looked at since then.
    fn unseen_since(&self) -> Option<SystemTime> {
        let written = std::fs::metadata(&self.log).and_then(|log| log.modified()).ok()?;
        let looked_at = self.database_metrics.looked_at()?;
        (looked_at < written).then_some(written)
    }

    fn say(&self, health: Health, reason: &str, behind: Option<Duration>) {
        let (db, name) = (self.database.display(), &self.name);
        let seconds_behind = behind.unwrap_or_default().as_secs();
        match health {
            Health::Good => info!(%db, name, "replica is good again"),
            Health::Late => warn!(%db, name, seconds_behind, reason, "replica is late"),
            Health::Failing => error!(%db, name, seconds_behind, reason, "replica is failing"),
        }
    }
}
