//! A compiled expression: conditions over operands, and what they are for a message.
//!
//! Logic has three values, and the unknown one is `None` here, as NULL is the absence of a value. A condition may also
//! fail; then the rest of the expression does not count, whatever it is.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::text::decode;
use super::value::Value;
use super::{Fault, Reason};

/// What gives the bytes of a property.
pub(super) type Lookup<'l, 'v> = &'l dyn Fn(&str) -> Option<&'v [u8]>;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Constant(Constant),
    Property(Box<str>),
    /// The opposite of a number. A property has none, because it is a text.
    Negated(Box<Operand>),
    Condition(Box<Condition>),
}

/// A value that stands in the expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Constant {
    Text(Box<str>),
    Integer(i32),
    Long(i64),
    Double(f64),
    Boolean(bool),
    Null,
}

/// What is true, false or unknown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Constant(Option<bool>),
    /// A property alone is false, because a text is not TRUE; without a value it is unknown.
    Property(Box<str>),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    IsNull(Operand),
    Equal {
        left: Operand,
        right: Operand,
        position: usize,
    },
    Ordered {
        left: Operand,
        order: Order,
        right: Operand,
        position: usize,
    },
    Between {
        value: Operand,
        negated: bool,
        low: Operand,
        high: Operand,
        position: usize,
    },
    Search {
        value: Operand,
        negated: bool,
        place: Place,
        text: Box<str>,
    },
    In {
        property: Box<str>,
        negated: bool,
        /// Sorted.
        texts: Box<[Box<str>]>,
    },
}

/// Which order of two operands is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where a text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

impl Constant {
    /// None for NULL.
    pub(super) fn value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Integer(value) => Value::Integer(*value),
            Self::Long(value) => Value::Long(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Null => return None,
        })
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Long(_) | Self::Double(_))
    }

    /// Whether it is TRUE, FALSE or NULL, which are conditions too.
    pub(super) fn is_condition(&self) -> bool {
        matches!(self, Self::Boolean(_) | Self::Null)
    }
}

impl Operand {
    fn evaluate<'v>(&'v self, property: Lookup<'_, 'v>) -> Result<Option<Value<'v>>, Fault> {
        match self {
            Self::Constant(constant) => Ok(constant.value()),
            Self::Property(name) => Ok(property(name).map(|bytes| Value::Text(decode(bytes)))),
            Self::Negated(operand) => Ok(operand.evaluate(property)?.and_then(Value::negated)),
            Self::Condition(condition) => Ok(condition.evaluate(property)?.map(Value::Boolean)),
        }
    }
}

impl Condition {
    /// What the condition is for a message.
    pub(super) fn evaluate<'v>(&'v self, property: Lookup<'_, 'v>) -> Result<Option<bool>, Fault> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::Property(name) => Ok(property(name).map(|_| false)),
            Self::Not(condition) => Ok(condition.evaluate(property)?.map(|value| !value)),
            Self::All(conditions) => until(false, conditions, property),
            Self::Any(conditions) => until(true, conditions, property),
            Self::IsNull(operand) => Ok(Some(operand.evaluate(property)?.is_none())),
            Self::Equal { left, right, position } => match (left.evaluate(property)?, right.evaluate(property)?) {
                (Some(left), Some(right)) => {
                    let order = left.compare(&right).map_err(at(*position))?;
                    Ok(Some(order == Ordering::Equal))
                }
                (None, None) => Ok(Some(true)),
                (None, Some(_)) => Ok(None),
                (Some(_), None) => Ok(Some(false)),
            },
            Self::Ordered { left, order, right, position } => {
                let Some(left) = left.evaluate(property)? else { return Ok(None) };
                let Some(right) = right.evaluate(property)? else { return Ok(None) };
                Ok(Some(order.holds(left.order(&right).map_err(at(*position))?)))
            }
            Self::Between { value, negated, low, high, position } => {
                let Some(value) = value.evaluate(property)? else { return Ok(None) };
                let mut unknown = false;
                for (limit, outside) in [(low, Ordering::Less), (high, Ordering::Greater)] {
                    match limit.evaluate(property)? {
                        Some(limit) if value.order(&limit).map_err(at(*position))? == outside => {
                            return Ok(Some(*negated));
                        }
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
                Ok((!unknown).then_some(!negated))
            }
            // An empty text is in no other one, and not in none either; the value does not matter then.
            Self::Search { text, .. } if text.is_empty() => Ok(Some(false)),
            Self::Search { value, negated, place, text } => match value.evaluate(property)? {
                Some(Value::Text(value)) => Ok(Some(place.finds(text, &value) != *negated)),
                _ => Ok(Some(false)),
            },
            Self::In { property: name, negated, texts } => Ok(property(name).map(|bytes| {
                let value = decode(bytes);
                texts.binary_search_by(|text| (**text).cmp(&*value)).is_ok() != *negated
            })),
        }
    }
}

impl Order {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Place {
    fn finds(self, text: &str, value: &str) -> bool {
        match self {
            Self::Anywhere => value.contains(text),
            Self::Start => value.starts_with(text),
            Self::End => value.ends_with(text),
        }
    }
}

/// Evaluates until one condition has the value that decides; later ones are not looked at.
fn until<'v>(decisive: bool, conditions: &'v [Condition], property: Lookup<'_, 'v>) -> Result<Option<bool>, Fault> {
    let mut unknown = false;
    for condition in conditions {
        match condition.evaluate(property)? {
            Some(value) if value == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok((!unknown).then_some(!decisive))
}

fn at(position: usize) -> impl Fn(Reason) -> Fault {
    move |reason| Fault { position, reason }
}
