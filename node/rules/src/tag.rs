//! The tag expression of a stream: `*`, or tags joined by `||`.
//!
//! The meaning is that of Apache's `FilterAPI.buildSubscriptionData`: nothing or `*` stands for every message, parts
//! are trimmed, empty parts among others are passed over, and a message without a tag matches no list of tags. Tags
//! are compared as strings, because the hash that brokers compare lets some other tags through. What that class takes
//! silently and nobody means (a single `|`, `*` inside a list, nothing but `||`) is an error here.

use std::collections::BTreeSet;

/// The longest expression, in bytes.
pub const MAXIMUM_EXPRESSION_BYTES: usize = 4096;

const EVERY_TAG: &str = "*";
const SEPARATOR: &str = "||";

/// Why a text is no tag expression. Positions are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than [`MAXIMUM_EXPRESSION_BYTES`].
    #[error("a tag expression of {0} bytes is longer than {MAXIMUM_EXPRESSION_BYTES}")]
    TooLong(usize),
    /// There are separators, but no tag.
    #[error("there is no tag in the expression: name at least one, or use * for every message")]
    NoTag,
    /// `*` is one of several.
    #[error("at byte {position}: * stands for every message and cannot be joined with tags")]
    EveryTagInList {
        /// Where the `*` is.
        position: usize,
    },
    /// A single `|` inside a tag.
    #[error("at byte {position}: a single | does not join tags, || does")]
    SingleBar {
        /// Where the `|` is.
        position: usize,
    },
    /// A character that no stored tag can have.
    #[error("at byte {position}: a tag cannot hold a control character")]
    ControlCharacter {
        /// Where it is.
        position: usize,
    },
}

/// A compiled tag expression.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TagExpression {
    /// The wanted tags; none for every message.
    wanted: Option<BTreeSet<Box<[u8]>>>,
}

impl TagExpression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`Error`], with the position where there is one.
    pub fn parse(expression: &str) -> Result<Self, Error> {
        if expression.len() > MAXIMUM_EXPRESSION_BYTES {
            return Err(Error::TooLong(expression.len()));
        }
        if trim(expression).is_empty() || trim(expression) == EVERY_TAG {
            return Ok(Self { wanted: None });
        }
        let mut wanted = BTreeSet::new();
        let mut position: usize = 0;
        for part in expression.split(SEPARATOR) {
            let start = position.saturating_add(part.len().saturating_sub(part.trim_start_matches(is_space).len()));
            let tag = trim(part);
            check(tag, start)?;
            if !tag.is_empty() {
                wanted.insert(Box::from(tag.as_bytes()));
            }
            position = position.saturating_add(part.len()).saturating_add(SEPARATOR.len());
        }
        if wanted.is_empty() { Err(Error::NoTag) } else { Ok(Self { wanted: Some(wanted) }) }
    }

    /// Whether every message matches, so that tags need not be looked up.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.wanted.is_none()
    }

    /// Whether a message with this tag matches; `None` for a message without one.
    #[must_use]
    pub fn matches(&self, tag: Option<&[u8]>) -> bool {
        match (&self.wanted, tag) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(tag)) => wanted.contains(tag),
        }
    }
}

impl std::str::FromStr for TagExpression {
    type Err = Error;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        Self::parse(expression)
    }
}

/// Java's `String.trim` takes off every character up to the space.
fn is_space(character: char) -> bool {
    character <= ' '
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn check(tag: &str, start: usize) -> Result<(), Error> {
    if tag == EVERY_TAG {
        return Err(Error::EveryTagInList { position: start });
    }
    for (offset, character) in tag.char_indices() {
        let position = start.saturating_add(offset);
        if character == '|' {
            return Err(Error::SingleBar { position });
        }
        if character.is_control() {
            return Err(Error::ControlCharacter { position });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(expression: &str, tag: Option<&str>) -> bool {
        TagExpression::parse(expression).unwrap().matches(tag.map(str::as_bytes))
    }

    #[test]
    fn nothing_and_a_star_stand_for_every_message() {
        for expression in ["", "*", "  ", " * ", "\t"] {
            assert!(TagExpression::parse(expression).unwrap().matches_all(), "{expression:?}");
            assert!(matches(expression, None) && matches(expression, Some("any")), "{expression:?}");
        }
    }

    #[test]
    fn tags_are_trimmed_and_compared_as_strings() {
        for (expression, tag, expected) in [
            ("paid", Some("paid"), true),
            ("paid", Some("Paid"), false),
            ("paid", None, false),
            ("paid||shipped", Some("shipped"), true),
            (" paid || shipped ", Some("paid"), true),
            ("paid || shipped", Some("paid || shipped"), false),
            ("|| paid || ||", Some("paid"), true),
            ("two words", Some("two words"), true),
            ("Aa", Some("BB"), false),
            ("*x", Some("*x"), true),
            ("ü", Some("ü"), true),
            ("a", Some(""), false),
        ] {
            assert_eq!(matches(expression, tag), expected, "{expression:?} {tag:?}");
        }
    }

    #[test]
    fn faults_say_where_and_why() {
        for (expression, expected) in [
            ("||", Error::NoTag),
            (" || || ", Error::NoTag),
            ("a || *", Error::EveryTagInList { position: 5 }),
            ("a | b", Error::SingleBar { position: 2 }),
            ("a|||b", Error::SingleBar { position: 3 }),
            ("ü || b\u{1}c", Error::ControlCharacter { position: 7 }),
        ] {
            assert_eq!(TagExpression::parse(expression), Err(expected), "{expression:?}");
        }
        let long = "x".repeat(MAXIMUM_EXPRESSION_BYTES + 1);
        assert_eq!(TagExpression::parse(&long), Err(Error::TooLong(long.len())));
    }

    proptest! {
        /// A list of tags, spaced in any way, matches exactly its tags.
        #[test]
        fn a_list_matches_its_tags_and_no_other(
            tags in prop::collection::vec(("[ \t]{0,2}", "[a-zA-Z0-9_]{1,6}", "[ \t]{0,2}"), 1..6),
            other in "[a-zA-Z0-9_]{1,6}",
        ) {
            let parts: Vec<_> = tags.iter().map(|(before, tag, after)| format!("{before}{tag}{after}")).collect();
            let compiled = TagExpression::parse(&parts.join("||")).unwrap();
            for (_, tag, _) in &tags {
                prop_assert!(compiled.matches(Some(tag.as_bytes())));
            }
            let listed = tags.iter().any(|(_, tag, _)| *tag == other);
            prop_assert_eq!(compiled.matches(Some(other.as_bytes())), listed);
            prop_assert!(!compiled.matches(None));
        }

        #[test]
        fn any_text_is_compiled_or_refused_with_a_position_inside(expression in "\\PC{0,40}") {
            match TagExpression::parse(&expression) {
                Ok(_) | Err(Error::NoTag | Error::TooLong(_)) => {}
                Err(Error::EveryTagInList { position } | Error::SingleBar { position }
                    | Error::ControlCharacter { position }) => prop_assert!(expression.is_char_boundary(position)),
            }
        }
    }
}
