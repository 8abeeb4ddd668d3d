use std::env;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::it::support::{PATIENCE, Peer, litestream};

/// A program to which the accidents happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Ours,
    Peer(Peer),
}

impl Contender {
    /// Our program, and those of the others that are installed.
    pub(crate) fn all() -> Vec<Self> {
        let peers = Peer::ALL.into_iter().filter(|peer| env::var_os(peer.variable()).is_some());
        [Self::Ours].into_iter().chain(peers.map(Self::Peer)).collect()
    }

    pub(crate) fn command(self, home: &Path, arguments: &[&str]) -> Command {
        match self {
            Self::Ours => {
                let mut command = litestream(home);
                command.args(arguments);
                command
            }
            Self::Peer(peer) => peer.command(home, arguments),
        }
    }

    /// How long something may take.
    ///
    /// Tests also wait for what the others never do, but not as long as for what must happen.
    pub(crate) fn patience(self) -> Duration {
        match self {
            Self::Ours => PATIENCE,
            Self::Peer(_) => Duration::from_secs(8),
        }
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Peer(Peer::V0_3) => "0.3.13",
            Self::Peer(Peer::V0_5) => "0.5.17",
        })
    }
}
