//! The command line: parses it, calls the layer that does the work, and sets the exit code.

mod arguments;
mod clock;
mod databases;
mod forks;
mod generations;
mod interrupt;
mod listing;
mod log_line;
mod logging;
mod normalize;
mod output;
mod progress_bar;
mod replicate;
mod replicated;
mod restore;
mod restore_all;
mod serve;
mod snapshots;
mod source;
mod usage;
mod verify;
mod version;
mod wal;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Command;
use interrupt::until_interrupted;

/// Everything that was asked for has been done.
const DONE: u8 = 0;
/// Something failed, and an error line says what.
const FAILED: u8 = 1;
/// Replication has ended with commits that are not on every replica.
const NOT_REPLICATED: u8 = 75;
/// A second signal ended replication before everything was replicated.
const INTERRUPTED: u8 = 130;

/// Does what the arguments of the process ask for. The first one is the name of the program.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = match arguments::parse(arguments.clone()) {
        Ok(command) => command,
        Err(error) => return usage::report(&error, &arguments),
    };
    let status = dispatch(command).await;
    ExitCode::from(status.unwrap_or_else(|error| {
        output::print_error(&format!("{error:#}"));
        FAILED
    }))
}

/// Runs a command. Each is boxed, because such deeply nested futures are too much for the
/// compiler.
async fn dispatch(command: Command) -> anyhow::Result<u8> {
    match command {
        Command::Databases(arguments) => {
            until_interrupted(Box::pin(databases::run(&arguments))).await
        }
        Command::Generations(arguments) => {
            until_interrupted(Box::pin(generations::run(&arguments))).await
        }
        // It handles signals itself, to end in an orderly way.
        Command::Replicate(arguments) => Box::pin(replicate::run(arguments)).await,
        Command::Restore(arguments) => until_interrupted(Box::pin(restore::run(&arguments))).await,
        Command::Snapshots(arguments) => {
            until_interrupted(Box::pin(snapshots::run(&arguments))).await
        }
        Command::Verify(arguments) => until_interrupted(Box::pin(verify::run(&arguments))).await,
        Command::Version(arguments) => version::run(&arguments),
        Command::Wal(arguments) => until_interrupted(Box::pin(wal::run(&arguments))).await,
    }
}
