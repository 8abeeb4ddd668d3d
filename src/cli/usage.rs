//! Reports invalid command lines, and prints help.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::arguments::Arguments;
use super::output;
use super::{DONE, FAILED};

/// Prints help, or, on one line, what is wrong with these arguments. The first one is the name of
/// the program.
pub(super) fn report(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let text = single_dashes(&error.render().to_string());
    let status = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => DONE,
        _ => FAILED,
    };
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nothing can be done if nobody reads it.
            let _ = output::print(&text);
        }
        ErrorKind::InvalidSubcommand => output::print_error(&unknown_command(error, &text)),
        _ => output::print_error(&one_line(&text, arguments)),
    }
    ExitCode::from(status)
}

fn unknown_command(error: &clap::Error, text: &str) -> String {
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) => {
            format!("litestream {name}: unknown command{}", tips(text, &[]))
        }
        _ => one_line(text, &[]),
    }
}

/// The useful parts of clap's message.
fn one_line(text: &str, arguments: &[OsString]) -> String {
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    words(first) + &tips(text, arguments)
}

fn tips(text: &str, arguments: &[OsString]) -> String {
    let tips = text.lines().filter_map(|line| line.trim().strip_prefix("tip: "));
    // Nobody means to pass an option as a value.
    let tips = tips.filter(|tip| !tip.contains(" as a value, use "));
    let command = command(text).or_else(|| command_of(arguments));
    let help = command.map_or("see `litestream help`".to_owned(), |command| {
        format!("see `litestream {command} -h`")
    });
    // The database and the URL were given as `replicate` takes them.
    let order = (command == Some("restore")
        && text.contains("unexpected argument")
        && text.contains("://"))
    .then_some("a database and a URL are given as -o DB_PATH REPLICA_URL");
    let parts: Vec<&str> = tips.chain(order).chain([help.as_str()]).collect();
    format!("; {}", parts.join("; "))
}

/// The command that a message of clap is about, taken from its usage line.
fn command(text: &str) -> Option<&str> {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: litestream "))?;
    usage.split(' ').next().filter(|word| word.bytes().all(|letter| letter.is_ascii_lowercase()))
}

/// The given command, if it exists.
fn command_of(arguments: &[OsString]) -> Option<&str> {
    let name = arguments.get(1)?.to_str()?;
    Arguments::command().find_subcommand(name).is_some().then_some(name)
}

/// Writes options as Litestream does, and as users type them: `-config`, not `--config`.
/// Descriptions stay in their column.
fn single_dashes(text: &str) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let single = single_dashed(line);
        let removed = line.len() - single.len();
        let start = single.len() - single.trim_start().len();
        let gap = single[start..].find("  ").filter(|_| single[start..].starts_with('-'));
        match gap {
            Some(gap) => {
                let (option, rest) = single.split_at(start + gap);
                format!("{option}{}{rest}", " ".repeat(removed))
            }
            None => single,
        }
    });
    lines.collect()
}

fn single_dashed(line: &str) -> String {
    let mut single = String::with_capacity(line.len());
    for (at, part) in line.split("--").enumerate() {
        if at > 0 {
            let is_option = part.starts_with(|letter: char| letter.is_ascii_lowercase());
            single.push_str(if is_option { "-" } else { "--" });
        }
        single.push_str(part);
    }
    single
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_columns_where_a_dash_is_taken_away() {
        let text = "\
      --config <PATH>  The file
                       or none
  -o <PATH>            Another one
  -h, --help           Help --
";
        let expected = "\
      -config <PATH>   The file
                       or none
  -o <PATH>            Another one
  -h, -help            Help --
";
        assert_eq!(single_dashes(text), expected);
    }
}
