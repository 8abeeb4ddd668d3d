//! Whether the store keeps two daemons apart.

use tracing::{debug, warn};

use super::Connected;
use crate::store::{StoreError, honours_conditions};

impl Connected {
    /// Finds out, once, whether the store honours conditional writes, and logs it if it does not.
    ///
    /// A store that cannot be asked now is asked again after the next segment.
    pub(super) async fn check_conditions(&mut self) {
        if self.conditions_checked {
            return;
        }
        let (connections, location) = (&self.replica.connections, &self.replica.options.location);
        let honours = connections.honours_conditions(location, || honours_conditions(&self.store));
        let name = &self.replica.options.name;
        match honours.await {
            Ok(true) => (),
            Ok(false) => warn!(
                name,
                "this store ignores conditional writes (If-None-Match): a second daemon that \
                 writes to this replica may not be noticed before the next start"
            ),
            Err(error @ StoreError::Rejected(_)) => warn!(
                name,
                "cannot find out whether this store keeps to conditional writes (If-None-Match), \
                 by which a second daemon is noticed: {error}"
            ),
            Err(error) => {
                debug!(name, "cannot find out yet about conditional writes: {error}");
                return;
            }
        }
        self.conditions_checked = true;
    }
}
