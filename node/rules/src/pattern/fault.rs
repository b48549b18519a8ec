//! What is wrong with a pattern, where, and what to write instead.

use std::fmt;

use super::{MAXIMUM_DEPTH, MAXIMUM_PATTERN_BYTES};
use crate::json::{self, Step, write_quoted};

/// A fault of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: `data.userProperties.region[0]`; empty if it is the whole pattern.
    pub path: String,
    /// What.
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(out, "{}{separator}{}", self.path, self.problem)
    }
}

impl std::error::Error for Fault {}

/// What can be wrong at a place of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The pattern is longer than [`MAXIMUM_PATTERN_BYTES`].
    #[error("a pattern of {0} bytes is longer than {MAXIMUM_PATTERN_BYTES}")]
    TooLong(usize),
    /// It is no JSON.
    #[error("the pattern is no JSON: {0}")]
    Syntax(json::Error),
    /// It is another JSON value.
    #[error(r#"a pattern is a JSON object, such as {{"data":{{"systemProperties":{{"TAGS":["paid"]}}}}}}"#)]
    NotAnObject,
    /// A field lies deeper than [`MAXIMUM_DEPTH`].
    #[error("a field lies at most {MAXIMUM_DEPTH} names deep")]
    TooDeep,
    /// One object has the same name twice.
    #[error("the name stands twice in its object: join the values in one array")]
    Repeated,
    /// An object is empty.
    #[error("an empty object names no field: name one, or leave it out")]
    NoField,
    /// A name at the top that no event has.
    #[error("no event has this attribute; known are {}; what a message carries is below data", super::ATTRIBUTES.join(", "))]
    UnknownAttribute,
    /// An attribute with an object.
    #[error(r#"an attribute is a string and has nothing below it: write an array of values, such as ["a","b"]"#)]
    AttributeIsText,
    /// `data` with an array.
    #[error(r#"data is an object: name a field below it, as in {{"data":{{"topic":["orders"]}}}}"#)]
    DataIsObject,
    /// A value that is not in an array.
    #[error("a field is compared with an array of values: write [{0}]")]
    NotAnArray(String),
    /// Nothing to compare with.
    #[error(r#"an empty array matches nothing: write a value into it, or [{{"exists":true}}] for any"#)]
    EmptyArray,
    /// An array among the values.
    #[error("an array is no value: write what is in it directly")]
    ArrayInArray,
    /// A condition without a name, or with several.
    #[error("a condition has one name, here are {0}: write several as several objects, of which one must hold")]
    NotOneCondition(usize),
    /// A condition that is not in the language.
    #[error("no such condition; known are prefix, suffix, contains, anything-but, numeric, cidr, exists")]
    UnknownCondition,
    /// A condition on text with something else.
    #[error("this condition wants a string")]
    NotText,
    /// A condition on text with the empty string.
    #[error(
        r#"the empty string is part of every string: write [{{"exists":true}}] for any, or [""] for the empty one"#
    )]
    EmptyText,
    /// `anything-but` with something else.
    #[error(r#"anything-but wants a value, an array of values, {{"prefix":"a"}} or {{"suffix":"a"}}"#)]
    AnythingBut,
    /// `numeric` with something else.
    #[error(r#"numeric wants one or two comparisons: write [">",0] or [">",0,"<=",5]"#)]
    Comparisons,
    /// An unknown comparison.
    #[error(r#"a comparison is one of "=", "!=", "<", "<=", ">", ">=""#)]
    Comparison,
    /// A comparison with something else than a number.
    #[error("a comparison wants a number, without quotes")]
    NotANumber,
    /// A number that cannot be compared exactly enough.
    #[error("a comparison wants a number between -1.0e9 and 1.0e9")]
    OutOfRange,
    /// `cidr` with something else.
    #[error("an address block is a string such as 10.0.0.0/24 or 2001:db8::/32; an address alone stands for itself")]
    NotABlock,
    /// `exists` with something else.
    #[error("exists wants true or false, without quotes")]
    NotABool,
}

/// The text of a path: `data.userProperties["trace.id"][0]`.
pub(super) struct PathText<'p>(pub(super) &'p [Step]);

impl fmt::Display for PathText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Element(element) => write!(out, "[{element}]")?,
                Step::ElementFromEnd(distance) => write!(out, "[-{distance}]")?,
                Step::Member(name) if !name.is_empty() && name.chars().all(is_plain) => {
                    write!(out, "{}{name}", if index == 0 { "" } else { "." })?;
                }
                Step::Member(name) => {
                    out.write_str("[")?;
                    write_quoted(name, out)?;
                    out.write_str("]")?;
                }
            }
        }
        Ok(())
    }
}
