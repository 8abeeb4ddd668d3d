use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

/// A directory for a database that is only looked at. Ends with the value.
///
/// It is where the system keeps temporary files, and nobody else can look into it.
#[derive(Debug)]
pub struct TemporaryDirectory(TempDir);

impl TemporaryDirectory {
    /// `purpose` becomes part of its name.
    pub fn create(purpose: &str) -> anyhow::Result<Self> {
        let prefix = format!("litestream-{purpose}-");
        let made = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        made.context("cannot make a temporary directory").map(Self)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
