//! Ensures that nothing is left behind, however a run ends.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Reads which processes run until its standard input ends, as it does when this process ends.
/// Then kills them and removes the directory.
const SCRIPT: &str = r#"
running=
while read -r event process; do
    others=
    for other in $running; do
        [ "$other" = "$process" ] || others="$others $other"
    done
    running=$others
    [ "$event" = started ] && running="$running $process"
done
for process in $running; do kill -9 "$process"; done
rm -rf "$1"
"#;

struct Guard {
    input: Mutex<ChildStdin>,
    directory: PathBuf,
}

/// The directory of everything that a run needs on disk.
pub(crate) fn directory() -> &'static Path {
    &guard().directory
}

pub(crate) fn started(process: u32) {
    writeln!(input(), "started {process}").unwrap();
}

/// Reports that a process has ended. Must be called before its number can be reused.
pub(crate) fn ended(process: u32) {
    writeln!(input(), "ended {process}").unwrap();
}

fn input() -> MutexGuard<'static, ChildStdin> {
    guard().input.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guard() -> &'static Guard {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        let mut guard = Command::new("/bin/sh");
        guard.args(["-c", SCRIPT, "guard"]).arg(&directory).stdin(Stdio::piped());
        // Ctrl-C must not reach the guard.
        let guard = guard.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn();
        Guard { input: Mutex::new(guard.unwrap().stdin.take().unwrap()), directory }
    })
}
