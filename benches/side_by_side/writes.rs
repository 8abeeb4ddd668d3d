//! What the daemon costs an application that writes as fast as it can.

use std::time::{Duration, Instant};

use super::Bench;
use super::database::{Original, Writer};
use super::program::Program;
use super::server::requests;
use super::site::{Place, Site};
use super::table::{mib, seconds};

struct Writes {
    /// The throughput with the daemon, relative to that without it.
    throughput: f64,
    /// Processor time per 100,000 commits.
    cpu: Duration,
    /// Bytes.
    peak_memory: u64,
    busy: u32,
    /// The puts while the application wrote. A large object takes one for each of its parts.
    puts: u64,
}

pub(crate) fn measure(bench: &mut Bench) {
    let original = Original::new(bench.settings.scaled(64));
    // Long enough that segments are sent meanwhile, however fast the machine is.
    let time = bench.settings.watched / 2;
    let found = bench.compare("writes", |program| write(program, &original, time));
    let property = "application's write throughput with the daemon / without";
    let throughput = |writes: &Writes| {
        format!("{:.2}, {} PUT requests meanwhile", writes.throughput, writes.puts)
    };
    bench.row(property, &found, throughput, "0.95 while uploading");
    let cpu = |writes: &Writes| seconds(writes.cpu);
    bench.row("daemon's CPU per 100,000 small commits", &found, cpu, "0.6 s");
    let memory = |writes: &Writes| mib(writes.peak_memory);
    bench.row("peak memory, one busy database", &found, memory, "25 MiB");
    let busy = |writes: &Writes| writes.busy.to_string();
    bench.row("SQLITE_BUSY after 100 ms, saturating writer", &found, busy, "0");
}

fn write(program: &Program, original: &Original, time: Duration) -> Writes {
    // Measured before and after, since the speed of the machine varies.
    let before = alone(original, time);
    let site = Site::new();
    original.copy_to(&site.database());
    site.configure(Place::S3, "1s");
    let mut daemon = site.replicate(program);
    site.wait_for_snapshot(&mut daemon, Place::S3);
    daemon.wait_until_quiet();

    let mut writer = Writer::new(&site.database());
    let (cpu, puts) = (daemon.cpu(), requests(&site.bucket, Some("PUT")));
    let commits = saturate(&mut writer, time);
    let puts = requests(&site.bucket, Some("PUT")) - puts;
    // Work that the daemon has postponed counts too.
    daemon.wait_until_quiet();
    let cpu = daemon.cpu().saturating_sub(cpu) * 100_000 / commits;
    let peak_memory = daemon.peak_memory();
    drop(daemon);
    let without = f64::from(before + alone(original, time)) / 2.0;
    let throughput = f64::from(commits) / without;
    Writes { throughput, cpu, peak_memory, busy: writer.busy, puts }
}

fn alone(original: &Original, time: Duration) -> u32 {
    let site = Site::new();
    original.copy_to(&site.database());
    saturate(&mut Writer::new(&site.database()), time)
}

/// Commits for `time`, and returns how often.
fn saturate(writer: &mut Writer, time: Duration) -> u32 {
    let (began, mut commits) = (Instant::now(), 0);
    writer.update_while(|_| {
        commits += 1;
        began.elapsed() < time
    });
    commits
}
