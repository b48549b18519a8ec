//! The named string fields of a remoting header (`extFields` in Apache's classes).
//!
//! All text lies in one growing `String`, so building or decoding a header costs two allocations however many fields it
//! has.
//!
//! An empty value and a missing field are the same thing here: the binary header reads an empty value back as Java
//! `null` (`RocketMQSerializable.readStr`), and a broker that checks a signature then concatenates the word "null" for
//! it (`AclUtils.combineRequestContent`). So an empty value is never kept, sent or signed.

use std::fmt::{self, Display, Write as _};
use std::str::FromStr;

use super::frame::Error;

/// Values of these fields never show in `Debug` output.
const SECRET: [&str; 2] = ["Signature", "SecurityToken"];

/// Ordered (name, value) pairs. A name pushed twice means its last value, as in the `HashMap` of the peer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields {
    text: String,
    ends: Vec<End>,
}

/// Where a pair ends in `text`: it starts where the previous one ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    name: usize,
    value: usize,
}

impl Fields {
    /// No field.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a field; the value is written with its `Display`. An empty name or an empty value adds nothing.
    pub fn push(&mut self, name: &str, value: impl Display) {
        let start = self.text.len();
        self.text.push_str(name);
        let name_end = self.text.len();
        let written = write!(self.text, "{value}");
        if written.is_err() || name.is_empty() || self.text.len() == name_end {
            self.text.truncate(start);
            return;
        }
        self.ends.push(End { name: name_end, value: self.text.len() });
    }

    /// No field, with room for text of so many bytes in so many fields.
    pub(crate) fn with_capacity(bytes: usize, count: usize) -> Self {
        Self { text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// As [`Self::push`], for a value that is text already.
    pub(super) fn push_text(&mut self, name: &str, value: &str) {
        if name.is_empty() || value.is_empty() {
            return;
        }
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push(End { name: name_end, value: self.text.len() });
    }

    /// The (last) value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        (0..self.ends.len()).rev().filter_map(|index| self.pair(index)).find(|pair| pair.0 == name).map(|pair| pair.1)
    }

    /// The value of a field, parsed.
    ///
    /// # Errors
    /// [`Error::MissingField`] when there is none, [`Error::BadField`] when it is not a `T`.
    pub fn parse<T: FromStr>(&self, name: &'static str) -> Result<T, Error> {
        self.parse_optional(name)?.ok_or(Error::MissingField { name })
    }

    /// The value of a field that a peer may leave out, parsed.
    ///
    /// # Errors
    /// [`Error::BadField`] when it is there and not a `T`.
    pub fn parse_optional<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Error> {
        self.get(name).map(|value| value.parse().map_err(|_| Error::BadField { name })).transpose()
    }

    /// All pairs in order, repeated names included.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.ends.len()).filter_map(|index| self.pair(index))
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes every pair of that name away.
    pub fn remove(&mut self, name: &str) {
        if self.get(name).is_some() {
            *self = self.iter().filter(|pair| pair.0 != name).collect();
        }
    }

    fn pair(&self, index: usize) -> Option<(&str, &str)> {
        let end = self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(previous) => self.ends.get(previous)?.value,
            None => 0,
        };
        Some((self.text.get(start..end.name)?, self.text.get(end.name..end.value)?))
    }
}

impl<N: AsRef<str>, V: Display> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut fields = Self::new();
        for (name, value) in pairs {
            fields.push(name.as_ref(), value);
        }
        fields
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, if SECRET.contains(&name) { "***" } else { value }));
        formatter.debug_map().entries(shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_wins_and_empty_ones_are_absent() {
        let mut fields = Fields::new();
        fields.push("queueId", 3);
        fields.push("topic", "a");
        fields.push("queueId", -4);
        fields.push("i", "");
        fields.push("", "x");
        assert_eq!(fields.parse::<i32>("queueId").unwrap(), -4);
        assert_eq!(fields.get("i"), None);
        assert_eq!(fields.len(), 3);
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("queueId", "3"), ("topic", "a"), ("queueId", "-4")]);
        fields.remove("queueId");
        assert_eq!(fields.iter().collect::<Vec<_>>(), [("topic", "a")]);
    }

    #[test]
    fn a_missing_and_a_wrong_field_are_different_errors() {
        let fields: Fields = [("offset", "twelve")].into_iter().collect();
        assert_eq!(fields.parse::<i64>("offset"), Err(Error::BadField { name: "offset" }));
        assert_eq!(fields.parse::<i64>("minOffset"), Err(Error::MissingField { name: "minOffset" }));
        assert_eq!(fields.parse_optional::<i64>("minOffset"), Ok(None));
    }

    #[test]
    fn secrets_do_not_show() {
        let fields: Fields = [("Signature", "c2VjcmV0"), ("AccessKey", "me")].into_iter().collect();
        let shown = format!("{fields:?}");
        assert!(shown.contains("me") && !shown.contains("c2VjcmV0"), "{shown}");
    }
}
