//! Values that are compared, and what becomes of two of different kinds.
//!
//! A property is always a text. The other side decides how the text is read: beside a whole number that fits 32 bits
//! it must be one too, and so on. A text that cannot be read that way is a [`Reason`] to keep no message, as it is an
//! exception in the broker.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Reason;
use super::number::{compare as compare_doubles, double, integer, long, nearest};

/// A value; NULL is the absence of one.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'v> {
    Text(Cow<'v, str>),
    /// A whole number that was written within 32 bits.
    Integer(i32),
    /// A whole number beyond them.
    Long(i64),
    Double(f64),
    Boolean(bool),
}

impl Value<'_> {
    /// The opposite of a number; there is none of a text or a boolean.
    pub(super) fn negated(self) -> Option<Self> {
        match self {
            Self::Integer(value) => Some(Self::Integer(value.wrapping_neg())),
            Self::Long(value) => Some(Self::Long(value.wrapping_neg())),
            Self::Double(value) => Some(Self::Double(-value)),
            Self::Text(_) | Self::Boolean(_) => None,
        }
    }

    /// How this value compares with another one for equality. A number and a boolean are never equal.
    pub(super) fn compare(&self, other: &Self) -> Result<Ordering, Reason> {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Ok(left.cmp(right)),
            (Self::Text(left), Self::Boolean(right)) => Ok(left.eq_ignore_ascii_case("true").cmp(right)),
            (Self::Boolean(left), Self::Boolean(right)) => Ok(left.cmp(right)),
            // The broker converts the wrong side here, and fails.
            (Self::Boolean(_), Self::Text(_)) => Err(Reason::BooleanBeforeText),
            (Self::Boolean(_), _) | (_, Self::Boolean(_)) => Ok(Ordering::Less),
            (Self::Text(text), number) => Ok(compare_numbers(&read(text, number)?, number)),
            (number, Self::Text(text)) => Ok(compare_numbers(number, &read(text, number)?)),
            (left, right) => Ok(compare_numbers(left, right)),
        }
    }

    /// The order of this value and another one. Two texts are ordered as the numbers that they hold.
    pub(super) fn order(&self, other: &Self) -> Result<Ordering, Reason> {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Ok(compare_doubles(read_double(left)?, read_double(right)?)),
            _ => self.compare(other),
        }
    }
}

fn read(text: &str, beside: &Value<'_>) -> Result<Value<'static>, Reason> {
    match beside {
        Value::Integer(_) => integer(text).map(Value::Integer).ok_or(Reason::NotAnInteger),
        Value::Long(_) => long(text).map(Value::Long).ok_or(Reason::NotALong),
        _ => read_double(text).map(Value::Double),
    }
}

fn read_double(text: &str) -> Result<f64, Reason> {
    double(text).ok_or(Reason::NotADouble)
}

fn compare_numbers(left: &Value<'_>, right: &Value<'_>) -> Ordering {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => compare_doubles(approximate(left), approximate(right)),
    }
}

fn whole(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(i64::from(*value)),
        Value::Long(value) => Some(*value),
        _ => None,
    }
}

/// A number as a double; callers have none but numbers.
fn approximate(value: &Value<'_>) -> f64 {
    match value {
        Value::Double(value) => *value,
        other => whole(other).map_or(f64::NAN, nearest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    #[test]
    fn the_other_side_decides_how_a_text_is_read() {
        use Ordering::{Equal, Greater, Less};
        use Value::{Boolean, Double, Integer, Long};
        for (left, right, expected) in [
            (text("5"), Integer(5), Ok(Equal)),
            (text("5.0"), Integer(5), Err(Reason::NotAnInteger)),
            (text("3000000000"), Integer(5), Err(Reason::NotAnInteger)),
            (text("3000000000"), Long(3_000_000_000), Ok(Equal)),
            (text("x"), Long(3_000_000_000), Err(Reason::NotALong)),
            (text(" 5 "), Double(5.0), Ok(Equal)),
            (text("x"), Double(5.0), Err(Reason::NotADouble)),
            (Integer(6), text("5"), Ok(Greater)),
            (Double(4.0), text("5"), Ok(Less)),
            (text("TRUE"), Boolean(true), Ok(Equal)),
            (text("yes"), Boolean(true), Ok(Less)),
            (Boolean(true), text("true"), Err(Reason::BooleanBeforeText)),
            (text("5"), text("5.0"), Ok(Greater.reverse())),
        ] {
            assert_eq!(left.compare(&right), expected, "{left:?} {right:?}");
        }
    }

    #[test]
    fn texts_are_ordered_as_numbers() {
        assert_eq!(text("10").order(&text("9")), Ok(Ordering::Greater));
        assert_eq!(text("a").order(&text("9")), Err(Reason::NotADouble));
        assert_eq!(text("9").order(&text("")), Err(Reason::NotADouble));
    }

    #[test]
    fn numbers_meet_in_the_wider_kind() {
        use Value::{Boolean, Double, Integer, Long};
        assert_eq!(Integer(5).compare(&Long(5)), Ok(Ordering::Equal));
        assert_eq!(Long(i64::MAX).compare(&Double(9_223_372_036_854_775_808.0)), Ok(Ordering::Equal));
        assert_eq!(Integer(0).compare(&Double(-0.0)), Ok(Ordering::Greater));
        assert_eq!(Integer(5).compare(&Boolean(true)), Ok(Ordering::Less));
        assert_eq!(Boolean(true).compare(&Integer(0)), Ok(Ordering::Less));
    }
}
