//! Text that is written up to a limit.

use std::fmt::{self, Write};

use crate::event::Field;
use crate::json::{Json, quoted};

/// Text that never grows beyond its limit, in bytes; [`fmt::Error`] says that it would.
#[derive(Debug)]
pub(super) struct Output {
    text: String,
    limit: usize,
}

impl Output {
    pub(super) const fn new(limit: usize) -> Self {
        Self { text: String::new(), limit }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Writes a value as JSON.
    pub(super) fn push_json(&mut self, value: &Field<'_>) -> fmt::Result {
        match value {
            Field::Text(text) => self.write_str(&quoted(text)?),
            Field::Json(json) => write!(self, "{json}"),
        }
    }

    /// Writes text as it stands inside the quotes of a JSON string.
    pub(super) fn push_escaped(&mut self, text: &str) -> fmt::Result {
        let quoted = quoted(text)?;
        self.write_str(quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default())
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len().saturating_add(text.len()) > self.limit {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// Nothing for JSON null.
pub(super) fn not_null(value: Field<'_>) -> Option<Field<'_>> {
    match &value {
        Field::Json(json) if **json == Json::Null => None,
        _ => Some(value),
    }
}

/// The members of an object in order; of a repeated name, or one in `taken`, the last only.
pub(super) fn members<'a>(members: &'a [(String, Json)], taken: &[String]) -> Vec<(&'a str, &'a Json)> {
    let mut seen: std::collections::BTreeSet<&str> = taken.iter().map(String::as_str).collect();
    let mut kept: Vec<_> = members.iter().rev().map(|(name, value)| (name.as_str(), value)).collect();
    kept.retain(|(name, _)| seen.insert(name));
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let mut output = Output::new(6);
        output.write_str("ab").unwrap();
        output.push_escaped("\"").unwrap();
        assert_eq!(output.push_escaped("xyz"), Err(fmt::Error));
        assert_eq!(output.push_json(&Field::Text(Cow::Borrowed("x"))), Err(fmt::Error));
        output.push_escaped("xy").unwrap();
        assert_eq!(output.into_text(), "ab\\\"xy");
    }

    #[test]
    fn of_a_repeated_name_the_last_member_counts() {
        let Ok(Json::Object(object)) = Json::parse(r#"{"a":1,"b":2,"a":3,"c":4}"#) else { panic!("no object") };
        let shown = |taken: &[String]| {
            let members = members(&object, taken);
            members.iter().map(|(name, value)| format!("{name}{value}")).collect::<String>()
        };
        assert_eq!(shown(&[]), "b2a3c4");
        assert_eq!(shown(&["a".to_owned(), "x".to_owned()]), "b2c4");
    }
}
