use std::fmt;

/// Why a database whose name was lost is not captured to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Missed {
    /// An application has it open. `is_held`: our read transaction has kept its log since.
    InUse { is_held: bool },
    /// What was committed last could not be captured, or not for all replicas.
    Rest(String),
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { .. } => f.write_str(
                "it was removed, renamed or replaced while an application has it open: what that \
                 commits is not replicated, nor is another file of that name. End the application, \
                 or put the file back",
            ),
            Self::Rest(reason) => write!(f, "it was removed, renamed or replaced before: {reason}"),
        }
    }
}
