use std::path::Path;
use std::process::{Command, Stdio};

/// The binary with a minimal environment, in the directory `home`.
pub(crate) fn litestream(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_litestream"));
    command
        .env_clear()
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .current_dir(home)
        .stdin(Stdio::null());
    command
}
