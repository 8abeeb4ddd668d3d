use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::error::Invalid;
use super::section::Scalar;
use super::{duration, expand, path};

/// Looks up the value of an environment variable.
pub type Variables = dyn Fn(&str) -> Option<String>;

/// Turns the texts of a section into values. A missing or empty text gives the default.
pub(super) struct Reader<'v> {
    variables: Option<&'v Variables>,
}

impl<'v> Reader<'v> {
    pub(super) fn new(variables: Option<&'v Variables>) -> Self {
        Self { variables }
    }

    pub(super) fn text(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
    ) -> Result<Option<String>, Invalid> {
        let Some(Scalar(text)) = scalar else { return Ok(None) };
        let text = match self.variables {
            Some(variables) => expand::expand(&text, variables),
            None => Ok(text),
        };
        let text = text.map_err(|message| Invalid::new(key, format!("`{key}`: {message}")))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Reads a text of which no part may appear in an error.
    pub(super) fn secret(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
    ) -> Result<Option<String>, Invalid> {
        let is_variable = scalar.as_ref().is_some_and(|Scalar(text)| expand::is_variable(text));
        self.text(key, scalar).map_err(|invalid| {
            if is_variable {
                return invalid;
            }
            let message = format!(
                "`{key}`: a variable that it names with a `$` is not set; write `$$` if a dollar sign \
                 is meant"
            );
            Invalid::new(key, message)
        })
    }

    pub(super) fn path(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
    ) -> Result<Option<PathBuf>, Invalid> {
        self.parsed(key, scalar, path::absolute)
    }

    pub(super) fn switch(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
    ) -> Result<Option<bool>, Invalid> {
        self.parsed(key, scalar, parse_switch)
    }

    pub(super) fn count(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
        default: u32,
    ) -> Result<u32, Invalid> {
        let count = self.parsed(key, scalar, |text| {
            text.parse().map_err(|_| format!("{text:?} is not a number from 0 to {}", u32::MAX))
        })?;
        Ok(count.unwrap_or(default))
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
        default: Duration,
    ) -> Result<Duration, Invalid> {
        Ok(self.parsed(key, scalar, duration::parse)?.unwrap_or(default))
    }

    /// A duration that must not be 0.
    pub(super) fn interval(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
        default: Duration,
    ) -> Result<Duration, Invalid> {
        let interval = self.duration(key, scalar, default)?;
        if interval.is_zero() {
            let default = humantime::format_duration(default);
            let message = format!("`{key}` must not be 0; leave it out for the default, {default}");
            return Err(Invalid::new(key, message));
        }
        Ok(interval)
    }

    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        scalar: Option<Scalar>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Invalid> {
        let Some(text) = self.text(key, scalar)? else { return Ok(None) };
        let refused = |message| Invalid::new(key, format!("`{key}`: {message}"));
        parse(&text).map(Some).map_err(refused)
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Reads a truth value in the spellings of YAML 1.1.
fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            Ok(true)
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            Ok(false)
        }
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}
