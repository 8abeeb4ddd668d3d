//! The commands, their arguments and their help texts.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, CommandFactory, Parser, Subcommand, value_parser};

use super::{clock, normalize};
use crate::config;
use crate::format::{Generation, WalIndex};
use crate::replicate::OnDivergence;

const HELP: &str = "\
Options may be written with one dash or with two, their values with a space or with `=`.

Examples:
  litestream replicate                          everything in /etc/litestream.yml
  litestream replicate /data/db s3://bucket/db  one database, without a configuration
  litestream restore -if-replica-exists /data/db
  litestream restore -o /tmp/db s3://bucket/db
  litestream generations /data/db               what can be restored, and how old it is
  litestream verify                             whether all of it is there and unaltered

Environment:
  LITESTREAM_CONFIG             the configuration file [default: /etc/litestream.yml]
  LITESTREAM_ACCESS_KEY_ID, LITESTREAM_SECRET_ACCESS_KEY
                                keys to S3; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY win
  AWS_...                       whatever else the AWS tools understand, for S3
  NO_COLOR                      no colours in logs, which have them only on a terminal

Exit codes:
    0  done; `replicate`: every commit is on every replica
    1  an error, which is on standard error in one line; also when no command is given
   75  `replicate` ended, and not everything is on every replica
  130  interrupted: `replicate` by a second signal, with something left to send; the others by
       SIGINT (143: by SIGTERM)
  `replicate -exec` ends with the exit code of the command it ran, or 128 and the signal that
  ended it, unless that is overruled by 75.";

const REPLICATE_HELP: &str = "\
Examples:
  litestream replicate
  litestream replicate -config /opt/litestream.yml
  litestream replicate -exec \"myapp -listen :8080\"
  litestream replicate /data/db s3://bucket/db file:///mnt/backup/db

A database that does not exist yet is waited for. SIGTERM, SIGINT and SIGHUP (not under `nohup`)
send what is left, for at most `shutdown-timeout` (30s), and end with 0 only if every commit is on
every replica, else with 75.";

const RESTORE_HELP: &str = "\
Examples:
  litestream restore /data/db
  litestream restore -if-db-not-exists -if-replica-exists /data/db
  litestream restore -timestamp 2026-01-02T15:04:05Z -o /tmp/db /data/db
  litestream restore -o /tmp/db s3://bucket/db
  litestream restore -force -timestamp 2026-01-02T15:04:05Z /data/db
  litestream restore -all -if-replica-exists

An existing file is not touched without -force, and when something fails no file is left. With
-force, the old database is replaced at once when the new one is complete and checked, and is as it
was when that fails or when something has it open.

-last-verified gives the state that `replicate` has proven last, in its `validation-interval`.

A database that did not continue what its replica held is in a fork of the replica: -fork NAME.

-all restores what the configuration names and is not there: each database with a `path`, and all
that the replicas of a `dir` hold. What was deleted from a directory by itself, so that its
.NAME-litestream is still there, is left out, and named. Four databases are restored at a time. The
exit code is 1 if one of them could not be; the others are restored nevertheless.";

const DATABASES_HELP: &str = "\
Examples:
  litestream databases -config /opt/litestream.yml
  litestream databases -all                     also what only the replicas of a `dir` know";

const LISTING_HELP: &str = "\
Examples:
  litestream generations /data/db
  litestream snapshots -replica s3 /data/db
  litestream wal -json s3://bucket/db

Indexes and offsets are decimal numbers here; `restore -index` takes hexadecimal ones.
`restore -timestamp` with a time from here includes what was stored then. In S3 the times of `wal`
and `snapshots` are rounded down to the second: add one.";

const VERIFY_HELP: &str = "\
Examples:
  litestream verify
  litestream verify -full /data/db
  litestream verify -json s3://bucket/db

Quick, as without -full: lists each generation and reads the last 144 bytes of each object, the
seal. Proves that each object is the one that belongs there, and that none is missing in between,
was cut off, swapped or replaced by an older one. Does not see what was altered before the seal.

-full: reads everything as well. Each snapshot is restored with the WAL up to the next one, to a
temporary file in $TMPDIR, for which there must be room; every checksum and digest is compared, and
SQLite checks the integrity of the latest state. Proves that all that is listed can be restored.

That the newest objects are missing is seen where the state directory of the database is, which
knows what the store acknowledged. From a URL alone it is seen up to where validation has proven the
replica (validation-interval). Objects that Litestream wrote have no seals: the quick way checks
only their names.

Nothing is reported that was not found again, so a replica may be verified while it is written.
Exit code: 0 if all is right, 1 if there is a defect, or a replica is empty or cannot be read.";

/// Continuous replication of SQLite databases
#[derive(Debug, Parser)]
#[command(
    name = "litestream",
    version = super::version::VERSION,
    after_help = HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    args_override_self = true
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the databases of the configuration
    Databases(DatabasesArguments),
    /// List the generations of a database: the spans of time that can be restored
    Generations(ListingArguments),
    /// Replicate databases until told to stop
    Replicate(ReplicateArguments),
    /// Restore a database from a replica
    Restore(RestoreArguments),
    /// List the snapshots of a database
    Snapshots(ListingArguments),
    /// Check that replicas are whole and can be restored
    Verify(VerifyArguments),
    /// Print the version
    Version(VersionArguments),
    /// List the WAL segments of a database
    Wal(WalArguments),
}

#[derive(Args, Clone, Debug, Default)]
pub(super) struct ConfigArguments {
    /// The configuration file [default: $LITESTREAM_CONFIG, else /etc/litestream.yml]
    #[arg(long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,
    /// Take `$` in the configuration as it is
    #[arg(long)]
    pub(super) no_expand_env: bool,
}

#[derive(Args, Debug)]
#[command(after_help = DATABASES_HELP)]
pub(super) struct DatabasesArguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Look into the replicas of each `dir` too, for databases that are not on the disk any more
    #[arg(long)]
    pub(super) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Which replicas a command is about.
#[derive(Args, Clone, Debug)]
pub(super) struct SourceArguments {
    /// A database of the configuration, or the URL of a replica: s3://BUCKET/PATH, file:///PATH
    #[arg(value_name = "DB_PATH|REPLICA_URL")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// Only this replica of the database
    #[arg(long, value_name = "NAME")]
    pub(super) replica: Option<String>,
    /// This fork of the replica: the history of a database that did not continue it
    #[arg(long, value_name = "NAME")]
    pub(super) fork: Option<Generation>,
}

#[derive(Args, Debug)]
#[command(after_help = LISTING_HELP)]
pub(super) struct ListingArguments {
    #[command(flatten)]
    pub(super) source: SourceArguments,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct WalArguments {
    #[command(flatten)]
    pub(super) listing: ListingArguments,
    /// Only this generation
    #[arg(long, value_name = "NAME")]
    pub(super) generation: Option<Generation>,
}

#[derive(Args, Debug)]
#[command(after_help = REPLICATE_HELP)]
pub(super) struct ReplicateArguments {
    /// A database; without one, those of the configuration
    #[arg(value_name = "DB_PATH")]
    pub(super) database: Option<String>,
    /// Where to replicate it to: s3://BUCKET/PATH, file:///PATH
    #[arg(value_name = "REPLICA_URL")]
    pub(super) urls: Vec<String>,
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    /// What to do when a replica holds a history that the database does not continue: fork,
    /// continue or stop [default: what the configuration says, else fork]
    #[arg(long, value_name = "POLICY", value_parser = config::parse_on_divergence)]
    pub(super) on_divergence: Option<OnDivergence>,
    /// Run this command while replicating, and end when it ends
    #[arg(long, value_name = "COMMAND")]
    pub(super) exec: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of a command line")]
#[command(after_help = RESTORE_HELP)]
#[command(mut_arg("replica", |option| option.help(
    "Only from this replica of the database [default: the newest]"
)))]
pub(super) struct RestoreArguments {
    #[command(flatten)]
    pub(super) source: SourceArguments,
    /// All databases of the configuration that are not there
    #[arg(long, conflicts_with_all = ["name", "fork", "output", "generation", "index"])]
    pub(super) all: bool,
    /// The file to restore to [default: DB_PATH]
    #[arg(short, value_name = "PATH")]
    pub(super) output: Option<String>,
    /// Only from this generation [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub(super) generation: Option<Generation>,
    /// Up to and including the WAL with this index, in hexadecimal [default: all]
    #[arg(long, value_name = "HEX", value_parser = parse_index)]
    pub(super) index: Option<WalIndex>,
    /// The database as it was then, such as 2026-01-02T15:04:05Z [default: as late as possible]
    #[arg(long, value_name = "TIME", value_parser = clock::parse)]
    pub(super) timestamp: Option<SystemTime>,
    /// The last state that `validation-interval` has proven to be whole and undamaged
    #[arg(long, conflicts_with_all = ["index", "timestamp", "generation"])]
    pub(super) last_verified: bool,
    /// Requests at a time, each for up to 2 MiB, which are read ahead into memory
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(1..))]
    pub(super) parallelism: u16,
    /// Do nothing, with exit code 0, if the file to restore to exists
    #[arg(long)]
    pub(super) if_db_not_exists: bool,
    /// Do nothing, with exit code 0, if there is no backup. An error is still an error
    #[arg(long)]
    pub(super) if_replica_exists: bool,
    /// Replace an existing database, once the new one is complete. Nothing may have it open
    #[arg(long, conflicts_with = "if_db_not_exists")]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
#[command(after_help = VERIFY_HELP)]
#[command(mut_arg("name", |argument| argument.help(
    "A database of the configuration, or the URL of a replica: s3://BUCKET/PATH, file:///PATH \
     [default: all databases of the configuration]"
)))]
#[command(mut_arg("replica", |option| option.help("Only replicas of that name")))]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    pub(super) source: SourceArguments,
    /// Only this generation
    #[arg(long, value_name = "NAME")]
    pub(super) generation: Option<Generation>,
    /// Also databases of a `dir` that are not on the disk any more, and that its replicas hold
    #[arg(long, conflicts_with = "name")]
    pub(super) all: bool,
    /// Read everything, and not only the seals
    #[arg(long)]
    pub(super) full: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct VersionArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let mut command = Arguments::command();
    // Adds the options and the subcommand for help.
    command.build();
    let arguments = normalize::normalize(&command, arguments);
    Arguments::try_parse_from(arguments).map(|arguments| arguments.command)
}

fn parse_index(text: &str) -> Result<WalIndex, String> {
    let is_hex = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(text, 16).ok().filter(|_| is_hex);
    number
        .and_then(WalIndex::new)
        .ok_or_else(|| format!("not a hexadecimal number up to {}", WalIndex::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_hold_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn reads_hexadecimal_indexes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0000001f", Some(31)),
            ("1F", Some(31)),
            ("7fffffff", Some(0x7fff_ffff)),
            ("80000000", None),
            ("+1", None),
            ("g", None),
            ("", None),
        ] {
            assert_eq!(parse_index(text).ok().map(WalIndex::get), expected, "{text}");
        }
    }
}
