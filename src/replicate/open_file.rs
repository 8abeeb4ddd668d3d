use std::sync::{Arc, Mutex, PoisonError};

use crate::sqlite::FileId;

/// Which file a tail has open, whatever its name is by now. Who looks for databases must not open
/// that one under another name: to close it again would end all locks that this process has on it,
/// see [`crate::sqlite`].
#[derive(Clone, Debug, Default)]
pub(super) struct OpenFile(Arc<Mutex<Option<FileId>>>);

impl OpenFile {
    pub(super) fn set(&self, file: Option<FileId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    pub(super) fn get(&self) -> Option<FileId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
