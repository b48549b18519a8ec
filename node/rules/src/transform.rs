//! The transform of a stream: what becomes of body, properties, keys, tag and sharding key of a message.
//!
//! Each of these [`OutgoingField`]s has a form. `CONSTANT` is the Value itself. `JSONPATH` is the value that a path
//! names: a string without its quotes, anything else as JSON. `TEMPLATE` is a text with `${name}`, `${name:-default}`
//! and `$${` for the text `${`; the Value says what the names stand for, in a flat JSON object of paths and literals.
//! `ORIGINAL` is the whole event as JSON. A field that is not specified stays as it is in the source message, and a
//! stream without a transform never comes here.
//!
//! In a template that is JSON, what stands in quotes stays a string and is escaped, and what stands without quotes
//! becomes a JSON value. The member `EB_SYS_EMBED_OBJECT` is replaced by the members of the object that its variable
//! holds, in whatever object it stands; of the same name the member that the template writes wins.
//!
//! | no value: a missing path, or null | result |
//! |---|---|
//! | `JSONPATH`, body | missing: [`RecordError::NoBody`]; null: the text `null` |
//! | `JSONPATH`, properties | no user properties |
//! | `JSONPATH`, another field | the message has none |
//! | placeholder with a default | the default |
//! | placeholder without | nothing in text and in a JSON string, `null` as a JSON value |
//! | marker | nothing is spread, the marker is gone |
//!
//! An empty text is an empty body, but never a key, a tag or a sharding key: the message has none then.
//!
//! Properties are a JSON object, or a blank text for none. A member that is a string is the value of a property,
//! numbers and truth values are their text, arrays and objects their JSON; null and empty strings are left out. The
//! names that RocketMQ keeps for itself, save `UNIQ_KEY`, and those of this cluster's provenance cannot be set: a
//! specification that writes one has a fault, and one that a message brings is left out. Keys, tag, sharding key and
//! properties share one limit.
//!
//! What EventBridge's Apache code does otherwise (its results are quoted in the tests):
//!
//! | case | Apache | here | why |
//! |---|---|---|---|
//! | `JSONPATH` without a definite path | its text, for every message | a fault | see [`crate::path`] |
//! | path `$.data.body` for the body | the value as text | the body of the source, byte for byte | nothing is lost, nothing is parsed |
//! | a number such as `1.50` | `1.5` | `1.50` | a copy does not change what it copies |
//! | path `$` | leaves members out that are null | the whole event | as `ORIGINAL` |
//! | JSON null | the text `null` | no value, for the body the text `null` | nobody searches for the key `null` |
//! | placeholder without a value | stays in the text | nothing | a placeholder is not data |
//! | placeholder of no variable | stays in the text, or is its default | a fault; `${:-text}` is its text | it is a slip |
//! | value with `${name}` in it | is replaced again | stays | messages do not write templates |
//! | placeholder without `}` | stays in the text | a fault | it is a slip |
//! | value in a JSON string | not escaped | escaped | the result is JSON |
//! | template that begins like JSON and is not | text | a fault; a text begins with `${:-}` | results would be broken one by one |
//! | marker in an inner object | the inner object is the whole result | is replaced where it stands | |
//! | marker and template have a name in common | the marker wins | the template wins | a message does not overrule the stream |
//! | marker without a value | the template stays as it is | the marker is removed | a marker is not data |
//! | `ORIGINAL` for another field | the whole event | a fault | an event is no key |

pub use fault::{Fault, Member, OutgoingField, Reason, RecordError};

use crate::event::{Fields, has_separator};
use crate::json::Step;
use crate::path::Path;
use compile::Compiler;
use output::not_null;
use template::{Template, Unwritten};

mod compile;
mod fault;
mod json_template;
mod output;
mod placeholder;
mod properties;
mod template;
#[cfg(test)]
mod tests;
mod variables;
#[cfg(test)]
mod vectors;

/// The longest Value and the longest Template, in characters.
pub const MAXIMUM_CHARACTERS: usize = 10_240;

/// The member of a template that is replaced by the members of an object.
pub const MARKER: &str = "EB_SYS_EMBED_OBJECT";

/// How much longer than the properties their JSON may be.
const JSON_FACTOR: usize = 8;

/// How much a target takes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest body, in bytes.
    pub body_bytes: usize,
    /// The longest properties with keys, tag and sharding key, as they are stored: with names and separators, in bytes.
    pub properties_bytes: usize,
}

/// What a stream's specification says of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FieldSpecification<'a> {
    /// `ORIGINAL`, `CONSTANT`, `JSONPATH` or `TEMPLATE`, in any case.
    pub form: Option<&'a str>,
    /// The constant, the path, or the variables.
    pub value: Option<&'a str>,
    /// The template.
    pub template: Option<&'a str>,
}

/// What a stream's specification says of its messages; `None` keeps what the source message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Specification<'a> {
    /// The body.
    pub body: Option<FieldSpecification<'a>>,
    /// The user properties.
    pub properties: Option<FieldSpecification<'a>>,
    /// The keys.
    pub keys: Option<FieldSpecification<'a>>,
    /// The tag.
    pub tags: Option<FieldSpecification<'a>>,
    /// The sharding key; without a form it is a constant.
    pub sharding_key: Option<FieldSpecification<'a>>,
}

/// What becomes of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change {
    /// It is as in the source message.
    #[default]
    Keep,
    /// The message has none.
    Remove,
    /// It is this text, which is not empty.
    Set(String),
}

/// What an outgoing message has in place of what the source message has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// The body; `None` for that of the source message.
    pub body: Option<Vec<u8>>,
    /// All user properties, each name once, none of them empty; `None` for those of the source message. None of
    /// RocketMQ's own is among them but `UNIQ_KEY`.
    pub properties: Option<Vec<(String, String)>>,
    /// The keys.
    pub keys: Change,
    /// The tag.
    pub tags: Change,
    /// The sharding key.
    pub sharding_key: Change,
}

/// A compiled transform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    limits: Limits,
    body: Option<Rule>,
    properties: Option<Rule>,
    keys: Option<Rule>,
    tags: Option<Rule>,
    sharding_key: Option<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Constant(String),
    Path(Path),
    Template(Template),
}

impl Transform {
    /// Compiles a specification.
    ///
    /// # Errors
    /// Every [`Fault`] of the specification, in the order of its fields.
    pub fn parse(specification: &Specification<'_>, limits: Limits) -> Result<Self, Vec<Fault>> {
        let mut compiler = Compiler { limits, faults: Vec::new() };
        let mut rule = |field, specification: &Option<FieldSpecification<'_>>| {
            specification.as_ref().and_then(|specification| compiler.field(field, specification))
        };
        let transform = Self {
            limits,
            body: rule(OutgoingField::Body, &specification.body).filter(|rule| !rule.is_body_of_source()),
            properties: rule(OutgoingField::Properties, &specification.properties),
            keys: rule(OutgoingField::Keys, &specification.keys),
            tags: rule(OutgoingField::Tags, &specification.tags),
            sharding_key: rule(OutgoingField::ShardingKey, &specification.sharding_key),
        };
        if compiler.faults.is_empty() { Ok(transform) } else { Err(compiler.faults) }
    }

    /// Whether the body of a message has to be known.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        let rules = [&self.body, &self.properties, &self.keys, &self.tags, &self.sharding_key];
        rules.into_iter().flatten().any(|rule| match rule {
            Rule::Constant(_) => false,
            Rule::Path(path) => path.needs_body(),
            Rule::Template(template) => template.needs_body(),
        })
    }

    /// The outgoing message of an event.
    ///
    /// # Errors
    /// Why there is none; another message may have one.
    pub fn apply(&self, event: &impl Fields) -> Result<Outgoing, RecordError> {
        let outgoing = Outgoing {
            body: self.body.as_ref().map(|rule| body(rule, event, self.limits)).transpose()?,
            properties: self.properties.as_ref().map(|rule| user_properties(rule, event, self.limits)).transpose()?,
            keys: change(OutgoingField::Keys, self.keys.as_ref(), event, self.limits)?,
            tags: change(OutgoingField::Tags, self.tags.as_ref(), event, self.limits)?,
            sharding_key: change(OutgoingField::ShardingKey, self.sharding_key.as_ref(), event, self.limits)?,
        };
        if outgoing.properties_bytes() > self.limits.properties_bytes {
            return Err(RecordError::PropertiesTooLong { limit: self.limits.properties_bytes });
        }
        Ok(outgoing)
    }
}

impl Outgoing {
    /// The bytes of what is set here in a property string.
    fn properties_bytes(&self) -> usize {
        let stored = |name: &str, value: &str| name.len().saturating_add(value.len()).saturating_add(2);
        let fields = [("KEYS", &self.keys), ("TAGS", &self.tags), ("__SHARDINGKEY", &self.sharding_key)];
        let fields = fields.into_iter().map(|(name, change)| match change {
            Change::Set(value) => stored(name, value),
            Change::Keep | Change::Remove => 0,
        });
        let properties = self.properties.iter().flatten().map(|(name, value)| stored(name, value));
        fields.chain(properties).fold(0, usize::saturating_add)
    }
}

impl Rule {
    fn is_body_of_source(&self) -> bool {
        matches!(self, Self::Path(path) if *path.steps() == [Step::from("data"), Step::from("body")])
    }

    /// The text for an event; none for a path without a value, or with null unless that is wanted as text.
    fn text(&self, event: &impl Fields, limit: usize, null_is_text: bool) -> Result<Option<String>, Unwritten> {
        let text = match self {
            Self::Constant(text) => text.clone(),
            Self::Template(template) => template.write(event, limit)?,
            Self::Path(path) => {
                let value = path.find(event).map_err(Unwritten::Event)?;
                match if null_is_text { value } else { value.and_then(not_null) } {
                    Some(value) => value.to_text().into_owned(),
                    None => return Ok(None),
                }
            }
        };
        if text.len() > limit { Err(Unwritten::TooLong) } else { Ok(Some(text)) }
    }
}

fn unwritten(unwritten: Unwritten, field: OutgoingField, limits: Limits) -> RecordError {
    match unwritten {
        Unwritten::Event(error) => RecordError::Event(error),
        Unwritten::NotSpreadable(variable) => RecordError::NotSpreadable { field, variable },
        Unwritten::TooLong if field == OutgoingField::Body => RecordError::BodyTooLong { limit: limits.body_bytes },
        Unwritten::TooLong => RecordError::PropertiesTooLong { limit: limits.properties_bytes },
    }
}

fn body(rule: &Rule, event: &impl Fields, limits: Limits) -> Result<Vec<u8>, RecordError> {
    let text = rule.text(event, limits.body_bytes, true);
    let text = text.map_err(|error| unwritten(error, OutgoingField::Body, limits))?;
    text.map(String::into_bytes).ok_or(RecordError::NoBody)
}

fn user_properties(rule: &Rule, event: &impl Fields, limits: Limits) -> Result<Vec<(String, String)>, RecordError> {
    // As JSON they can be longer than as properties: a byte can be six, and what is left out counts.
    let text = rule.text(event, limits.properties_bytes.saturating_mul(JSON_FACTOR), false);
    let text = text.map_err(|error| unwritten(error, OutgoingField::Properties, limits))?;
    properties::parse(&text.unwrap_or_default())
}

fn change(
    field: OutgoingField,
    rule: Option<&Rule>,
    event: &impl Fields,
    limits: Limits,
) -> Result<Change, RecordError> {
    let Some(rule) = rule else { return Ok(Change::Keep) };
    let text = rule.text(event, limits.properties_bytes, false).map_err(|error| unwritten(error, field, limits))?;
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Change::Remove) };
    if has_separator(&text) {
        return Err(RecordError::Separator { field, name: None });
    }
    Ok(Change::Set(text))
}
