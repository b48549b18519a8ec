//! `/v1/rules:test`: rules tried on one message, before a stream has them. Asks no broker and changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use actix_web::web::Payload;
use actix_web::{HttpRequest, web};
use causeway_core::error_code::ErrorCode;
use causeway_rules::event::{BodyError, Event, Message, Names, Source, has_separator};
use causeway_rules::json::Json;
use causeway_rules::pattern::Pattern;
use causeway_rules::sql92::{self, Expression};
use causeway_rules::tag::TagExpression;

use super::answer::{Answer, Error, RequestFault, json};
use super::body::read_json;
use super::model::rule::{
    RuleBodyFormat, RuleFilter, RuleKind, RuleMessage, RuleOutcome, RuleTest, RuleTestAnswer, RuleVerdict,
};
use super::server;
use crate::clock;

/// The longest value of a property that a reason quotes, in characters.
const MAXIMUM_QUOTED_CHARACTERS: usize = 64;

const TAGS: &str = "TAGS";
const KEYS: &str = "KEYS";

/// Adds the route.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(server::resource("/v1/rules:test").route(web::post().to(test)));
}

async fn test(request: HttpRequest, payload: Payload) -> Answer {
    let asked: RuleTest = read_json(&request, payload).await?;
    Ok(json(&try_rules(&asked).map_err(Error::Invalid)?))
}

/// Tries rules on a message or an event.
///
/// # Errors
/// Every fault of the request, with its field.
pub fn try_rules(asked: &RuleTest) -> Result<RuleTestAnswer, Vec<RequestFault>> {
    let mut faults = Vec::new();
    let rules = Rules::compile(&asked.filter, &mut faults);
    let subject = subject(asked, &mut faults);
    if let (Some(message), Some(pattern)) = (&asked.message, &rules.pattern)
        && pattern.needs_json_body()
        && message.body_format != RuleBodyFormat::Json
    {
        let why = "the pattern names fields inside the body, which only a body of the format json has";
        faults.push(RequestFault::of(ErrorCode::InvalidRequest, "message.body_format", why));
    }
    match subject {
        Some(subject) if faults.is_empty() => Ok(answer(rules.judge(&subject))),
        _ => Err(faults),
    }
}

fn answer(rules: Vec<RuleVerdict>) -> RuleTestAnswer {
    let some = |outcome| rules.iter().any(|rule| rule.outcome == outcome);
    let outcome = if some(RuleOutcome::LeftOut) {
        RuleOutcome::LeftOut
    } else if some(RuleOutcome::Failed) {
        RuleOutcome::Failed
    } else {
        RuleOutcome::Kept
    };
    RuleTestAnswer { outcome, rules }
}

#[derive(Debug, Default)]
struct Rules {
    tag: Option<TagExpression>,
    sql: Option<Expression>,
    pattern: Option<Pattern>,
}

impl Rules {
    fn compile(filter: &RuleFilter, faults: &mut Vec<RequestFault>) -> Self {
        let RuleFilter { tag, sql, pattern } = filter;
        if tag.is_none() && sql.is_none() && pattern.is_none() {
            let why = "there is no rule to try: give a tag expression, an SQL92 expression or an event pattern";
            faults.push(RequestFault::of(ErrorCode::InvalidRequest, "filter", why));
        }
        let mut add = |field: &str, why: String| faults.push(RequestFault::of(ErrorCode::InvalidFilter, field, why));
        let mut rules = Self::default();
        match tag.as_deref().map(TagExpression::parse).transpose() {
            Ok(tag) => rules.tag = tag,
            Err(error) => add("filter.tag", error.to_string()),
        }
        match sql.as_deref().map(Expression::parse).transpose() {
            Ok(sql) => rules.sql = sql,
            Err(error) => add("filter.sql", error.to_string()),
        }
        match pattern.as_deref().map(Pattern::compile).transpose() {
            Ok(pattern) => rules.pattern = pattern,
            Err(all) => all.iter().for_each(|fault| add("filter.pattern", fault.to_string())),
        }
        rules
    }

    fn judge(&self, subject: &Subject) -> Vec<RuleVerdict> {
        let tag = self.tag.as_ref().map(|tag| (RuleKind::Tag, by_tag(tag, subject)));
        let sql = self.sql.as_ref().map(|sql| (RuleKind::Sql, by_sql(sql, subject)));
        let pattern = self.pattern.as_ref().map(|pattern| (RuleKind::Pattern, by_pattern(pattern, subject)));
        let all = [tag, sql, pattern].into_iter().flatten();
        all.map(|(rule, (outcome, why))| RuleVerdict { rule, outcome, why }).collect()
    }
}

fn passes(kept: bool) -> RuleOutcome {
    if kept { RuleOutcome::Kept } else { RuleOutcome::LeftOut }
}

fn by_tag(tag: &TagExpression, subject: &Subject) -> (RuleOutcome, String) {
    let own = subject.properties.get(TAGS);
    let kept = tag.matches(own.map(String::as_bytes));
    let why = match own {
        _ if tag.matches_all() => "every message is wanted".to_owned(),
        None => "the message has no tag".to_owned(),
        Some(own) => format!("its tag {} is {}listed", quoted(own), if kept { "" } else { "not " }),
    };
    (passes(kept), why)
}

fn by_sql(sql: &Expression, subject: &Subject) -> (RuleOutcome, String) {
    let verdict = sql.explain(|name| subject.properties.get(name).map(String::as_bytes));
    let says = match verdict {
        sql92::Verdict::True => "true".to_owned(),
        sql92::Verdict::False => "false".to_owned(),
        sql92::Verdict::Unknown => "neither true nor false".to_owned(),
        sql92::Verdict::Failed(fault) => fault.to_string(),
    };
    let read = sql.properties().map(|name| match subject.properties.get(name) {
        Some(value) => format!("{name} is {}", quoted(value)),
        None => format!("there is no {name}"),
    });
    let read = read.collect::<Vec<_>>().join(", ");
    let why = if read.is_empty() { says } else { format!("{says}; {read}") };
    (passes(verdict == sql92::Verdict::True), why)
}

fn by_pattern(pattern: &Pattern, subject: &Subject) -> (RuleOutcome, String) {
    let mismatch = match &subject.shape {
        Shape::Message(source) => pattern.explain(&Event::new(source, subject)),
        Shape::Event(event) => pattern.explain(event),
    };
    match mismatch {
        Ok(None) if pattern.matches_all() => (RuleOutcome::Kept, "every event is wanted".to_owned()),
        Ok(None) => (RuleOutcome::Kept, "every field that it names matches".to_owned()),
        Ok(Some(mismatch)) => (RuleOutcome::LeftOut, mismatch.to_string()),
        Err(error) => (RuleOutcome::Failed, error.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(MAXIMUM_QUOTED_CHARACTERS).collect();
    let more = if beginning.len() < text.len() { "..." } else { "" };
    format!("{beginning:?}{more}")
}

/// What rules are tried on.
#[derive(Debug)]
struct Subject {
    properties: BTreeMap<String, String>,
    body: String,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// Its event is made as for every message of a stream.
    Message(Source),
    /// The event was given.
    Event(Json),
}

fn subject(asked: &RuleTest, faults: &mut Vec<RequestFault>) -> Option<Subject> {
    let mut add = |field: &str, why: String| faults.push(RequestFault::of(ErrorCode::InvalidRequest, field, why));
    match (&asked.message, &asked.event) {
        (Some(message), None) => {
            let RuleMessage { region, instance, topic, body, body_format, .. } = message;
            let source = Source::new(Names { region, account: "", instance, topic }, (*body_format).into());
            let properties = properties(message, &mut add);
            Some(Subject { properties, body: body.clone(), shape: Shape::Message(source) })
        }
        (None, Some(event)) => match Json::parse(event) {
            Ok(event @ Json::Object(_)) => {
                let properties = properties_of(&event);
                Some(Subject { properties, body: String::new(), shape: Shape::Event(event) })
            }
            Ok(_) => {
                add("event", "an event is a JSON object".to_owned());
                None
            }
            Err(error) => {
                add("event", format!("it is no JSON: {error}"));
                None
            }
        },
        (Some(_), Some(_)) => {
            add("event", "give either a message or an event, not both".to_owned());
            None
        }
        (None, None) => {
            add("message", "give a message or an event to try the rules on".to_owned());
            None
        }
    }
}

/// The properties of a message, its tag and its keys among them.
fn properties(message: &RuleMessage, add: &mut impl FnMut(&str, String)) -> BTreeMap<String, String> {
    let mut properties = message.properties.clone();
    for (name, value) in &message.properties {
        if name.is_empty() || has_separator(name) || has_separator(value) {
            let why =
                format!("{} cannot be a property: its name is empty, or it holds \\u0001 or \\u0002", quoted(name));
            add("message.properties", why);
        }
    }
    for (field, name, value) in [("tag", TAGS, &message.tag), ("keys", KEYS, &message.keys)] {
        let Some(value) = value else { continue };
        if has_separator(value) {
            add(&format!("message.{field}"), "it cannot hold \\u0001 or \\u0002".to_owned());
        }
        if properties.insert(name.to_owned(), value.clone()).is_some() {
            add("message.properties", format!("{name} is given as `{field}` already"));
        }
    }
    // A reader passes over a property without a value.
    properties.retain(|_, value| !value.is_empty());
    properties
}

/// The properties that an event tells of. They are text in events that are made of messages; a number is taken as it
/// is written.
fn properties_of(event: &Json) -> BTreeMap<String, String> {
    let sections = ["systemProperties", "userProperties"].into_iter();
    let objects = sections.filter_map(|section| match event.get("data")?.get(section)? {
        Json::Object(members) => Some(members),
        _ => None,
    });
    objects.flatten().map(|(name, value)| (name.clone(), value.to_text().into_owned())).collect()
}

impl Message for Subject {
    fn offset_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn born_time(&self) -> i64 {
        clock::now().0
    }

    fn store_time(&self) -> i64 {
        clock::now().0
    }

    fn queue_id(&self) -> i32 {
        0
    }

    fn queue_offset(&self) -> i64 {
        0
    }

    fn properties(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.properties.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }

    fn body(&self) -> Result<Cow<'_, [u8]>, BodyError> {
        Ok(Cow::Borrowed(self.body.as_bytes()))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
