//! The event pattern of a stream (EventBridge's `FilterPattern`): a JSON object in the shape of the event.
//!
//! ```json
//! {"data":{"systemProperties":{"TAGS":["paid","shipped"]},"userProperties":{"region":[{"prefix":"cn-"}]}}}
//! ```
//!
//! Every named field must match, and each does if one entry of its array does: a value, or a condition `prefix`,
//! `suffix`, `contains`, `anything-but`, `numeric`, `cidr`, `exists`. Nothing, spaces and `{}` match every event. The
//! whole language and its limits are in `docs/specs/event-patterns.md`.
//!
//! The meaning is that of EventBridge's documentation and of Apache's evaluator (`tools/pattern` of
//! rocketmq-eventbridge), which refuses some of what is documented. Differences, each with its test in `vectors.txt`:
//!
//! | pattern | Apache | here | because |
//! |---|---|---|---|
//! | none, or spaces | refused | matches every event | a stream without a filter has it |
//! | `contains` | refused | a condition | it is documented |
//! | `cidr` of IPv6 | refused | a condition | nothing speaks against it |
//! | `cidr`: first and last address, `/32` | never match | match | a block holds all its addresses |
//! | a name with a dot | a path | a name | properties have such names; the shape of the pattern is the path |
//! | `exists` on an object or an empty array | neither true nor false | it is there | presence is not content |
//! | `exists:false` on an event without data | false | true | the field is missing |
//! | an array with objects or arrays in it | never matches | its other elements count | that is the intersection |
//! | `numeric` on a property | never matches | compares its text if that is a JSON number | a property cannot be a number |
//!
//! A pattern is compiled once. Tests that need the body come last, and a pattern without any never touches it.

use compile::Compiler;
use condition::AnyOf;
use fault::PathText;

pub use explain::{MAXIMUM_SHOWN_BYTES, Mismatch};
pub use fault::{Fault, Problem};

use crate::event::{self, Field, Fields};
use crate::json::{Json, Step};
use crate::path::Part;

mod block;
mod compile;
mod condition;
mod explain;
mod fault;
mod numeric;
#[cfg(test)]
mod tests;

/// The longest pattern, in bytes. It alone bounds how many fields and values there are.
pub const MAXIMUM_PATTERN_BYTES: usize = 10_240;

/// How many names deep a field may lie.
pub const MAXIMUM_DEPTH: usize = 32;

/// How many faults of one pattern are told.
pub const MAXIMUM_FAULTS: usize = 64;

const DATA: &str = "data";
const PROPERTIES: &[&str] = &["systemProperties", "userProperties"];

/// The names at the top of an event, except `data`: of CloudEvents, and EventBridge's extensions.
const ATTRIBUTES: &[&str] = &[
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
    "aliyunaccountid",
    "aliyuneventbusname",
    "aliyunoriginalaccountid",
    "aliyunpublishaddr",
    "aliyunpublishtime",
    "aliyunregionid",
];

/// A compiled pattern. The default matches every event.
#[derive(Debug, Clone, Default)]
pub struct Pattern {
    tests: Box<[FieldTest]>,
}

/// What one field must be.
#[derive(Debug, Clone)]
struct FieldTest {
    path: Box<[Step]>,
    any_of: AnyOf,
    /// Whether the field is a property, whose text may be compared as a number.
    is_property: bool,
    /// The array of the pattern, for explanations.
    written: Box<str>,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// All faults, at least one and at most [`MAXIMUM_FAULTS`], in the order of the text.
    pub fn compile(text: &str) -> Result<Self, Vec<Fault>> {
        let whole = |problem| Err(vec![Fault { path: String::new(), problem }]);
        if text.len() > MAXIMUM_PATTERN_BYTES {
            return whole(Problem::TooLong(text.len()));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let members = match Json::parse(text) {
            Ok(Json::Object(members)) => members,
            Ok(_) => return whole(Problem::NotAnObject),
            Err(error) => return whole(Problem::Syntax(error)),
        };
        let mut compiler = Compiler::default();
        compiler.object(&members);
        if !compiler.faults.is_empty() {
            return Err(compiler.faults);
        }
        let mut tests = compiler.tests;
        tests.sort_by_key(FieldTest::needs_body);
        Ok(Self { tests: tests.into() })
    }

    /// Whether every event matches.
    #[must_use]
    pub fn matches_all(&self) -> bool {
        self.tests.is_empty()
    }

    /// Whether some test looks at the body.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.tests.iter().any(FieldTest::needs_body)
    }

    /// Whether some test looks at a field inside the body, which only a body read as JSON has.
    #[must_use]
    pub fn needs_json_body(&self) -> bool {
        self.tests.iter().any(|test| test.needs_body() && test.path.len() > 2)
    }

    /// Whether an event matches.
    ///
    /// # Errors
    /// [`event::Error`] if the body is needed and cannot be had; not if another field already decides.
    pub fn matches(&self, event: &impl Fields) -> Result<bool, event::Error> {
        Ok(self.first_failing(event)?.is_none())
    }

    /// Why an event does not match; `None` if it does. Fields outside the body come first.
    ///
    /// # Errors
    /// As [`Self::matches`].
    pub fn explain(&self, event: &impl Fields) -> Result<Option<Mismatch>, event::Error> {
        let failing = self.first_failing(event)?;
        Ok(failing.map(|(test, field)| {
            let found = field.map(|field| field.into_json().to_string());
            Mismatch::new(PathText(&test.path).to_string(), found, &test.written)
        }))
    }

    fn first_failing<'e>(
        &self,
        event: &'e impl Fields,
    ) -> Result<Option<(&FieldTest, Option<Field<'e>>)>, event::Error> {
        for test in &self.tests {
            let field = event.field(&test.path)?;
            if !test.any_of.holds(field.as_ref(), test.is_property) {
                return Ok(Some((test, field)));
            }
        }
        Ok(None)
    }
}

impl FieldTest {
    fn new(path: Box<[Step]>, any_of: AnyOf, written: String) -> Self {
        let is_property = match path.as_ref() {
            [data, section, _] => {
                data.member() == Some(DATA) && section.member().is_some_and(|name| PROPERTIES.contains(&name))
            }
            _ => false,
        };
        Self { path, any_of, is_property, written: written.into() }
    }

    fn needs_body(&self) -> bool {
        Part::of(&self.path).needs_body()
    }
}
