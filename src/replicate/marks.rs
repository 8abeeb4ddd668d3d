/// Numbers in the header of a database that only grow while SQLite writes to it.
///
/// A database with smaller ones than before was not changed but overwritten: by an earlier state of
/// itself, or by another database. One with larger ones may be anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    /// The file change counter. In WAL mode it grows only with the transactions that write to the
    /// first page.
    pub(super) changes: u32,
    /// The schema cookie.
    pub(super) schema: u32,
}

impl Marks {
    /// The marks of a database with this first page.
    pub(super) fn of(page: &[u8]) -> Self {
        let number = |at: usize| {
            let bytes = page.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        Self { changes: number(24), schema: number(40) }
    }

    /// Whether a database with these marks cannot come after one with the marks `other`.
    pub(super) fn is_before(self, other: Self) -> bool {
        // They wrap around to 0.
        let less = |one: u32, other: u32| one.wrapping_sub(other) > u32::MAX / 2;
        less(self.changes, other.changes) || less(self.schema, other.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_goes_back_is_enough() {
        let marks = |changes, schema| Marks { changes, schema };
        assert!(!marks(5, 5).is_before(marks(5, 5)));
        assert!(!marks(6, 5).is_before(marks(5, 5)));
        assert!(marks(9, 4).is_before(marks(5, 5)));
        assert!(marks(4, 9).is_before(marks(5, 5)));
        assert!(!marks(0, 5).is_before(marks(u32::MAX, 5)), "used up");
        assert!(!marks(5, 5).is_before(Marks::default()), "not known");
    }

    #[test]
    fn are_read_where_sqlite_keeps_them() {
        let mut page = [0; 512];
        (page[27], page[43]) = (7, 9);
        assert_eq!(Marks::of(&page), Marks { changes: 7, schema: 9 });
        assert_eq!(Marks::of(&page[..20]), Marks::default());
    }
}
