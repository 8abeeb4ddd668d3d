use std::path::Path;
use std::process::ExitCode;

use crate::it::support::open;

const FLAG: &str = "--write";

/// A command line that adds rows to table `t` of a database, and then ends with the exit code
/// `status`.
pub(crate) fn line(database: &Path, rows: u32, status: u8) -> String {
    let program = std::env::current_exe().unwrap();
    format!("{} {FLAG} {} {rows} {status}", program.display(), database.display())
}

/// Acts as that command, if `words` are its arguments.
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
