use std::fmt::Write as _;

use litestream::config::Config;

/// The text of a configuration, with and without variables.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let variable = |name: &str| (!name.starts_with('N')).then(|| format!("{name} $ {{: [x"));
    for variables in [None, Some(&variable as &_)] {
        match Config::parse(text, variables) {
            Ok(config) => assert!(!format!("{config:?}").is_empty()),
            Err(error) => {
                let mut message = String::new();
                write!(message, "{error}").unwrap();
                assert!(!message.is_empty());
            }
        }
    }
}
