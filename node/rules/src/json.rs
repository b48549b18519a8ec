//! A JSON value that keeps the text of its numbers.
//!
//! `1.50` stays `1.50`, and an integer of thirty digits keeps them all: equality of a pattern is equality of text, and
//! what a transform takes out of a message must go into the next one unchanged. `serde_json::Value` turns numbers into
//! doubles, and its switch against that would be one for the whole binary. So `serde_json` judges whether a text is
//! JSON, and [`parse`](Json::parse) cuts what was found valid into its parts. Members keep their order and repeated
//! names; of a repeated name the last member counts. Depth is bounded by [`MAXIMUM_DEPTH`].

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

mod cut;

/// The deepest nesting of arrays and objects; that of `serde_json`.
pub const MAXIMUM_DEPTH: usize = 128;

/// Why a text is no JSON, or none that is accepted. Line and column count from 1, columns in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct Error {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// What is wrong there.
    pub reason: String,
}

/// The text of a JSON number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest double, infinite where there is none; `None` for a text that is no JSON number.
    #[must_use]
    pub fn double(text: &str) -> Option<f64> {
        // Rust reads some texts as numbers that JSON does not: `inf`, `+1`, `.5`, `1.`, `01`.
        let digits = text.strip_prefix('-').unwrap_or(text);
        let whole = digits.split(['.', 'e', 'E']).next().unwrap_or_default();
        let written_as_json = digits.starts_with(|first: char| first.is_ascii_digit())
            && digits.ends_with(|last: char| last.is_ascii_digit())
            && !digits.contains(".e")
            && !digits.contains(".E")
            && (whole == "0" || !whole.starts_with('0'));
        written_as_json.then(|| text.parse().ok()).flatten()
    }

    /// The nearest double, infinite where there is none.
    #[must_use]
    pub fn to_double(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string().into())
    }
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(Number),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: its members in order.
    Object(Vec<(String, Json)>),
}

/// A step down into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To a member of an object, by name.
    Member(Box<str>),
    /// To an element of an array, counted from 0.
    Element(usize),
    /// To an element of an array, counted from 1 at its end.
    ElementFromEnd(usize),
}

impl Step {
    /// The name, if it goes to a member.
    #[must_use]
    pub fn member(&self) -> Option<&str> {
        match self {
            Self::Member(name) => Some(name),
            Self::Element(_) | Self::ElementFromEnd(_) => None,
        }
    }
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Member(name.into())
    }
}

impl Json {
    /// Reads one JSON value.
    ///
    /// # Errors
    /// Where and why the text is no JSON, or where it is nested deeper than [`MAXIMUM_DEPTH`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => cut::whole(text),
            Err(error) => Err(Error { line: error.line(), column: error.column(), reason: reason(&error) }),
        }
    }

    /// The value of a member; `None` if there is none or this is no object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().rev().find(|member| member.0 == name).map(|member| &member.1),
            _ => None,
        }
    }

    /// The value at the end of a path; this one for no step at all.
    #[must_use]
    pub fn at(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |value, step| match (step, value) {
            (Step::Member(name), _) => value.get(name),
            (Step::Element(index), Self::Array(elements)) => elements.get(*index),
            (Step::ElementFromEnd(distance), Self::Array(elements)) => {
                elements.get(elements.len().checked_sub(*distance)?)
            }
            (Step::Element(_) | Step::ElementFromEnd(_), _) => None,
        })
    }

    /// What stands for this value in a text: a string without its quotes, anything else as JSON.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Borrowed(number.as_str()),
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Array(_) | Self::Object(_) => Cow::Owned(self.to_string()),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// As JSON text without spaces.
impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_quoted(text, out),
            Self::Array(elements) => {
                out.write_str("[")?;
                for (index, element) in elements.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "," };
                    write!(out, "{separator}{element}")?;
                }
                out.write_str("]")
            }
            Self::Object(members) => {
                out.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    out.write_str(if index == 0 { "" } else { "," })?;
                    write_quoted(name, out)?;
                    write!(out, ":{value}")?;
                }
                out.write_str("}")
            }
            Self::Null | Self::Bool(_) | Self::Number(_) => out.write_str(&self.to_text()),
        }
    }
}

/// A string with its quotes and escapes.
pub(crate) fn quoted(text: &str) -> Result<String, fmt::Error> {
    serde_json::to_string(text).map_err(|_| fmt::Error)
}

/// Writes a string with its quotes and escapes.
pub(crate) fn write_quoted(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str(&quoted(text)?)
}

/// What `serde_json` says, without the position that it adds.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&position).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for text in [
            "null",
            "true",
            "1.50",
            "-0",
            "1e999",
            "123456789012345678901234567890",
            r#""""#,
            r#""a\"\\\n\u0001ü😀""#,
            "[]",
            "{}",
            r#"[1.0,[],{"a":null,"b":[false]},"x"]"#,
            r#"{"z":1,"a":2,"z":3,"":4}"#,
            r#"["\\","\"",{"\\":"]"}]"#,
        ] {
            assert_eq!(Json::parse(text).unwrap().to_string(), text);
        }
        let spaced = " { \"a\" : [ 1 ,\n\t2 ] , \"\\u0062\\ud83d\\ude00\" : \"\\/\" } ";
        assert_eq!(Json::parse(spaced).unwrap().to_string(), r#"{"a":[1,2],"b😀":"/"}"#);
    }

    #[test]
    fn faults_have_a_line_and_a_column() {
        for (text, line, column, reason) in [
            ("", 1, 0, "EOF while parsing a value"),
            ("{\"a\":\n tru}", 2, 5, "expected ident"),
            ("[1,]", 1, 4, "expected value"),
            ("{} x", 1, 4, "trailing characters"),
            ("\n [\"ok\",\n  \"\\ud800\"]", 3, 3, "a string with half of a surrogate pair"),
        ] {
            let error = Json::parse(text).unwrap_err();
            assert_eq!((error.line, error.column, error.reason.as_str()), (line, column, reason), "{text:?}");
        }
        let nested = |depth: usize| format!("\n{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(MAXIMUM_DEPTH)).is_ok());
        let error = Json::parse(&nested(MAXIMUM_DEPTH + 1)).unwrap_err();
        assert_eq!(error.to_string(), "line 2, column 129: nested deeper than 128");
        assert!(Json::parse(&nested(1_000_000)).is_err());
    }

    #[test]
    fn a_path_leads_to_a_value_and_the_last_of_a_repeated_name_counts() {
        let value = Json::parse(r#"{"a":{"b":[10,{"c":"x"}]},"d":1,"d":2,"e.f":3}"#).unwrap();
        let at = |path: &[Step]| value.at(path).map(ToString::to_string);
        assert_eq!(at(&["a".into(), "b".into(), Step::Element(1), "c".into()]).as_deref(), Some("\"x\""));
        assert_eq!(at(&["a".into(), "b".into(), Step::ElementFromEnd(2)]).as_deref(), Some("10"));
        assert_eq!(at(&["d".into()]).as_deref(), Some("2"));
        assert_eq!(at(&["e.f".into()]).as_deref(), Some("3"));
        assert_eq!(at(&[]), Some(value.to_string()));
        for missing in [
            vec!["x".into()],
            vec!["d".into(), "x".into()],
            vec![Step::Element(0)],
            vec!["a".into(), "b".into(), Step::Element(2)],
            vec!["a".into(), "b".into(), Step::ElementFromEnd(3)],
            vec!["a".into(), "b".into(), Step::ElementFromEnd(0)],
        ] {
            assert_eq!(at(&missing), None, "{missing:?}");
        }
    }

    #[test]
    fn only_the_text_of_a_json_number_is_a_number() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-0.5", Some(-0.5)),
            ("1.50", Some(1.5)),
            ("3.0e2", Some(300.0)),
            ("1E+2", Some(100.0)),
            ("1e999", Some(f64::INFINITY)),
        ] {
            assert_eq!(Number::double(text), expected, "{text}");
        }
        for text in
            ["", "-", "+1", ".5", "1.", "1.e5", "01", "-01", "1e", "inf", "NaN", "0x1", "1_0", " 1", "1 ", "1,0"]
        {
            assert_eq!(Number::double(text), None, "{text:?}");
            assert!(Json::parse(text.trim()).map_or(true, |json| text != json.to_text()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{}:,\"\\\\ntrue0-9.eE+u \\PC-]{0,40}") {
            let ours = Json::parse(&text);
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match (&ours, &theirs) {
                (Ok(json), Ok(value)) => {
                    let again: serde_json::Value = serde_json::from_str(&json.to_string()).unwrap();
                    prop_assert_eq!(&again, value);
                }
                (Err(_), Err(_)) => {}
                // The text of a number beyond a double is kept here and refused there.
                (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range"), "{}", error),
                (Err(error), Ok(_)) => prop_assert!(false, "{}", error),
            }
        }

        #[test]
        fn a_number_by_itself_is_what_json_calls_one(text in "-?[0-9.eE+-]{0,8}") {
            let is_json = matches!(Json::parse(&text), Ok(Json::Number(_)));
            prop_assert_eq!(Number::double(&text).is_some(), is_json, "{}", text);
        }
    }
}
