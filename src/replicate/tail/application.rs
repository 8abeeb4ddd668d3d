//! Which application a database belongs to: the one that was captured, or another one whose file
//! was copied over it while nobody watched.

use tracing::{debug, warn};

use super::Tail;
use super::sameness::Sameness;
use crate::replicate::marks::Marks;
use crate::replicate::tables::Tables;

impl Tail {
    /// Notes which tables the captured database has, whenever its schema has changed.
    pub(super) fn note_tables(&mut self) {
        let Some(capture) = &self.capture else { return };
        let Marks { schema, .. } = capture.cursor().marks;
        if !self.ancestry.has_other_tables(schema) {
            return;
        }
        let Some(tables) = self.tables() else { return };
        if let Err(error) = tables.store(&self.state.tables()) {
            debug!(db = %self.path().display(), "cannot note its tables: {error}");
        }
    }

    /// Treats the file as overwritten if it belongs to another application than when it was last
    /// captured: it is another database then, whichever file it is.
    pub(super) fn recognize_application(&mut self) {
        let before = Tables::load(&self.state.tables());
        if self.ancestry.sameness == Sameness::Given
            && self.tables().is_some_and(|tables| tables.are_others_than(&before))
        {
            warn!(
                db = %self.path().display(),
                "the file was overwritten in place, by the database of another application: it has \
                 other tables"
            );
            self.estrange();
        }
    }

    /// The tables of the database. `None` if they cannot be read, which proves nothing.
    fn tables(&self) -> Option<Tables> {
        let names = self.database.as_ref()?.tables();
        let names = names.inspect_err(|error| {
            debug!(db = %self.path().display(), "cannot read its tables: {error}");
        });
        Some(Tables::named(names.ok()?.iter().map(String::as_str)))
    }
}
