use super::error::Invalid;
use super::raw;
use super::reader::Reader;

/// How and where to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoggingOptions {
    pub level: Level,
    pub format: LogFormat,
    /// Whether to log to standard error instead of standard output.
    pub stderr: bool,
}

/// The least important lines that are still logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl raw::Logging {
    pub(super) fn validate(self, reader: &Reader) -> Result<LoggingOptions, Invalid> {
        let level = match reader.text("level", self.level)? {
            Some(text) => parse_level(&text)?,
            None => Level::default(),
        };
        let format = match reader.text("type", self.kind)?.as_deref() {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(other) => {
                let message = format!("unknown logging type {other:?}; known are text and json");
                return Err(Invalid::new("type", message));
            }
        };
        let stderr = reader.switch("stderr", self.stderr)?.unwrap_or_default();
        Ok(LoggingOptions { level, format, stderr })
    }
}

fn parse_level(text: &str) -> Result<Level, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(Level::Debug),
        "info" => Ok(Level::Info),
        "warn" | "warning" => Ok(Level::Warn),
        "error" => Ok(Level::Error),
        _ => {
            let message =
                format!("unknown logging level {text:?}; known are debug, info, warn and error");
            Err(Invalid::new("level", message))
        }
    }
}
