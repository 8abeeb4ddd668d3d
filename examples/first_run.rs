//! A first run, without any server: a database is replicated to a directory while it is being
//! written, destroyed, restored and compared.
//!
//! ```text
//! cargo run --example first_run
//! ```
#![expect(clippy::print_stdout, reason = "what it shows is its purpose")]

use std::env;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, ensure};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

#[tokio::main]
async fn main() -> ExitCode {
    if env::args_os().len() > 1 {
        // The commands below run this very file, which with arguments is what src/main.rs is.
        return litestream::cli::run(env::args_os()).await;
    }
    match first_run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn first_run() -> anyhow::Result<()> {
    let directory = tempfile::Builder::new().prefix("litestream-").tempdir()?;
    let database = directory.path().join("app.db");
    let database = database.to_str().context("the temporary directory has no name in UTF-8")?;
    let backup = format!("file://{}", directory.path().join("backup").display());

    say("Replicate a database, even before it exists:");
    let mut daemon = litestream(&["replicate", database, &backup])?;

    say("Meanwhile an application makes it, and writes 100 rows in as many transactions.");
    let written = write(Path::new(database))
        .and_then(|()| rows(Path::new(database)))
        .context("write the database");

    say("Stop. Exit code 0 says that every commit is in the backup:");
    println!("$ kill {}", daemon.id());
    let pid = i32::try_from(daemon.id()).ok().and_then(Pid::from_raw).context("no such process")?;
    kill_process(pid, Signal::TERM)?;
    expect_success(&mut daemon)?;
    let written = written?;

    say("Lose the database:");
    println!("$ rm {database}*");
    for file in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{database}{file}"));
    }
    ensure!(!Path::new(database).exists(), "{database} is still there");

    say("See what there is to restore:");
    expect_success(&mut litestream(&["generations", &backup])?)?;

    say("Restore it:");
    expect_success(&mut litestream(&["restore", "-o", database, &backup])?)?;

    ensure!(rows(Path::new(database))? == written, "the restored database differs");
    say(&format!("All {} rows are back.", written.len()));
    Ok(())
}

fn say(text: &str) {
    println!("\n# {text}");
}

/// Shows a command, and starts it.
fn litestream(arguments: &[&str]) -> anyhow::Result<Child> {
    println!("$ litestream {}", arguments.join(" "));
    Command::new(env::current_exe()?).args(arguments).spawn().context("run litestream")
}

fn expect_success(command: &mut Child) -> anyhow::Result<()> {
    let status = command.wait()?;
    ensure!(status.success(), "litestream ended with {status}");
    Ok(())
}

/// What an application does. It knows nothing of replication.
fn write(path: &Path) -> rusqlite::Result<()> {
    let database = Connection::open(path)?;
    database.busy_timeout(Duration::from_secs(5))?;
    database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)", ())?;
    for number in 1..=100 {
        database.execute("INSERT INTO notes (text) VALUES (?1)", [format!("note {number}")])?;
        sleep(Duration::from_millis(25));
    }
    Ok(())
}

fn rows(path: &Path) -> rusqlite::Result<Vec<(i64, String)>> {
    let database = Connection::open(path)?;
    let mut select = database.prepare("SELECT id, text FROM notes ORDER BY id")?;
    let rows = select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}
