use std::path::Path;
use std::process::ExitCode;

use crate::it::support::open;

const FLAG: &str = "--write";

/// A command that adds rows to a database with table `t`, and ends at once with that exit code.
pub(crate) fn line(database: &Path, rows: u32, status: u8) -> String {
    let program = std::env::current_exe().unwrap();
    format!("{} {FLAG} {} {rows} {status}", program.display(), database.display())
}

/// Is that command, if these are its words.
pub(crate) fn play(words: &[String]) -> Option<ExitCode> {
    let [flag, database, rows, status] = words else { return None };
    if flag != FLAG {
        return None;
    }
    let connection = open(Path::new(database));
    for _ in 0..rows.parse().unwrap() {
        connection.execute("INSERT INTO t (content) VALUES (hex(randomblob(200)))", []).unwrap();
    }
    Some(ExitCode::from(status.parse::<u8>().unwrap()))
}
