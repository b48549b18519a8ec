//! Why a transform cannot be made, and why a message cannot be transformed.

use std::fmt;

use crate::{event, json, path};

use super::template::MAXIMUM_DEPTH;
use super::{MARKER, MAXIMUM_CHARACTERS};

/// What a transform sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutgoingField {
    /// The body.
    Body,
    /// The user properties.
    Properties,
    /// The keys.
    Keys,
    /// The tag.
    Tags,
    /// The sharding key.
    ShardingKey,
}

/// As the API calls it.
impl fmt::Display for OutgoingField {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Body => "Body",
            Self::Properties => "Properties",
            Self::Keys => "Keys",
            Self::Tags => "Tags",
            Self::ShardingKey => "ShardingKey",
        })
    }
}

/// The members of a field's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member {
    /// `Form`.
    Form,
    /// `Value`.
    Value,
    /// `Template`.
    Template,
}

/// A fault of a specification: where it is, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field.
    pub field: OutgoingField,
    /// The member of its specification.
    pub member: Member,
    /// The variable, for a fault in what it stands for.
    pub variable: Option<String>,
    /// Where it is: bytes from the start of the member, or of what the variable stands for.
    pub position: Option<usize>,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:?}", self.field, self.member)?;
        if let Some(variable) = &self.variable {
            write!(out, ", variable {variable}")?;
        }
        // A path says its position itself.
        if let (Some(position), false) = (self.position, matches!(self.reason, Reason::Path(_) | Reason::Variable(_))) {
            write!(out, ", at byte {position}")?;
        }
        write!(out, ": {}", self.reason)
    }
}

impl std::error::Error for Fault {}

/// What is wrong with a specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no Form.
    #[error("write one of ORIGINAL, CONSTANT, JSONPATH, TEMPLATE")]
    NoForm,
    /// There is no such Form.
    #[error("{0:?} is no form: write one of ORIGINAL, CONSTANT, JSONPATH, TEMPLATE")]
    UnknownForm(String),
    /// ORIGINAL for another field than the body.
    #[error("ORIGINAL is the whole event and is for the Body: leave the field out to keep that of the source message")]
    OriginalIsForTheBody,
    /// JSONPATH without a path.
    #[error("write a path, as in $.data.body")]
    NoPath,
    /// TEMPLATE without a template.
    #[error("write the text with ${{name}} where the value of a variable belongs")]
    NoTemplate,
    /// Longer than [`MAXIMUM_CHARACTERS`].
    #[error("{0} characters are more than {MAXIMUM_CHARACTERS}")]
    TooLong(usize),
    /// The path of the form JSONPATH.
    #[error("{0}; for a fixed text use the form CONSTANT")]
    Path(path::Error),
    /// The path of a variable.
    #[error("{0}; a fixed text that begins with $ is written into the Template")]
    Variable(path::Error),
    /// The variables are no JSON.
    #[error("variables are a JSON object, as in {{\"name\":\"$.data.body\"}}: {0}")]
    ValueNotJson(json::Error),
    /// The variables are no object.
    #[error("variables are a JSON object, as in {{\"name\":\"$.data.body\"}}")]
    ValueNotAnObject,
    /// A variable is null, an array or an object.
    #[error("a variable is a path or a fixed text, number or truth value")]
    VariableNotFlat,
    /// Two variables have one name.
    #[error("there is another variable of that name")]
    VariableTwice,
    /// A placeholder does not end.
    #[error("the placeholder has no }}: close it, or write $${{ for the text ${{")]
    NotClosed,
    /// `${}`.
    #[error("the placeholder has no name: write that of a variable, or $${{ for the text ${{")]
    NoName,
    /// A placeholder of no variable.
    #[error("there is no variable {0:?}: add it to the Value, or write $${{ for the text ${{")]
    UnknownVariable(String),
    /// The template begins as JSON and is not.
    #[error("the template begins like JSON, but {0} is missing here; a text that is no JSON begins with ${{:-}}")]
    TemplateNotJson(&'static str),
    /// A template is nested too deep.
    #[error("arrays and objects of a template are nested at most {MAXIMUM_DEPTH} deep")]
    TooDeep,
    /// The default of a placeholder that stands for a JSON value is no JSON.
    #[error("without quotes around the placeholder its default is JSON up to the first }}, as in ${{name:-0}}")]
    DefaultNotJson,
    /// An object has two members of one name.
    #[error("the object has another member {0:?}")]
    NameTwice(String),
    /// The marker's value is not one placeholder.
    #[error("the value of {MARKER} is one placeholder without a default, as in \"${{userProperties}}\"")]
    MarkerValue,
    /// Properties that can never be an object.
    #[error("properties are a JSON object, as in {{\"name\":\"${{variable}}\"}}")]
    PropertiesNotAnObject,
    /// A property that RocketMQ or this cluster sets.
    #[error("the property {0:?} cannot be set: RocketMQ keeps the name for itself, or this cluster does")]
    ReservedProperty(String),
    /// A property that is set otherwise.
    #[error("the property {0:?} is set by the field {1}")]
    OwnField(String, OutgoingField),
    /// What holds no variable fails for every message.
    #[error("every message would be refused: {0}")]
    Never(RecordError),
}

/// Why one message cannot be transformed; its own fault, not that of the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The body is needed and cannot be had.
    #[error(transparent)]
    Event(#[from] event::Error),
    /// The path of the body names nothing.
    #[error("the path of the body names nothing in this message")]
    NoBody,
    /// The body would be too long.
    #[error("the body would be longer than {limit} bytes")]
    BodyTooLong {
        /// The limit.
        limit: usize,
    },
    /// Properties, keys, tag and sharding key would be too long together.
    #[error("the properties with keys, tag and sharding key would be longer than {limit} bytes")]
    PropertiesTooLong {
        /// The limit.
        limit: usize,
    },
    /// The properties are no JSON.
    #[error("the properties are no JSON: {0}")]
    PropertiesNotJson(json::Error),
    /// The properties are JSON, but no object.
    #[error("the properties are JSON, but no object")]
    PropertiesNotAnObject,
    /// A property without a name.
    #[error("a property has no name")]
    NoPropertyName,
    /// A character that separates properties.
    #[error("{field} cannot hold the characters U+0001 and U+0002{}", of(name.as_deref()))]
    Separator {
        /// The field.
        field: OutgoingField,
        /// The property, for one of the properties.
        name: Option<String>,
    },
    /// What a marker should spread is no object.
    #[error("{field}: {MARKER} spreads objects, and the variable {variable:?} is none")]
    NotSpreadable {
        /// The field.
        field: OutgoingField,
        /// The variable.
        variable: String,
    },
}

fn of(name: Option<&str>) -> String {
    name.map(|name| format!(", as its property {name:?} does")).unwrap_or_default()
}
