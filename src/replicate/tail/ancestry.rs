use std::io;

use super::losses::Moved;
use super::sameness::Sameness;
use crate::format::Link;
use crate::replicate::lineage::Lineage;
use crate::sqlite::FileIdentity;

/// Which database this is, and which history it may continue.
#[derive(Debug)]
pub(super) struct Ancestry {
    pub(super) sameness: Sameness,
    /// The generations that were captured from it.
    pub(super) lineage: Lineage,
    /// The identity of the database file that was opened last.
    pub(super) file: Option<FileIdentity>,
    /// What was known of that file, if it has been moved away since.
    pub(super) moved: Option<Moved>,
    /// The link of the last segment of the previous generation, if the next one begins with the
    /// same database.
    parent: Link,
    /// The schema cookie as of which the tables were noted last.
    tables_noted_at: Option<u32>,
}

impl Ancestry {
    pub(super) fn new(lineage: Lineage) -> Self {
        Self {
            sameness: Sameness::Given,
            lineage,
            file: None,
            moved: None,
            parent: Link::default(),
            tables_noted_at: None,
        }
    }

    /// Takes note that a generation ended with the segment of that link.
    pub(super) fn note_end_of_generation(&mut self, link: Link) {
        self.parent = link;
    }

    /// The link that the next generation begins with.
    pub(super) fn take_parent(&mut self) -> Link {
        std::mem::take(&mut self.parent)
    }

    /// Whether to note the tables of the database again, because its schema has changed. Each
    /// schema counts once, whatever comes of it: one that SQLite cannot read stays so.
    pub(super) fn has_other_tables(&mut self, schema: u32) -> bool {
        let is_certain = self.sameness == Sameness::Given;
        is_certain && self.tables_noted_at.replace(schema) != Some(schema)
    }

    /// Forgets that the tables were noted: the note is gone.
    pub(super) fn forget_tables(&mut self) {
        self.tables_noted_at = None;
    }

    /// The database counts as another one from now on.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.sameness.note_other();
        self.forget_tables();
        self.parent = Link::default();
        self.lineage.end()
    }
}
