//! Takes a YAML document apart into sections with fixed keys.
//!
//! The YAML library adds the position of the value at hand to an error that a visitor raises. So
//! everything that can be wrong with a key must be found while that key is being read.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::error::{ConfigError, Position};
use super::expand;

/// Marks where a message of this module begins, since the YAML library adds text of its own.
const OURS: char = '\u{2}';

/// A part of the configuration with keys and values.
pub(super) trait Section: Default {
    /// Where the section is, such as "in a replica".
    const PLACE: &'static str;
    const KEYS: &'static [&'static str];

    /// Reads the value of one of the keys.
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Declares a struct with a field for each key that a section of the configuration may hold.
macro_rules! section {
    (
        $(#[$doc:meta])*
        $name:ident, $place:literal { $($key:literal => $field:ident: $type:ty,)* }
    ) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name {
            $(pub(super) $field: Option<$type>,)*
        }

        impl Section for $name {
            const PLACE: &'static str = $place;
            const KEYS: &'static [&'static str] = &[$($key),*];

            fn read<'de, A: MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match key {
                    $($key => self.$field = map.next_value()?,)*
                    _ => return Err(A::Error::custom(format_args!("unknown key {key}"))),
                }
                Ok(())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(SectionVisitor::new())
            }
        }
    };
}
pub(super) use section;

/// Reads a whole document. An empty document is a section without any keys.
pub(super) fn read<S: Section + for<'de> Deserialize<'de>>(text: &str) -> Result<S, ConfigError> {
    let read: Result<Option<S>, _> = serde_yaml::from_str(text);
    read.map(Option::unwrap_or_default).map_err(|error| {
        let position = error.location().map(|at| Position { line: at.line(), column: at.column() });
        ConfigError { position, ..ConfigError::new(message(&error.to_string())) }
    })
}

/// The message alone, without the position that the YAML library adds in words.
fn message(text: &str) -> String {
    let text = text.split_once(OURS).map_or(text, |(_, ours)| ours);
    let end = text.rfind(" at line ").unwrap_or(text.len());
    expand::unprotect(&text[..end])
}

pub(super) struct SectionVisitor<S>(PhantomData<S>);

impl<S> SectionVisitor<S> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, S: Section> Visitor<'de> for SectionVisitor<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys and values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S, A::Error> {
        let mut section = S::default();
        let mut seen = Vec::new();
        while let Some(key) = map.next_key_seed(Key::<S> { seen: &seen, section: PhantomData })? {
            section.read(key, &mut map)?;
            seen.push(key);
        }
        Ok(section)
    }

    // The library's own error would print the text, which may be a secret whose colon has lost
    // its space.
    fn visit_str<E: Error>(self, _text: &str) -> Result<S, E> {
        let place = S::PLACE;
        Err(E::custom(format_args!(
            "{OURS}expected keys and values {place}, found a text; is a space missing after a colon?"
        )))
    }

    fn visit_unit<E: Error>(self) -> Result<S, E> {
        Ok(S::default())
    }
}

/// A key of a section, as it is spelled in [`Section::KEYS`].
struct Key<'s, S> {
    seen: &'s [&'static str],
    section: PhantomData<S>,
}

impl<'de, S: Section> DeserializeSeed<'de> for Key<'_, S> {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<S: Section> Visitor<'_> for Key<'_, S> {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key {}", S::PLACE)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let Some(key) = S::KEYS.iter().find(|key| is_spelling(text, key)) else {
            let hint = super::raw::hint(text, S::KEYS);
            return Err(E::custom(format_args!("{OURS}unknown key `{text}` {}; {hint}", S::PLACE)));
        };
        if self.seen.contains(key) {
            return Err(E::custom(format_args!("{OURS}duplicate key `{text}` {}", S::PLACE)));
        }
        Ok(key)
    }
}

/// Whether `text` is `key`, perhaps in camel case.
pub(super) fn is_spelling(text: &str, key: &str) -> bool {
    text == key || kebab(text).is_some_and(|kebab| kebab == key)
}

/// `forcePathStyle` as `force-path-style`.
fn kebab(text: &str) -> Option<String> {
    if text.contains('-') || !text.starts_with(|first: char| first.is_ascii_lowercase()) {
        return None;
    }
    let mut kebab = String::new();
    let mut last = '-';
    for letter in text.chars() {
        if letter.is_ascii_uppercase() && last.is_ascii_lowercase() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
        last = letter;
    }
    Some(kebab)
}

/// A single value: its text, whatever type YAML takes it for.
///
/// So an access key such as `1e10` stays what it is, and a variable can stand for a number.
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;

        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }
        }
        deserializer.deserialize_str(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_camel_case_and_no_other_spelling() {
        for (text, expected) in [
            ("forcePathStyle", Some("force-path-style")),
            ("accessKeyID", Some("access-key-id")),
            ("path", Some("path")),
            ("Path", None),
            ("force-Path-style", None),
            ("force_path_style", Some("force_path_style")),
        ] {
            assert_eq!(kebab(text).as_deref(), expected, "{text}");
        }
    }
}
