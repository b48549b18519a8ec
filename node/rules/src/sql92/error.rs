//! Why a text is no SQL92 expression, and what to write instead.

use super::{MAXIMUM_EXPRESSION_BYTES, MAXIMUM_LIST_LENGTH, MAXIMUM_NESTING};

/// The longest piece of an expression that an error quotes, in characters.
const MAXIMUM_QUOTED_CHARACTERS: usize = 24;

/// Why a text is no SQL92 expression. Positions are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than [`MAXIMUM_EXPRESSION_BYTES`].
    #[error("an expression of {0} bytes is longer than {MAXIMUM_EXPRESSION_BYTES}")]
    TooLong(usize),
    /// There is nothing but space and comments.
    #[error("there is no condition: write one, or TRUE for every message")]
    Empty,
    /// A character that starts no word, number, text or operator.
    #[error("at byte {position}: {character:?} has no meaning here{}", about_character(.character))]
    UnknownCharacter {
        /// Where it is.
        position: usize,
        /// The character.
        character: char,
    },
    /// A text has no closing quote.
    #[error("at byte {position}: this text has no end: close it with ', and write a quote inside it as ''")]
    OpenText {
        /// Where its opening quote is.
        position: usize,
    },
    /// A `/*` has no `*/`.
    #[error("at byte {position}: this comment has no end: close it with */")]
    OpenComment {
        /// Where the comment starts.
        position: usize,
    },
    /// A whole number that no 64-bit integer holds.
    #[error("at byte {position}: whole numbers end at 9223372036854775807: write a larger one with a point, like 1e19")]
    WholeNumberTooLarge {
        /// Where the number starts.
        position: usize,
    },
    /// A number with a point or an exponent that is zero, or that rounds to zero or to infinity.
    #[error(
        "at byte {position}: a number with a point or an exponent lies between 4.9e-324 and 1.8e308: write zero as 0"
    )]
    DecimalOutOfRange {
        /// Where the number starts.
        position: usize,
    },
    /// Something else should stand here.
    #[error("at byte {position}: expected {expected}, found {found}")]
    Unexpected {
        /// Where the wrong word is.
        position: usize,
        /// What could stand here.
        expected: &'static str,
        /// The beginning of what stands here.
        found: Box<str>,
    },
    /// The expression is complete, and more text follows.
    #[error("at byte {position}: the expression ends before {found}{}", about_rest(.found))]
    Rest {
        /// Where the rest starts.
        position: usize,
        /// Its beginning.
        found: Box<str>,
    },
    /// A number, a text or a negated value stands where only a condition has a meaning.
    #[error("at byte {position}: this is a value, not a condition: compare it, for example with =")]
    NotACondition {
        /// Where the value starts.
        position: usize,
    },
    /// A text, TRUE, FALSE, NULL or a condition is an operand of `<`, `<=`, `>`, `>=` or BETWEEN.
    #[error("at byte {position}: only numbers and properties have an order: compare this with = or <>")]
    NoOrder {
        /// Where the operand starts.
        position: usize,
    },
    /// NULL is an operand of `=` or `<>`.
    #[error("at byte {position}: nothing is equal to NULL: write IS NULL or IS NOT NULL")]
    EqualToNull {
        /// Where the NULL is.
        position: usize,
    },
    /// TRUE or FALSE stands left of `=` or `<>` and a number or a text right of it.
    #[error("at byte {position}: TRUE and FALSE cannot be compared with this value: compare them with a property")]
    EqualToBoolean {
        /// Where the value is.
        position: usize,
    },
    /// The first limit of BETWEEN is above the second.
    #[error("at byte {position}: the first limit of BETWEEN is above the second: write the smaller one first")]
    ReversedLimits {
        /// Where the first limit starts.
        position: usize,
    },
    /// Left of IN stands something else than a property.
    #[error("at byte {position}: IN takes a property on its left: write NOT after the property, as in a NOT IN ('b')")]
    NoPropertyBeforeIn {
        /// Where the left side starts.
        position: usize,
    },
    /// More than [`MAXIMUM_LIST_LENGTH`] texts after IN.
    #[error("at byte {position}: a list after IN holds at most {MAXIMUM_LIST_LENGTH} texts: split it and join with OR")]
    ListTooLong {
        /// Where the first text beyond the limit is.
        position: usize,
    },
    /// Operators and parentheses are nested deeper than [`MAXIMUM_NESTING`].
    #[error(
        "at byte {position}: conditions nest at most {MAXIMUM_NESTING} deep: AND and OR chains need no parentheses"
    )]
    TooDeep {
        /// Where the nesting goes beyond the limit.
        position: usize,
    },
}

/// The beginning of what an expression holds at some place, as an error quotes it.
pub(super) fn quote(text: &str) -> Box<str> {
    if text.is_empty() {
        return "the end".into();
    }
    let beginning: String = text.chars().take(MAXIMUM_QUOTED_CHARACTERS).collect();
    let more = if beginning.len() < text.len() { "..." } else { "" };
    format!("{beginning:?}{more}").into()
}

fn about_character(character: &char) -> &'static str {
    match character {
        '"' | '`' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}' => {
            ": a text stands in ', and the name of a property in nothing"
        }
        '!' => ": write <> for unequal, and NOT for the opposite",
        '&' => ": write AND",
        '|' => ": write OR",
        '*' | '/' | '%' => ": there is no arithmetic",
        '.' => ": the name of a property has no point",
        '\u{a0}' | '\u{3000}' => ": write a common space",
        _ => ": a name holds letters of ASCII, digits, _ and $",
    }
}

fn about_rest(found: &str) -> &'static str {
    let mut words = found.split(|character: char| !character.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    if words.next().is_some_and(|word| word.eq_ignore_ascii_case("LIKE")) {
        ": there is no LIKE, write CONTAINS, STARTSWITH or ENDSWITH"
    } else if found.starts_with("\"-") || found.starts_with("\"+") {
        ": there is no arithmetic, and the name of a property has no + and no -"
    } else if found.starts_with("\")") {
        ": open the parenthesis, or leave this one out"
    } else {
        ": join conditions with AND or OR"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where_and_what_to_write() {
        for (error, expected) in [
            (
                Error::UnknownCharacter { position: 2, character: '!' },
                "at byte 2: '!' has no meaning here: write <> for unequal, and NOT for the opposite",
            ),
            (
                Error::Rest { position: 2, found: quote("LIKE 'a%'") },
                "at byte 2: the expression ends before \"LIKE 'a%'\": there is no LIKE, write CONTAINS, STARTSWITH or ENDSWITH",
            ),
            (
                Error::Rest { position: 2, found: quote("-b = 1") },
                "at byte 2: the expression ends before \"-b = 1\": there is no arithmetic, and the name of a property has no + and no -",
            ),
            (
                Error::Rest { position: 5, found: quote(")") },
                "at byte 5: the expression ends before \")\": open the parenthesis, or leave this one out",
            ),
            (
                Error::Rest { position: 6, found: quote("b = 2") },
                "at byte 6: the expression ends before \"b = 2\": join conditions with AND or OR",
            ),
            (
                Error::Unexpected { position: 4, expected: "a value", found: quote("") },
                "at byte 4: expected a value, found the end",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_quoted_piece_is_short_and_printable() {
        assert_eq!(&*quote("a\nb"), "\"a\\nb\"");
        assert_eq!(&*quote(&"ü".repeat(40)), format!("\"{}\"...", "ü".repeat(24)));
    }
}
