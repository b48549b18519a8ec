//! What is asked of one field, compiled.

use std::collections::BTreeSet;

use super::block::Block;
use super::numeric::Comparison;
use crate::event::Field;
use crate::json::{Json, Number};

/// Everything that a field may be; one of it is enough.
#[derive(Debug, Clone, Default)]
pub(super) struct AnyOf {
    pub(super) values: Values,
    /// Whether it may be there, whatever it is.
    pub(super) present: bool,
    /// Whether it may be missing.
    pub(super) absent: bool,
    pub(super) conditions: Vec<Condition>,
}

/// A set of values that are not arrays and objects. Equality is that of their text: 300 equals "300" and not 300.0.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    texts: BTreeSet<Box<str>>,
    null: bool,
}

/// A condition on a value that is there.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    Not(Values),
    NotPrefix(Box<str>),
    NotSuffix(Box<str>),
    /// Every one of them.
    Numeric(Box<[Comparison]>),
    Within(Block),
}

/// A value of an event that is no array and no object.
#[derive(Debug, Clone, Copy)]
enum Scalar<'v> {
    Null,
    Bool(bool),
    Number(&'v Number),
    Text(&'v str),
    /// The value of a property: text that may stand for a number, because it cannot be one.
    Property(&'v str),
}

impl AnyOf {
    /// Whether a field is what may be. Of an array one element must be; elements that are arrays or objects are none.
    pub(super) fn holds(&self, field: Option<&Field<'_>>, is_property: bool) -> bool {
        let scalar = |json| Scalar::of(json, is_property).is_some_and(|scalar| self.holds_for(scalar));
        match field {
            None => self.absent,
            Some(_) if self.present => true,
            Some(Field::Text(text)) => self.holds_for(Scalar::text(text, is_property)),
            Some(Field::Json(json)) => match &**json {
                Json::Array(elements) => elements.iter().any(scalar),
                other => scalar(other),
            },
        }
    }

    fn holds_for(&self, value: Scalar<'_>) -> bool {
        self.values.contains(value) || self.conditions.iter().any(|condition| condition.holds(value))
    }
}

impl Values {
    /// Adds a value; `false` for an array or object.
    pub(super) fn insert(&mut self, value: &Json) -> bool {
        match value {
            Json::Null => self.null = true,
            Json::Array(_) | Json::Object(_) => return false,
            Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
                self.texts.insert(value.to_text().into());
            }
        }
        true
    }

    fn contains(&self, value: Scalar<'_>) -> bool {
        match value {
            Scalar::Null => self.null,
            Scalar::Bool(value) => self.texts.contains(if value { "true" } else { "false" }),
            Scalar::Number(number) => self.texts.contains(number.as_str()),
            Scalar::Text(text) | Scalar::Property(text) => self.texts.contains(text),
        }
    }
}

impl Condition {
    fn holds(&self, value: Scalar<'_>) -> bool {
        match self {
            Self::Prefix(prefix) => value.is_text(|text| text.starts_with(&**prefix)),
            Self::Suffix(suffix) => value.is_text(|text| text.ends_with(&**suffix)),
            Self::Contains(part) => value.is_text(|text| text.contains(&**part)),
            Self::Not(values) => !values.contains(value),
            Self::NotPrefix(prefix) => !value.is_text(|text| text.starts_with(&**prefix)),
            Self::NotSuffix(suffix) => !value.is_text(|text| text.ends_with(&**suffix)),
            Self::Numeric(comparisons) => {
                value.number().is_some_and(|number| comparisons.iter().all(|comparison| comparison.holds(number)))
            }
            Self::Within(block) => value.is_text(|text| block.contains(text)),
        }
    }
}

impl<'v> Scalar<'v> {
    fn of(json: &'v Json, is_property: bool) -> Option<Self> {
        match json {
            Json::Null => Some(Self::Null),
            Json::Bool(value) => Some(Self::Bool(*value)),
            Json::Number(number) => Some(Self::Number(number)),
            Json::Text(text) => Some(Self::text(text, is_property)),
            Json::Array(_) | Json::Object(_) => None,
        }
    }

    fn text(text: &'v str, is_property: bool) -> Self {
        if is_property { Self::Property(text) } else { Self::Text(text) }
    }

    fn is_text(self, test: impl FnOnce(&str) -> bool) -> bool {
        match self {
            Self::Text(text) | Self::Property(text) => test(text),
            Self::Null | Self::Bool(_) | Self::Number(_) => false,
        }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number.to_double()),
            Self::Property(text) => Number::double(text),
            Self::Null | Self::Bool(_) | Self::Text(_) => None,
        }
    }
}
