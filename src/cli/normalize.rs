//! Options as Go programs take them: one dash or two, `-flag=false`.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// Rewrites arguments to what clap accepts, according to clap's own definitions.
pub(super) fn normalize(
    command: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    let mut normal: Vec<OsString> = arguments.next().into_iter().collect();
    let mut command = command;
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            normal.push(argument);
            normal.extend(arguments);
            break;
        }
        let Some((name, value)) = argument.to_str().and_then(split_option) else {
            command = command.find_subcommand(&argument).unwrap_or(command);
            normal.push(argument);
            continue;
        };
        let Some(option) = command.get_arguments().find(|option| is_called(option, name)) else {
            // Clap reports what may have been meant.
            normal
                .push(format!("--{}", &argument.to_string_lossy().trim_start_matches('-')).into());
            continue;
        };
        let dashes = if option.get_long() == Some(name) { "--" } else { "-" };
        let spelled = OsString::from(format!("{dashes}{name}"));
        if option.get_action().takes_values() {
            let value = value.map(OsString::from).or_else(|| arguments.next());
            normal.push(value.map_or(spelled.clone(), |value| joined(&spelled, &value)));
        } else {
            match value.map(|value| (value, truth(value))) {
                None | Some((_, Some(true))) => normal.push(spelled),
                Some((_, Some(false))) => (),
                Some((value, None)) => normal.push(joined(&spelled, value.as_ref())),
            }
        }
    }
    normal
}

/// The name and the value of `-name`, `--name` or `-name=value`.
fn split_option(argument: &str) -> Option<(&str, Option<&str>)> {
    let option = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    (!name.is_empty()).then_some((name, value))
}

fn is_called(option: &Arg, name: &str) -> bool {
    let short = option.get_short().map(String::from);
    option.get_long() == Some(name) || short.as_deref() == Some(name)
}

fn joined(option: &OsStr, value: &OsStr) -> OsString {
    let mut joined = option.to_owned();
    joined.push("=");
    joined.push(value);
    joined
}

/// A truth value as Go reads it.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgAction;

    fn check(arguments: &str, expected: &str) {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let mut command = Command::new("p").subcommand(
            Command::new("restore")
                .arg(Arg::new("config").long("config"))
                .arg(Arg::new("output").short('o'))
                .arg(flag("json"))
                .arg(Arg::new("source")),
        );
        command.build();
        let arguments = arguments.split('|').map(OsString::from);
        let found = normalize(&command, arguments);
        let found: Vec<_> = found.iter().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(found.join("|"), expected);
    }

    #[test]
    fn takes_options_as_go_does() {
        for (arguments, expected) in [
            ("p", "p"),
            ("p|restore|-config|f|db", "p|restore|--config=f|db"),
            ("p|restore|-config=f|db", "p|restore|--config=f|db"),
            ("p|restore|--config|f|db", "p|restore|--config=f|db"),
            ("p|restore|-config|-f", "p|restore|--config=-f"),
            ("p|restore|-config|restore", "p|restore|--config=restore"),
            ("p|restore|-config", "p|restore|--config"),
            ("p|restore|-o|out.db|db", "p|restore|-o=out.db|db"),
            ("p|restore|-o=out.db", "p|restore|-o=out.db"),
            ("p|restore|--o|out.db", "p|restore|-o=out.db"),
            ("p|restore|-json", "p|restore|--json"),
            ("p|restore|-json=false|db", "p|restore|db"),
            ("p|restore|-json=1", "p|restore|--json"),
            ("p|restore|-json=maybe", "p|restore|--json=maybe"),
            ("p|restore|-h", "p|restore|-h"),
            ("p|restore|-help", "p|restore|--help"),
            ("p|-help", "p|--help"),
            ("p|restore|-cnfig|f", "p|restore|--cnfig|f"),
            ("p|restore|-v", "p|restore|--v"),
            ("p|restore|--|-config", "p|restore|--|-config"),
            ("p|restore|-", "p|restore|-"),
        ] {
            check(arguments, expected);
        }
    }
}
