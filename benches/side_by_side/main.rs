//! Measures this litestream beside Litestream 0.3 and 0.5 in one run, on the same databases and
//! the same S3 server, and prints a table:
//!
//! ```text
//! cargo bench                          # everything, which takes long
//! cargo bench -- restore --mib 64      # one measurement, and smaller
//! cargo bench -- --plots               # draws docs/restore.svg
//! ```
//!
//! The server (SeaweedFS) and the peers are found where `tests/run` installs them, or by the same
//! variables. A missing peer is left out. Everything uses the loopback interface, and files are
//! below `target/tmp` and in the directory for temporary files.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod baseline;
mod churn;
mod curves;
mod database;
mod delay;
mod guard;
mod idle;
mod loss;
mod page;
mod plot;
mod program;
mod restart;
mod restore;
#[path = "../../tests/it/seaweed.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod seaweed;
mod server;
mod settings;
mod site;
mod snapshot;
mod stalls;
mod table;
mod writes;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use program::Program;
use settings::Settings;
use table::Table;

type Measurement = fn(&mut Bench);

/// What can be measured, the most important first.
const ROWS: [(&str, Measurement); 10] = [
    ("restore", restore::measure),
    ("snapshot", snapshot::measure),
    ("writes", writes::measure),
    ("stalls", stalls::measure),
    ("idle", idle::measure),
    ("restart", restart::measure),
    ("churn", churn::measure),
    ("loss", loss::measure),
    ("delay", delay::measure),
    ("page", page::measure),
];

fn main() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let mut bench = Bench::new(settings);
    bench.introduce();
    for (name, measure) in ROWS {
        if bench.settings.wants(name) {
            measure(&mut bench);
        }
    }
    if bench.settings.plots {
        curves::draw(&bench);
    }
    println!("\n{}", bench.table.text());
    if bench.failed.get() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Everything that measurements share.
struct Bench {
    settings: Settings,
    programs: Vec<Program>,
    table: Table,
    /// Whether a program failed at what is measured.
    failed: Cell<bool>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let programs = Program::all();
        let table = Table::new(programs.iter().map(|program| program.name));
        Self { settings, programs, table, failed: Cell::new(false) }
    }

    fn introduce(&self) {
        let cores = std::thread::available_parallelism().unwrap();
        println!("{cores} cores, a database of {} MiB", self.settings.mib);
        for program in &self.programs {
            let (version, size) = (program.version(), program.size() / 1_000_000);
            println!("{:4}  version {version}, binary of {size} MB", program.name);
        }
    }

    /// Lets each program in turn do the same work. The result of a failure is `None`: the others
    /// go on, and the run fails at its end.
    fn compare<T>(&self, what: &str, work: impl Fn(&Program) -> T) -> Vec<Option<T>> {
        let attempt = |program: &Program| {
            eprintln!("{what}: {}", program.name);
            let done = catch_unwind(AssertUnwindSafe(|| work(program)));
            self.failed.set(self.failed.get() || done.is_err());
            done.ok()
        };
        self.programs.iter().map(attempt).collect()
    }

    fn row<T>(
        &mut self,
        property: &str,
        found: &[Option<T>],
        cell: impl Fn(&T) -> String,
        target: &str,
    ) {
        let cells = found.iter().map(|found| found.as_ref().map_or("failed".to_owned(), &cell));
        self.table.add(property, cells.collect(), target);
    }
}
