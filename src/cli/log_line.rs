//! Log lines in the formats of Litestream: `key=value`, or JSON.

use std::fmt::{self, Write};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::utc;

pub(super) struct LogLine {
    pub(super) format: LogFormat,
    pub(super) colour: bool,
}

impl<S, N> FormatEvent<S, N> for LogLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = utc::milliseconds(SystemTime::now());
        let level = *event.metadata().level();
        let line = match self.format {
            LogFormat::Text => text(&time, level, &fields, self.colour)?,
            LogFormat::Json => json(&time, level, &fields)?,
        };
        writeln!(writer, "{line}")
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        let value = value.into();
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }
}

fn text(time: &str, level: Level, fields: &Fields, colour: bool) -> Result<String, fmt::Error> {
    let level = match (level, colour) {
        (level, false) => level.to_string(),
        (Level::ERROR, true) => format!("\x1b[31m{level}\x1b[0m"),
        (Level::WARN, true) => format!("\x1b[33m{level}\x1b[0m"),
        (level, true) => format!("\x1b[32m{level}\x1b[0m"),
    };
    let mut line = format!("time={time} level={level} msg={}", quoted(&fields.message));
    for (name, value) in &fields.others {
        match value {
            Value::String(text) => write!(line, " {name}={}", quoted(text))?,
            value => write!(line, " {name}={value}")?,
        }
    }
    Ok(line)
}

/// Quotes a value if its end would otherwise be unclear.
fn quoted(text: &str) -> String {
    let is_plain = |letter: char| !(letter.is_whitespace() || letter.is_control());
    if !text.is_empty() && text.chars().all(is_plain) && !text.contains(['"', '=']) {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

/// A log line in JSON that says why a command failed.
pub(super) fn error_in_json(message: &str) -> String {
    let fields = Fields { message: message.to_owned(), others: Vec::new() };
    json(&utc::milliseconds(SystemTime::now()), Level::ERROR, &fields).unwrap_or_default()
}

fn json(time: &str, level: Level, fields: &Fields) -> Result<String, fmt::Error> {
    let message = Value::from(fields.message.as_str());
    let mut line = format!("{{\"time\":\"{time}\",\"level\":\"{level}\",\"msg\":{message}");
    for (name, value) in &fields.others {
        write!(line, ",{}:{value}", Value::from(*name))?;
    }
    line.push('}');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_same_in_both_forms() {
        let fields = Fields {
            message: "snapshot written".to_owned(),
            others: vec![
                ("position", Value::from("67c3797361749ad0/00000000:4152")),
                ("error", Value::from("a \"b\"\nc")),
                ("size", Value::from(481)),
                ("empty", Value::from("")),
            ],
        };
        let time = "2026-11-22T07:16:02.000Z";
        assert_eq!(
            text(time, Level::INFO, &fields, false).unwrap(),
            "time=2026-11-22T07:16:02.000Z level=INFO msg=\"snapshot written\" \
             position=67c3797361749ad0/00000000:4152 error=\"a \\\"b\\\"\\nc\" size=481 empty=\"\""
        );
        let line = json(time, Level::WARN, &fields).unwrap();
        let found: Value = serde_json::from_str(&line).unwrap();
        assert!(line.starts_with("{\"time\":\"2026-11-22T07:16:02.000Z\",\"level\":\"WARN\","));
        assert_eq!(found["error"], "a \"b\"\nc");
        assert_eq!(found["size"], 481);
        assert!(text(time, Level::ERROR, &fields, true).unwrap().contains("\x1b[31mERROR\x1b[0m"));
    }
}
