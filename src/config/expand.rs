//! Environment variables in the values of a configuration.
//!
//! They are filled in after the YAML has been read, so that a comment may contain a `$`, and no
//! value can change the structure of the document. But `${NAME:-default}` as it stands is not
//! valid everywhere in a YAML document, so its punctuation is hidden from the YAML parser until
//! then.

use super::reader::Variables;

/// Where hidden ASCII punctuation is moved to: the start of a Unicode private use area.
const HIDDEN: u32 = 0xe000;

fn hide(letter: char) -> char {
    match letter {
        _ if letter.is_ascii_punctuation() || letter == ' ' => {
            char::from_u32(HIDDEN + u32::from(letter)).unwrap_or(letter)
        }
        _ => letter,
    }
}

fn show(letter: char) -> char {
    let shown = u32::from(letter).checked_sub(HIDDEN).and_then(|code| u8::try_from(code).ok());
    shown.filter(u8::is_ascii).map_or(letter, char::from)
}

/// Hides the punctuation of every `${NAME}` and `${NAME:-default}`. Lines and columns stay the
/// same.
pub(super) fn protect(text: &str) -> String {
    let mut protected = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        protected.push_str(before);
        let length = if from.starts_with("$$") { 2 } else { braced(from).unwrap_or(1) };
        let (variable, after) = from.split_at(length);
        protected.push('$');
        protected.extend(variable.chars().skip(1).map(|c| if length > 2 { hide(c) } else { c }));
        rest = after;
    }
    protected + rest
}

/// Undoes [`protect`].
pub(super) fn unprotect(text: &str) -> String {
    text.chars().map(show).collect()
}

/// The length of the `${…}` at the start of `text`.
fn braced(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("${")?;
    let name = name_length(inner);
    let after = &inner[name..];
    let end = after.find('}').filter(|&end| !after[..end].contains('\n'))?;
    (0 < name && (end == 0 || after.starts_with(":-"))).then_some(2 + name + end + 1)
}

fn name_length(text: &str) -> usize {
    match text.as_bytes().first() {
        Some(first) if first.is_ascii_alphabetic() || *first == b'_' => text
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            .unwrap_or(text.len()),
        _ => 0,
    }
}

/// Whether a value is one variable and nothing else.
pub(super) fn is_variable(text: &str) -> bool {
    let text = unprotect(text);
    let name = text.strip_prefix('$').unwrap_or_default();
    braced(&text) == Some(text.len()) || (!name.is_empty() && name_length(name) == name.len())
}

/// Fills in the variables of one value.
pub(super) fn expand(text: &str, variables: &Variables) -> Result<String, String> {
    let text = unprotect(text);
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        expanded.push_str(before);
        let (value, length) = value(from, variables)?;
        expanded.push_str(&value);
        rest = &from[length..];
    }
    Ok(expanded + rest)
}

/// What the `$…` at the start of `text` stands for, and its length.
fn value(text: &str, variables: &Variables) -> Result<(String, usize), String> {
    if text.starts_with("$$") {
        return Ok(("$".to_owned(), 2));
    }
    if let Some(length) = braced(text) {
        let inner = &text[2..length - 1];
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        return Ok((variable(name, default, variables)?, length));
    }
    let name = name_length(&text[1..]);
    if 0 < name {
        return Ok((variable(&text[1..=name], None, variables)?, 1 + name));
    }
    // Litestream silently drops these characters, which turns a password into another one.
    if text[1..].starts_with(|next: char| next.is_ascii_digit() || "{*#@!?-".contains(next)) {
        return Err("a `$` without the name of a variable; write `$$` for a dollar sign, or \
                    `$NAME`, `${NAME}` or `${NAME:-default}`"
            .to_owned());
    }
    Ok(("$".to_owned(), 1))
}

fn variable(name: &str, default: Option<&str>, variables: &Variables) -> Result<String, String> {
    match (variables(name), default) {
        (_, Some(default)) if default.contains('$') => {
            Err(format!("the default of the variable {name} contains a `$`, which is not possible"))
        }
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write `${{{name}:-default}}`, or \
             `$$` if a dollar sign is meant"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let variables = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            "D" => Some("$A".to_owned()),
            _ => None,
        };
        for text in [text, &protect(text)] {
            let found = expand(text, &variables)
                .unwrap_or_else(|message| message.split(';').next().unwrap_or_default().to_owned());
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn fills_in_variables() {
        check("", "");
        check("no variable", "no variable");
        check("$A/$A", "a/a");
        check("x${A}b", "xab");
        check("$E|${E}|${E:-e}", "||e");
        check("${X:-http://x: {y}", "http://x: {y");
        check("${X:-}", "");
        check("$$A $$", "$A $");
        check("$${A}", "${A}");
        check("$D", "$A");
        check("end$", "end$");
        check("a$ b", "a$ b");
        check("a$.b", "a$.b");
    }

    #[test]
    fn knows_what_is_nothing_but_a_variable() {
        for (text, expected) in
            [("$A", true), ("${A}", true), ("${A:-b}", true), ("pa$word", false), ("$a$b", false)]
        {
            assert_eq!(is_variable(text), expected, "{text}");
            assert_eq!(is_variable(&protect(text)), expected, "{text}");
        }
        assert!(!is_variable("") && !is_variable("$") && !is_variable("plain"));
    }

    #[test]
    fn refuses_what_would_become_something_else() {
        check("$X", "the environment variable X is not set");
        check("a${X}", "the environment variable X is not set");
        check("p$5", "a `$` without the name of a variable");
        check("${A", "a `$` without the name of a variable");
        check("${A-b}", "a `$` without the name of a variable");
        check("${X:-$A}", "the default of the variable X contains a `$`, which is not possible");
    }

    #[test]
    fn protection_keeps_every_position() {
        let text = "a: ${X:-b: [c]} # $5 ${";
        let protected = protect(text);
        assert_eq!(protected.chars().count(), text.chars().count());
        assert_eq!(unprotect(&protected), text);
        let value: String = protected.chars().take_while(|&letter| letter != '#').collect();
        assert!(!value.contains(['[', '{']));
    }
}
