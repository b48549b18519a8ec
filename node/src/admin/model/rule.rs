//! `POST /v1/rules:test`: rules, one message, and what each rule says of it.

use std::collections::BTreeMap;

use causeway_rules::event::BodyFormat;
use serde::{Deserialize, Serialize};

/// Rules and the message or event that they are tried on; exactly one of `message` and `event`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleTest {
    /// The rules; a message is kept if all of them keep it.
    pub filter: RuleFilter,
    /// A message, by its parts.
    #[serde(default)]
    pub message: Option<RuleMessage>,
    /// The JSON text of a CloudEvent. Its properties are those in `data.systemProperties` and `data.userProperties`.
    #[serde(default)]
    pub event: Option<String>,
}

/// At least one rule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleFilter {
    /// A tag expression: `*`, or tags joined by `||`.
    pub tag: Option<String>,
    /// An SQL92 expression over properties.
    pub sql: Option<String>,
    /// The JSON text of an event pattern.
    pub pattern: Option<String>,
}

/// A message that a source could hold. What is left out is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleMessage {
    /// The region label of the source instance.
    pub region: String,
    /// The name of the source instance.
    pub instance: String,
    /// The topic.
    pub topic: String,
    /// The tag, which is the property `TAGS`.
    pub tag: Option<String>,
    /// The keys, which are the property `KEYS`.
    pub keys: Option<String>,
    /// Every other property.
    pub properties: BTreeMap<String, String>,
    /// The body.
    pub body: String,
    /// What `data.body` of its event is.
    pub body_format: RuleBodyFormat,
}

/// What `data.body` of an event is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleBodyFormat {
    /// The body as a string.
    #[default]
    Text,
    /// The JSON value that the body is the text of.
    Json,
    /// The body in base64.
    Binary,
}

impl From<RuleBodyFormat> for BodyFormat {
    fn from(format: RuleBodyFormat) -> Self {
        match format {
            RuleBodyFormat::Text => Self::Text,
            RuleBodyFormat::Json => Self::Json,
            RuleBodyFormat::Binary => Self::Binary,
        }
    }
}

/// What the rules say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTestAnswer {
    /// Failed if a rule cannot judge the message; otherwise kept if every rule keeps it.
    pub outcome: RuleOutcome,
    /// Each rule by itself, in the order in which they are applied.
    pub rules: Vec<RuleVerdict>,
}

/// What one rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleVerdict {
    /// Which.
    pub rule: RuleKind,
    /// What.
    pub outcome: RuleOutcome,
    /// Why, for people.
    pub why: String,
}

/// The kinds of rules that leave messages out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A tag expression.
    Tag,
    /// An SQL92 expression.
    Sql,
    /// An event pattern.
    Pattern,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// It passes.
    Kept,
    /// It does not.
    LeftOut,
    /// The rule cannot judge it: its body is not what the body format says.
    Failed,
}
