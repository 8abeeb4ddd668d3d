use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Process;

/// Another litestream, which must understand what we write, and we what it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// 0.3.13
    V0_3,
    /// 0.5.17
    V0_5,
}

impl Peer {
    pub(crate) const ALL: [Self; 2] = [Self::V0_3, Self::V0_5];

    /// The environment variable with the path of the program.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::V0_3 => "LITESTREAM_0_3",
            Self::V0_5 => "LITESTREAM_0_5",
        }
    }

    fn program(self) -> PathBuf {
        let name = match self {
            Self::V0_3 => "venv-0.3",
            Self::V0_5 => "venv-0.5",
        };
        let program = std::env::var_os(self.variable()).map_or_else(
            || {
                let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
                target.join(name).join("bin/litestream")
            },
            PathBuf::from,
        );
        assert!(program.is_file(), "{} is missing: run tests/run first", program.display());
        program
    }

    /// The program with these arguments, in a minimal environment.
    pub(crate) fn command(self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command
            .env_clear()
            .env("HOME", home)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(home)
            .stdin(Stdio::null())
            .args(arguments);
        command
    }

    /// Restores what `source` names to the new file `output`.
    pub(crate) fn restore(self, home: &Path, output: &Path, arguments: &[&str], source: &str) {
        let to = ["restore", "-o", output.to_str().unwrap()];
        let arguments = [&to, arguments, &[source]].concat();
        let log = output.with_extension("log");
        Process::start(&mut self.command(home, &arguments), &log).finish();
    }
}
