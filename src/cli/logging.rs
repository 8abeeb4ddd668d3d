use std::io::{self, IsTerminal};
use std::sync::OnceLock;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::log_line::{self, LogLine};
use super::progress_bar;
use crate::config::{Level, LogFormat, LoggingOptions};

/// The format of the log, once logging has started.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// An error in the format of the log, or `None` if that is text: whatever reads the log may read
/// standard error as well.
pub(super) fn error_line(message: &str) -> Option<String> {
    match FORMAT.get() {
        Some(LogFormat::Json) => Some(log_line::error_in_json(message)),
        _ => None,
    }
}

/// Starts to log according to `options`.
pub(super) fn start(options: LoggingOptions) {
    let _ = FORMAT.set(options.format);
    if options.stderr {
        start_on(|| progress_bar::cleared(io::stderr()), io::stderr().is_terminal(), options);
    } else {
        start_on(|| progress_bar::cleared(io::stdout()), io::stdout().is_terminal(), options);
    }
}

/// Starts to log only warnings and errors, to standard error.
pub(super) fn start_for_listing() {
    start(LoggingOptions { level: Level::Warn, stderr: true, ..LoggingOptions::default() });
}

fn start_on<W>(writer: W, is_terminal: bool, options: LoggingOptions)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let level = match options.level {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    };
    // Failures in the libraries below come back to us as errors, and are logged once.
    let targets = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = LogLine { format: options.format, colour: is_terminal && !no_color };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).event_format(lines);
    // This fails only if a logger is already installed in this process, which then stays.
    let _ = tracing_subscriber::registry().with(targets).with(layer).try_init();
}
