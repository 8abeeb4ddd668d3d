//! A database that cannot be opened yet.

use std::time::{Duration, Instant};

use anyhow::Context;
use tracing::{info, warn};

use super::{Standing, Tail};
use crate::sqlite::OpenError;

/// How long others may keep a database locked before replication gives up at its start.
const LOCKED_MAX: Duration = Duration::from_secs(15);

/// What is waited for until the database can be opened, once that has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Nothing,
    File,
    /// The end of somebody's lock, since then.
    Lock(Instant),
}

impl Tail {
    /// Notes that there is no file. Returns `false`, as the database is not open.
    pub(super) fn wait_for_file(&mut self) -> bool {
        if self.stopping.is_some() {
            self.settle_without_database();
        }
        if std::mem::replace(&mut self.awaited, Awaited::File) != Awaited::File {
            info!(db = %self.path().display(), "waiting for the database: there is no file, or an empty one");
        }
        false
    }

    /// Prepares to end without a database: what is staged is all that is left to send.
    fn settle_without_database(&mut self) {
        if !self.opened {
            self.opened = true;
            self.slots.iter_mut().for_each(|slot| slot.standing = Standing::Outside);
            self.publish();
        }
    }

    pub(super) fn wait_for_lock(&mut self, now: Instant) -> anyhow::Result<bool> {
        let since = match self.awaited {
            Awaited::Lock(since) => since,
            Awaited::Nothing | Awaited::File => {
                warn!(db = %self.path().display(), "waiting: {}", OpenError::Locked);
                self.awaited = Awaited::Lock(now);
                now
            }
        };
        if now - since > LOCKED_MAX {
            let error = OpenError::Unusable(OpenError::Locked.to_string());
            return Err(error).with_context(|| format!("open database {}", self.path().display()));
        }
        Ok(false)
    }
}
