use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::Site;

const NOBODY: u32 = 65534;

/// `replicate` as a user without any rights, to which root must switch first.
pub(crate) fn as_nobody(site: &Site) -> Command {
    let binary = site.path("litestream");
    // Copied by another process: if a test started one meanwhile, it would inherit our copy, open
    // for writing.
    let source = env!("CARGO_BIN_EXE_litestream");
    assert!(Command::new("cp").arg(source).arg(&binary).status().unwrap().success());
    let mut command = Command::new(&binary);
    command
        .env_clear()
        .env("HOME", site.home())
        .env("LITESTREAM_CONFIG", site.config())
        .current_dir(site.home())
        .arg("replicate");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
