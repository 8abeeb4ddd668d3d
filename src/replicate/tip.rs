use crate::format::{Key, Seal};

/// The newest object of the newest generation that a replica holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) key: Key,
    /// `None`: it is Litestream's, or altered.
    pub(super) seal: Option<Seal>,
}
