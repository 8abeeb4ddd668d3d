//! What an application that writes as fast as it can pays for its daemon.

use std::time::{Duration, Instant};

use super::Bench;
use super::database::{Original, Writer};
use super::program::Program;
use super::server::requests;
use super::site::{Place, Site};
use super::table::{mib, seconds};

struct Writes {
    /// With the daemon, of what it is without.
    throughput: f64,
    /// Per 100,000 commits.
    cpu: Duration,
    /// Bytes.
    peak_memory: u64,
    busy: u32,
    /// Objects that were stored while the application wrote.
    puts: u64,
}

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.scaled(64));
    let commits = bench.settings.scaled(100_000);
    let found = bench.compare("writes", |program| write(program, &original, commits));
    let property = "application's write throughput with the daemon / without";
    let throughput = |writes: &Writes| {
        format!("{:.2}, {} objects stored meanwhile", writes.throughput, writes.puts)
    };
    bench.row(property, &found, throughput, "0.95 while uploading");
    let cpu = |writes: &Writes| seconds(writes.cpu);
    bench.row("daemon's CPU per 100,000 small commits", &found, cpu, "0.6 s");
    let memory = |writes: &Writes| mib(writes.peak_memory);
    bench.row("peak memory, one busy database", &found, memory, "25 MiB");
    let busy = |writes: &Writes| writes.busy.to_string();
    bench.row("SQLITE_BUSY after 100 ms, saturating writer", &found, busy, "0");
}

fn write(program: &Program, original: &Original, commits: u32) -> Writes {
    // Before and after: the machine is not always as fast.
    let before = alone(original, commits);
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    daemon.wait_until_quiet();

    let mut writer = Writer::new(&site.database());
    let (cpu, puts) = (daemon.cpu(), requests(&site.bucket, Some("PUT")));
    let time = saturate(&mut writer, commits);
    let puts = requests(&site.bucket, Some("PUT")) - puts;
    // What it has put off counts too.
    daemon.wait_until_quiet();
    let cpu = daemon.cpu().saturating_sub(cpu) * 100_000 / commits;
    let peak_memory = daemon.peak_memory();
    drop(daemon);
    let without = (before + alone(original, commits)) / 2;
    let throughput = without.as_secs_f64() / time.as_secs_f64();
    Writes { throughput, cpu, peak_memory, busy: writer.busy, puts }
}

fn alone(original: &Original, commits: u32) -> Duration {
    let site = Site::new();
    original.copy_to(&site.database());
    saturate(&mut Writer::new(&site.database()), commits)
}

fn saturate(writer: &mut Writer, commits: u32) -> Duration {
    let began = Instant::now();
    writer.update(commits);
    began.elapsed()
}
