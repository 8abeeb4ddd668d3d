use std::fs;

use anyhow::ensure;

use crate::case::{Case, PATIENCE, last_lines};
use crate::check::{discard, verify};
use crate::process::{Process, litestream};
use crate::site::REPLICAS;

impl Case {
    /// Ends everything, restores the database in its place, and starts everything again. A process
    /// that closes the database after that is not the last one while the daemon has it open.
    pub(crate) fn restore_in_place(&mut self) -> anyhow::Result<()> {
        self.come_to_rest()?;
        let forked = REPLICAS.iter().any(|replica| self.site.fork(replica).is_some());
        if !forked && !self.times_mislead() {
            self.restore_over()?;
        }
        self.start_all()
    }

    /// Restores over the database, all of which is in both replicas.
    fn restore_over(&mut self) -> anyhow::Result<()> {
        let (before, database) = (self.fresh("before.db"), self.site.database());
        self.site.copy_database(&before)?;
        verify(&before)?;
        let (gone, stateless) = (self.random.bool(), self.random.u32(..4) == 0);
        if gone {
            fs::remove_file(&database)?;
        }
        if stateless && self.site.state().exists() {
            fs::remove_dir_all(self.site.state())?;
        }
        let replica = REPLICAS[self.random.usize(..REPLICAS.len())];
        self.note(&format!("restored from {replica}, gone: {gone}, stateless: {stateless}"))?;
        let mut command = litestream()?;
        command.args(["restore", "-force", "-replica", replica, "-config"]);
        command.arg(self.site.config()).arg(&database);
        let log = self.fresh("restore.log");
        let mut process = Process::start(&mut command, &log)?;
        let status = process.wait(PATIENCE)?;
        ensure!(status == 0, "the restore ended with {status}: {}", last_lines(&process.said()));
        ensure!(fs::read(&database)? == fs::read(&before)?, "{} was restored", before.display());
        discard(&before)?;
        Ok(self.site.mark_synced()?)
    }
}
