//! The CloudEvent that stands for one message: what patterns test and transforms take their values from.
//!
//! Its shape is that of EventBridge's RocketMQ source:
//!
//! ```json
//! {"id":"7F00...","source":"acs:mq","specversion":"1.0","type":"mq:Topic:SendMessage",
//!  "datacontenttype":"application/json; charset=utf-8","subject":"acs:mq:region:account:instance%topic",
//!  "time":"2021-04-08T06:01:20.766Z","aliyunpublishtime":"2021-04-08T06:01:20.925Z","aliyunregionid":"region",
//!  "data":{"topic":"orders","msgId":"7F00...","queueId":3,"queueOffset":41,
//!          "systemProperties":{"KEYS":"k","TAGS":"paid","UNIQ_KEY":"7F00..."},
//!          "userProperties":{"region":"cn-hangzhou"},"body":"..."}}
//! ```
//!
//! | field | is |
//! |---|---|
//! | `id`, `data.msgId` | the property UNIQ_KEY, or what [`Message::offset_id`] says of a message without one |
//! | `time`, `aliyunpublishtime` | the born time, the store time; left out where RFC 3339 has no text for it |
//! | `aliyunregionid` | the region label; left out if it is empty |
//! | `data.queueId`, `data.queueOffset` | numbers; not part of EventBridge's event, which says nothing of a place |
//! | `data.systemProperties` | the properties with a name of RocketMQ ([`is_system_property`]); values are text |
//! | `data.userProperties` | the others; values are text |
//! | `data.body` | see [`BodyFormat`] |
//!
//! `aliyuneventbusname` and the account attributes are not there: a stream has no bus. Properties stand in the order of
//! their names; of a repeated one the last counts, as for every reader. What is not UTF-8 in the value of a property
//! becomes U+FFFD, as a Java consumer sees it; a property whose name is not UTF-8 is left out, because no rule can name
//! it. The body must be what the format says, or asking for it is an [`Error`] of this one message.
//!
//! Everything is worked out when it is asked for: looking at a property or an attribute never touches the body.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use system_property::{has_separator, is_system_property};

use crate::json::{self, Json, Step};

#[cfg(test)]
pub(crate) mod sample;
mod system_property;
#[cfg(test)]
mod tests;
mod time_text;

const TYPE: &str = "mq:Topic:SendMessage";
const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const MESSAGE_ID_PROPERTY: &[u8] = b"UNIQ_KEY";

/// The attributes that an event can have, in the order in which it is written.
const ATTRIBUTES: &[&str] = &[
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "subject",
    "time",
    "aliyunpublishtime",
    "aliyunregionid",
];

/// Why a field of an event cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message cannot give its body.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body should be text and is not.
    #[error("the body is not UTF-8 from byte {valid_up_to} on; the body format Binary gives such a body as base64")]
    NotText {
        /// The bytes before the first that is not UTF-8.
        valid_up_to: usize,
    },
    /// The body should be JSON and is not.
    #[error("the body is no JSON: {0}")]
    NotJson(json::Error),
}

/// Why a message cannot give its body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body cannot be read: {0}")]
pub struct BodyError(pub String);

/// What `data.body` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyFormat {
    /// The body as a string; it must be UTF-8.
    #[default]
    Text,
    /// The JSON value that the body is the text of.
    Json,
    /// A string with the body in base64 (RFC 4648, with padding).
    Binary,
}

/// One message, as its caller has it. Every method is called only when a rule needs its answer.
pub trait Message {
    /// What names the message if it has no UNIQ_KEY: the offset-based id.
    fn offset_id(&self) -> Cow<'_, str>;
    /// When the producer made it, in milliseconds since 1970.
    fn born_time(&self) -> i64;
    /// When the source stored it, in milliseconds since 1970.
    fn store_time(&self) -> i64;
    /// The source queue.
    fn queue_id(&self) -> i32;
    /// The offset in that queue.
    fn queue_offset(&self) -> i64;
    /// Names and values of the properties in order, without those that are the replicator's own.
    fn properties(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
    /// The value of a property; of a repeated one the last.
    fn property(&self, name: &[u8]) -> Option<&[u8]> {
        self.properties().filter(|property| property.0 == name).last().map(|property| property.1)
    }
    /// The body as its producer wrote it, decompressed.
    ///
    /// # Errors
    /// [`BodyError`] if it cannot be had.
    fn body(&self) -> Result<Cow<'_, [u8]>, BodyError>;
}

/// The names of where the messages of a stream come from.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The region label; may be empty.
    pub region: &'a str,
    /// The account; may be empty.
    pub account: &'a str,
    /// The instance.
    pub instance: &'a str,
    /// The topic.
    pub topic: &'a str,
}

/// What all events of one stream have in common.
#[derive(Debug, Clone)]
pub struct Source {
    region: Box<str>,
    topic: Box<str>,
    subject: Box<str>,
    body_format: BodyFormat,
}

impl Source {
    /// What makes events of messages from there, with bodies read in a format.
    #[must_use]
    pub fn new(names: Names<'_>, body_format: BodyFormat) -> Self {
        let Names { region, account, instance, topic } = names;
        let subject = format!("acs:mq:{region}:{account}:{instance}%{topic}").into();
        Self { region: region.into(), topic: topic.into(), subject, body_format }
    }
}

/// A value of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field<'e> {
    /// A string.
    Text(Cow<'e, str>),
    /// Any value.
    Json(Cow<'e, Json>),
}

impl<'e> Field<'e> {
    /// What stands for it in a text: a string without its quotes, anything else as JSON.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(json) => json.to_text(),
        }
    }

    /// The value as JSON.
    #[must_use]
    pub fn into_json(self) -> Json {
        match self {
            Self::Text(text) => Json::Text(text.into_owned()),
            Self::Json(json) => json.into_owned(),
        }
    }

    fn number(number: impl Into<i64>) -> Self {
        Self::Json(Cow::Owned(Json::Number(number.into().into())))
    }
}

/// What has fields: the event of a message, or an event that is there as JSON.
pub trait Fields {
    /// The field at the end of a path from the event; `None` if there is none.
    ///
    /// # Errors
    /// [`Error`] if the body is needed and cannot be had.
    fn field(&self, path: &[Step]) -> Result<Option<Field<'_>>, Error>;
}

impl Fields for Json {
    fn field(&self, path: &[Step]) -> Result<Option<Field<'_>>, Error> {
        Ok(self.at(path).map(|value| Field::Json(Cow::Borrowed(value))))
    }
}

/// The event of one message.
#[derive(Debug)]
pub struct Event<'m, M> {
    source: &'m Source,
    message: &'m M,
    body: OnceCell<Result<Body<'m>, Error>>,
}

#[derive(Debug)]
enum Body<'m> {
    Text(Cow<'m, str>),
    Json(Json),
}

impl<M: Message> Fields for Event<'_, M> {
    fn field(&self, path: &[Step]) -> Result<Option<Field<'_>>, Error> {
        let Some((first, rest)) = path.split_first() else {
            return self.to_json().map(|event| Some(Field::Json(Cow::Owned(event))));
        };
        match (first.member(), rest.split_first()) {
            (Some("data"), None) => self.data().map(|data| Some(Field::Json(Cow::Owned(data)))),
            (Some("data"), Some((section, rest))) => self.in_data(section.member().unwrap_or_default(), rest),
            (Some(name), None) => Ok(self.attribute(name).map(Field::Text)),
            _ => Ok(None),
        }
    }
}

impl<'m, M: Message> Event<'m, M> {
    /// The event of a message.
    pub fn new(source: &'m Source, message: &'m M) -> Self {
        Self { source, message, body: OnceCell::new() }
    }

    /// The whole event. Its `Display` is the JSON text.
    ///
    /// # Errors
    /// [`Error`] if the body cannot be had.
    pub fn to_json(&self) -> Result<Json, Error> {
        let attributes = ATTRIBUTES.iter().filter_map(|name| {
            let value = self.attribute(name)?.into_owned();
            Some(((*name).to_owned(), Json::Text(value)))
        });
        let mut members: Vec<_> = attributes.collect();
        members.push(("data".to_owned(), self.data()?));
        Ok(Json::Object(members))
    }

    fn attribute(&self, name: &str) -> Option<Cow<'_, str>> {
        match name {
            "id" => Some(self.id()),
            "source" => Some(Cow::Borrowed("acs:mq")),
            "specversion" => Some(Cow::Borrowed("1.0")),
            "type" => Some(Cow::Borrowed(TYPE)),
            "datacontenttype" => Some(Cow::Borrowed(CONTENT_TYPE)),
            "subject" => Some(Cow::Borrowed(&self.source.subject)),
            "time" => time_text::rfc3339(self.message.born_time()).map(Cow::Owned),
            "aliyunpublishtime" => time_text::rfc3339(self.message.store_time()).map(Cow::Owned),
            "aliyunregionid" => Some(Cow::Borrowed(&*self.source.region)).filter(|region| !region.is_empty()),
            _ => None,
        }
    }

    fn id(&self) -> Cow<'_, str> {
        self.message.property(MESSAGE_ID_PROPERTY).map_or_else(|| self.message.offset_id(), String::from_utf8_lossy)
    }

    fn data(&self) -> Result<Json, Error> {
        let sections = ["topic", "msgId", "queueId", "queueOffset", "systemProperties", "userProperties", "body"];
        let mut members = Vec::with_capacity(sections.len());
        for section in sections {
            if let Some(field) = self.in_data(section, &[])? {
                members.push((section.to_owned(), field.into_json()));
            }
        }
        Ok(Json::Object(members))
    }

    fn in_data(&self, section: &str, rest: &[Step]) -> Result<Option<Field<'_>>, Error> {
        let found = match (section, rest) {
            ("body", rest) => return self.in_body(rest),
            ("topic", []) => Field::Text(Cow::Borrowed(&*self.source.topic)),
            ("msgId", []) => Field::Text(self.id()),
            ("queueId", []) => Field::number(self.message.queue_id()),
            ("queueOffset", []) => Field::number(self.message.queue_offset()),
            ("systemProperties", rest) => return Ok(self.in_properties(true, rest)),
            ("userProperties", rest) => return Ok(self.in_properties(false, rest)),
            _ => return Ok(None),
        };
        Ok(Some(found))
    }

    fn in_properties(&self, system: bool, rest: &[Step]) -> Option<Field<'_>> {
        match rest {
            [] => Some(Field::Json(Cow::Owned(self.properties(system)))),
            [Step::Member(name)] if is_system_property(name) == system => {
                self.message.property(name.as_bytes()).map(|value| Field::Text(String::from_utf8_lossy(value)))
            }
            _ => None,
        }
    }

    fn properties(&self, system: bool) -> Json {
        let named = self.message.properties().filter_map(|(name, value)| Some((str::from_utf8(name).ok()?, value)));
        let wanted: BTreeMap<_, _> = named.filter(|(name, _)| is_system_property(name) == system).collect();
        let text = |value| Json::Text(String::from_utf8_lossy(value).into_owned());
        Json::Object(wanted.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect())
    }

    fn in_body(&self, rest: &[Step]) -> Result<Option<Field<'_>>, Error> {
        if !rest.is_empty() && self.source.body_format != BodyFormat::Json {
            return Ok(None);
        }
        match self.body.get_or_init(|| decode(self.message.body()?, self.source.body_format)) {
            Ok(Body::Text(text)) => Ok(Some(Field::Text(Cow::Borrowed(text)))),
            Ok(Body::Json(json)) => json.field(rest),
            Err(error) => Err(error.clone()),
        }
    }
}

fn decode(bytes: Cow<'_, [u8]>, format: BodyFormat) -> Result<Body<'_>, Error> {
    match format {
        BodyFormat::Binary => Ok(Body::Text(Cow::Owned(STANDARD.encode(bytes)))),
        BodyFormat::Text => text(bytes).map(Body::Text),
        BodyFormat::Json => Json::parse(&text(bytes)?).map(Body::Json).map_err(Error::NotJson),
    }
}

fn text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Error> {
    let not_text = |error: std::str::Utf8Error| Error::NotText { valid_up_to: error.valid_up_to() };
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(not_text),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|error| not_text(error.utf8_error())),
    }
}
