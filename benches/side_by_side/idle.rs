//! What idle databases cost.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use super::Bench;
use super::database;
use super::program::Program;
use super::server::{self, Object};
use super::site::{Place, Site};
use super::table::mib;

const MANY: usize = 100;
const MORE: usize = 1000;

struct Idle {
    /// Percent of one core.
    cpu: f64,
    /// Bytes.
    memory: u64,
    requests_per_minute: f64,
}

pub(crate) fn measure(bench: &mut Bench) {
    let watched = bench.settings.watched;
    let cell = |idle: &Option<Idle>| match idle {
        Some(Idle { cpu, memory, requests_per_minute }) => {
            format!("{cpu:.2} % / {} / {requests_per_minute:.0}", mib(*memory))
        }
        None => "–".to_owned(),
    };
    let property = "idle databases: CPU / memory / requests per minute";
    let found = bench.compare("idle", |program| Some(idle(program, MANY, watched)));
    bench.row(&format!("{MANY} {property}"), &found, cell, "0.1 % / 40 MiB / 0");
    let found = bench.compare("idle, more of them", |program| {
        program.is_this().then(|| idle(program, MORE, watched))
    });
    bench.row(&format!("{MORE} {property}"), &found, cell, "0.3 % / 150 MiB / 0");
}

fn idle(program: &Program, databases: usize, watched: Duration) -> Idle {
    let site = Site::new();
    let directory = site.path("many");
    fs::create_dir(&directory).unwrap();
    let first = site.path("first.db");
    drop(database::connect(&first));
    let path = |number| directory.join(format!("{number}.db"));
    let paths: Vec<PathBuf> = (0..databases).map(path).collect();
    for path in &paths {
        fs::copy(&first, path).unwrap();
    }
    // More than a few are configured as a directory, which only our program supports.
    if databases > MANY {
        site.configure_directory(&directory);
    } else {
        site.configure_all(&paths);
    }
    let mut daemon = site.replicate(program);
    daemon.wait_until("snapshot of each", || {
        sleep(Duration::from_millis(500));
        // Listing them all takes long.
        server::requests(&site.bucket, Some("PUT")) >= databases as u64
            && replicated(&site.objects(Place::S3)) == databases
    });
    daemon.wait_until_quiet();

    let (cpu, requests) = (daemon.cpu(), server::requests(&site.bucket, None));
    sleep(watched);
    let cpu = daemon.cpu().saturating_sub(cpu);
    let requests = server::requests(&site.bucket, None) - requests;
    let idle = Idle {
        cpu: 100.0 * cpu.as_secs_f64() / watched.as_secs_f64(),
        memory: daemon.memory(),
        #[expect(clippy::cast_precision_loss)]
        requests_per_minute: requests as f64 * 60.0 / watched.as_secs_f64(),
    };
    drop(daemon);
    idle
}

/// How many databases have a snapshot.
fn replicated(objects: &[Object]) -> usize {
    let snapshots = objects.iter().filter(|object| object.is_snapshot());
    let databases = snapshots.filter_map(|object| object.key.split_once(".db/"));
    databases.map(|(name, _)| name).collect::<BTreeSet<_>>().len()
}
