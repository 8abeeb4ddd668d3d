//! Finds where in a document a value is.
//!
//! The YAML library keeps positions to itself, but adds them to errors. So this walks to the
//! value and fails there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{Position, Step};
use super::section;

/// The position of the value at the end of `steps`, or of the last existing value on the way to
/// it.
pub(super) fn locate(text: &str, steps: &[Step]) -> Option<Position> {
    let error = Walk(steps).deserialize(serde_yaml::Deserializer::from_str(text)).err()?;
    error.location().map(|at| Position { line: at.line(), column: at.column() })
}

struct Walk<'s>(&'s [Step]);

impl Walk<'_> {
    fn arrive<E: Error>() -> Result<(), E> {
        Err(E::custom("here"))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a way")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some((Step::Key(wanted), rest)) = self.0.split_first() {
            while let Some(key) = map.next_key::<String>()? {
                if section::is_spelling(&key, wanted) {
                    return map.next_value_seed(Walk(rest));
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        Self::arrive()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        if let Some((Step::Index(wanted), rest)) = self.0.split_first() {
            for _ in 0..*wanted {
                sequence.next_element::<IgnoredAny>()?;
            }
            sequence.next_element_seed(Walk(rest))?;
        }
        Self::arrive()
    }

    // Single values end up in the visitor's own errors, which carry the position as well.
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_values_and_else_what_is_around_them() {
        let text = "addr: x\ndbs:\n  - path: /a\n    replicas:\n      - forcePathStyle: yes\n";
        let replica = [Step::Key("dbs"), Step::Index(0), Step::Key("replicas"), Step::Index(0)];
        let check = |last: &[Step], line, column| {
            let steps: Vec<Step> = replica.iter().chain(last).copied().collect();
            assert_eq!(locate(text, &steps), Some(Position { line, column }), "{last:?}");
        };
        check(&[Step::Key("force-path-style")], 5, 25);
        check(&[Step::Key("bucket")], 5, 9);
        check(&[], 5, 9);
        assert_eq!(locate(text, &[Step::Key("addr")]), Some(Position { line: 1, column: 7 }));
    }
}
