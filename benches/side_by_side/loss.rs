//! What a `kill -9` of the daemon costs, if the disk is lost as well.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Bench;
use super::database;
use super::program::Program;
use super::server::requests;
use super::site::{Place, Site};
use super::table::{percentile, seconds};

const COMMITS_PER_SECOND: u32 = 200;

struct Loss {
    /// The age of the oldest lost commit.
    age: Duration,
    puts_per_second: f64,
}

pub(crate) fn measure(bench: &mut Bench) {
    let tries = bench.settings.tries;
    for (interval, target) in [("1s", "0.5 s"), ("10ms", "0.05 s")] {
        let found = bench.compare(&format!("loss, {interval}"), |program| {
            (0..tries).map(|_| lose(program, interval)).collect::<Vec<Loss>>()
        });
        let cell = |losses: &Vec<Loss>| {
            let mut ages: Vec<Duration> = losses.iter().map(|loss| loss.age).collect();
            let puts: f64 = losses.iter().map(|loss| loss.puts_per_second).sum();
            let puts = puts / f64::from(tries);
            format!("{}, {puts:.1} PUT/s", seconds(percentile(&mut ages, 50)))
        };
        let property = format!(
            "oldest commit lost by kill -9, {COMMITS_PER_SECOND}/s, sync-interval {interval}, \
             p50 of {tries}"
        );
        bench.row(&property, &found, cell, target);
    }
}

fn lose(program: &Program, sync_interval: &str) -> Loss {
    let site = Site::new();
    let connection = database::connect(&site.database());
    site.configure(Place::S3, sync_interval);
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);

    // Write until a random moment between two uploads.
    let written = Duration::from_millis(fastrand::u64(3000..4000));
    let puts = requests(&site.bucket, Some("PUT"));
    let (mut commits, mut next) = (Vec::new(), Instant::now());
    let began = next;
    while began.elapsed() < written {
        commit(&connection);
        commits.push(Instant::now());
        next += Duration::from_secs(1) / COMMITS_PER_SECOND;
        sleep(next.saturating_duration_since(Instant::now()));
    }
    let killed = Instant::now();
    daemon.kill();
    let puts = requests(&site.bucket, Some("PUT")) - puts;

    let output = site.path("restored.db");
    site.restore(program, &output).finish();
    let restored = Connection::open(output).unwrap();
    let kept: u32 =
        restored.query_row("SELECT count(*) FROM commits", (), |row| row.get(0)).unwrap();
    let age = commits.get(kept as usize).map_or(Duration::ZERO, |lost| killed - *lost);
    #[expect(clippy::cast_precision_loss)]
    Loss { age, puts_per_second: puts as f64 / written.as_secs_f64() }
}

fn commit(connection: &Connection) {
    connection.execute("INSERT INTO commits (at) VALUES (0)", ()).unwrap();
}
