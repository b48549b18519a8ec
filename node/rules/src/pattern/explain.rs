//! Why an event does not match, in words.

use std::fmt;

/// The longest text of a value or of a condition in an explanation, in bytes.
pub const MAXIMUM_SHOWN_BYTES: usize = 256;

const CUT: &str = "...";

/// The first field that is not what the pattern wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The field: `data.userProperties.region`.
    pub path: String,
    /// Its value as JSON, cut after [`MAXIMUM_SHOWN_BYTES`]; `None` if it is missing.
    pub found: Option<String>,
    /// What the pattern has for it, cut likewise.
    pub wanted: String,
}

impl Mismatch {
    pub(super) fn new(path: String, found: Option<String>, wanted: &str) -> Self {
        Self { path, found: found.map(|found| cut(&found)), wanted: cut(wanted) }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, found, wanted } = self;
        match found {
            Some(found) => write!(out, "{path} is {found} and matches nothing of {wanted}"),
            None => write!(out, r#"{path} is missing; {wanted} has no {{"exists":false}}, which alone matches that"#),
        }
    }
}

fn cut(text: &str) -> String {
    if text.len() <= MAXIMUM_SHOWN_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAXIMUM_SHOWN_BYTES.saturating_sub(CUT.len()));
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let fits = "x".repeat(MAXIMUM_SHOWN_BYTES);
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&"x".repeat(300)), format!("{}...", "x".repeat(253)));
        assert_eq!(cut(&"ü".repeat(300)), format!("{}...", "ü".repeat(126)));
    }
}
