//! Databases that were restored while they were followed.

use std::mem::take;
use std::path::Path;
use std::time::Duration;

use tracing::{error, info};

use super::{Engine, Followed};
use crate::replicate::health::Health;
use crate::replicate::options::DatabaseOptions;
use crate::replicate::outcome::Unreplicated;
use crate::replicate::state_directory::StateDirectory;

/// How soon to try again to follow a database that was restored.
pub(super) const ANEW_INTERVAL: Duration = Duration::from_secs(5);

/// A database that is to be followed anew.
pub(super) struct Waiting {
    options: DatabaseOptions,
    late: bool,
    retired: bool,
    /// Why it could not be followed.
    reason: String,
}

impl Waiting {
    pub(super) fn unreplicated(&self) -> Unreplicated {
        Unreplicated::not_followed(&self.options.path, self.reason.clone())
    }
}

impl Engine {
    /// Follows a database that was restored, as from the start. If that fails, as when the restore
    /// has filled the disk, it is tried again, and the others go on.
    pub(super) fn begin_anew(&mut self, path: &Path) {
        let Some(Followed { options, late, retired, .. }) = self.forget(path) else { return };
        info!(db = %path.display(), "the database was restored, and is followed anew");
        self.begin_or_wait(Waiting { options, late, retired, reason: String::new() });
    }

    /// Tries again to follow databases that were restored.
    pub(super) fn begin_waiting(&mut self) {
        for waiting in take(&mut self.waiting) {
            // It may have been found in its directory meanwhile.
            if !self.followed.contains_key(&waiting.options.path) {
                self.begin_or_wait(waiting);
            }
        }
    }

    fn begin_or_wait(&mut self, waiting: Waiting) {
        let path = waiting.options.path.clone();
        match self.try_begin(&waiting) {
            Ok(()) => self.metrics.take_in(&path),
            Err(error) => {
                let reason = format!("{error:#}");
                if reason != waiting.reason {
                    error!(db = %path.display(), "it cannot be followed, will retry: {reason}");
                }
                self.forget(&path);
                self.metrics.leave_out(&path, Health::Failing, "it is not followed: see the log");
                self.waiting.push(Waiting { reason, ..waiting });
            }
        }
    }

    fn try_begin(&mut self, waiting: &Waiting) -> anyhow::Result<()> {
        let Waiting { options, late, retired, .. } = waiting;
        self.places.claim(options)?;
        let state = StateDirectory::lock(&options.state_directory, &options.path)?;
        self.begin(options.clone(), state, *late)?;
        if *retired {
            self.retire(&options.path);
        }
        Ok(())
    }
}
