use std::io;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::{OpenError, sidecar};

/// Fails if a database, the files that SQLite keeps beside it, or their directory may not be read
/// and written.
///
/// SQLite does not say which file it could not open, nor whether it could at another time, as when
/// too many are open.
pub(super) fn expect_permission(database: &Path) -> Result<(), OpenError> {
    // SQLite follows links, too.
    let database = database.canonicalize()?;
    let sidecars = ["-wal", "-shm"].map(|suffix| sidecar(&database, suffix));
    let directory = database.parent().map(Path::to_owned);
    for path in [database].into_iter().chain(sidecars).chain(directory) {
        match access(&path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) | Err(Errno::NOENT) => (),
            Err(Errno::ACCESS | Errno::ROFS | Errno::PERM) => {
                let reason = format!("{} may not be read and written", path.display());
                return Err(OpenError::not_permitted(reason));
            }
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(())
}
