//! The SQL92 expression of a stream: a condition over the properties of a message.
//!
//! The meaning is that of Apache RocketMQ 5 (`org.apache.rocketmq.filter`, releases 5.2 to 5.5 alike), to the letter:
//! which texts it compiles, and which messages its broker then delivers. Releases 4 do the same without CONTAINS,
//! STARTSWITH and ENDSWITH. What often surprises:
//!
//! - A property is a text. Beside a number it is read as one, of the kind that the number has: `a > 5` wants a whole
//!   number of 32 bits in `a`, `a > 3000000000` one of 64, `a > 5.0` whatever `Double.valueOf` takes. A text that is
//!   none fails the whole expression, whatever its other conditions are, and the message is not kept.
//! - Two texts are compared as texts with `=` and `<>`, and as numbers with `<`, `<=`, `>` and `>=`. A text in quotes
//!   has no order at all, and the opposite of a property (`-a`) is NULL.
//! - Beside TRUE and FALSE on the right, a property is true when it is `true` in any case. TRUE or FALSE on the left
//!   of a property fails.
//! - A property alone is false when it is there, whatever it holds, and unknown when it is not.
//! - NOT binds tighter than a comparison.
//! - What is absent is unknown. `a = b` is unknown without `a`, false without `b`, and true without both. `CONTAINS`,
//!   `STARTSWITH`, `ENDSWITH` and their negations are false instead, also when the text looked for is empty.
//! - `0.0` is refused, and so is a whole number with a leading zero.
//!
//! What Apache compiles and this module refuses, so that no verdict ever differs:
//!
//! - Text after a complete expression. Apache ignores it: `a LIKE 'x'` is the condition `a` there, `a = 1 b = 2` is
//!   `a = 1`. A line comment without an end of line is no such text.
//! - More than [`MAXIMUM_EXPRESSION_BYTES`], [`MAXIMUM_LIST_LENGTH`] or [`MAXIMUM_NESTING`]. Apache's only limit is the
//!   stack of a thread.
//!
//! Digits outside ASCII are those of Java 17; an older or newer virtual machine knows fewer or more.

mod condition;
mod error;
mod lexer;
mod number;
mod parser;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod table;
mod text;
mod value;

use std::collections::BTreeSet;

pub use error::Error;

/// The longest expression, in bytes.
pub const MAXIMUM_EXPRESSION_BYTES: usize = 16 * 1024;

/// The most texts in one list after IN.
pub const MAXIMUM_LIST_LENGTH: usize = 1000;

/// How deep operators, and how deep parentheses, NOT and signs may nest.
pub const MAXIMUM_NESTING: usize = 64;

/// A compiled SQL92 expression.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    condition: condition::Condition,
    properties: BTreeSet<Box<str>>,
}

/// What an expression is for a message. Only [`Verdict::True`] keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The message is kept.
    True,
    /// It is not.
    False,
    /// A property that decides is absent.
    Unknown,
    /// A property does not hold what a comparison needs; in a broker an exception.
    Failed(Fault),
}

/// A comparison that fails for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct Fault {
    /// Where the operator of the comparison is, in bytes from the start of the expression.
    pub position: usize,
    /// Why it fails.
    pub reason: Reason,
}

/// Why a comparison fails for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Beside a whole number within 32 bits stands a text that is none.
    #[error("the text is no whole number within 32 bits: compare it with a number that has a point to allow others")]
    NotAnInteger,
    /// Beside a whole number within 64 bits stands a text that is none.
    #[error("the text is no whole number within 64 bits: compare it with a number that has a point to allow others")]
    NotALong,
    /// A text is to be ordered, or compared with a number that has a point, and is no number.
    #[error("the text is no number")]
    NotADouble,
    /// TRUE, FALSE or a condition stands left of a text.
    #[error("a boolean cannot be compared with a text on its right: write the property on the left")]
    BooleanBeforeText,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`Error`], with the position where there is one.
    pub fn parse(expression: &str) -> Result<Self, Error> {
        if expression.len() > MAXIMUM_EXPRESSION_BYTES {
            return Err(Error::TooLong(expression.len()));
        }
        let (condition, properties) = parser::parse(expression)?;
        Ok(Self { condition, properties })
    }

    /// Whether a message is kept. `property` gives the bytes of a property of the message, if it has it; bytes that are
    /// no UTF-8 are read as Java reads them.
    pub fn matches<'p>(&self, property: impl Fn(&str) -> Option<&'p [u8]>) -> bool {
        self.explain(property) == Verdict::True
    }

    /// What the expression is for a message, with the reason when it fails. See [`Expression::matches`].
    pub fn explain<'p>(&self, property: impl Fn(&str) -> Option<&'p [u8]>) -> Verdict {
        match self.condition.evaluate(&|name| property(name)) {
            Ok(Some(true)) => Verdict::True,
            Ok(Some(false)) => Verdict::False,
            Ok(None) => Verdict::Unknown,
            Err(fault) => Verdict::Failed(fault),
        }
    }

    /// The names of the properties that it reads, in order.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(AsRef::as_ref)
    }
}

impl std::str::FromStr for Expression {
    type Err = Error;

    fn from_str(expression: &str) -> Result<Self, Self::Err> {
        Self::parse(expression)
    }
}
