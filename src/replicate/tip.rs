use crate::format::{Key, Seal};

/// The newest object of the newest generation that a replica holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) key: Key,
    /// `None`: the object is Litestream's, or was altered.
    pub(super) seal: Option<Seal>,
}
