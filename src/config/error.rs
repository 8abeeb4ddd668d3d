use std::fmt;
use std::path::{Path, PathBuf};

/// A mistake in a configuration, on one line: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: Option<PathBuf>,
    pub position: Option<Position>,
    pub message: String,
}

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { file: None, position: None, message: message.into() }
    }

    pub(super) fn in_file(self, path: &Path) -> Self {
        Self { file: self.file.or(Some(path.to_owned())), ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
        }
        if let Some(Position { line, column }) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.position.is_some() {
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// A value that was parsed but cannot work, and the path to it from the section that reports it.
#[derive(Debug)]
pub(super) struct Invalid {
    /// The steps from the value outwards.
    way: Vec<Step>,
    pub(super) message: String,
}

/// One step on the path to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

impl Invalid {
    /// The value under `key`.
    pub(super) fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { way: vec![Step::Key(key)], message: message.into() }
    }

    /// The section as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { way: Vec::new(), message: message.into() }
    }

    pub(super) fn inside(mut self, step: Step) -> Self {
        self.way.push(step);
        self
    }

    /// The steps from the top of the document to the value.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.way.iter().rev().copied().collect()
    }
}
