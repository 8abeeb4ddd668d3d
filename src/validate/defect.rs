use std::fmt;

use crate::restore;

/// Something that validation itself, and no restore, found wrong with a replica.
#[derive(Debug)]
pub(super) struct Defect(String);

impl Defect {
    pub(super) fn error(what: impl fmt::Display) -> anyhow::Error {
        Self(what.to_string()).into()
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Defect {}

/// Whether a validation failed because of what is in the replica. Otherwise it is not known what
/// the replica is worth: its store did not answer, or something went wrong on this machine.
pub(super) fn is_defect(failure: &anyhow::Error) -> bool {
    failure.is::<Defect>() || restore::is_defect(failure)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;
    use crate::format::Key;
    use crate::restore::{ApplyError, PlanError};
    use crate::store::StoreError;

    #[test]
    fn only_what_is_in_the_replica_counts() {
        let key: Key =
            "generations/0000000000000007/wal/00000001_00001038.wal.lz4".parse().unwrap();
        let of_object = |cause: std::io::Error| ApplyError::Object { key, cause: cause.into() };
        let failed = |error: StoreError| of_object(std::io::Error::other(error));
        let unreachable = || StoreError::Unavailable(anyhow!("no answer"));
        for (failure, expected) in [
            (Defect::error("it is missing"), true),
            (Defect::error("it is missing").context("replica s3"), true),
            (PlanError::SegmentMissing { before: key }.into(), true),
            (PlanError::NoBackup.into(), false),
            (of_object(std::io::ErrorKind::InvalidData.into()).into(), true),
            (failed(StoreError::NotFound { key: String::new() }).into(), true),
            (failed(unreachable()).into(), false),
            (unreachable().into(), false),
            (ApplyError::Image(std::io::ErrorKind::StorageFull.into()).into(), false),
            (anyhow!("cannot make a temporary directory"), false),
        ] {
            assert_eq!(is_defect(&failure), expected, "{failure:?}");
        }
    }
}
