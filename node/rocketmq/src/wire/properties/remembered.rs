//! The text in which properties that were taken off a message travel with it, so that they can be restored or audited.
//!
//! Must never hold a byte that ends a property, whatever bytes were remembered.

use memchr::memchr;

/// The text was not written by [`Remembered`]; the byte where the property starts that is wrong.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error("malformed remembered properties at byte {0}")]
pub struct Error(pub usize);

/// Name and value.
pub type Property = (Vec<u8>, Vec<u8>);

/// Properties that were taken off a message, as text that can be the value of one private property: `name=value;` for
/// each, with `%` and two hexadecimal digits for every byte that is not printable ASCII or is one of `%`, `=`, `;`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    text: Vec<u8>,
}

impl Remembered {
    /// Adds a property.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.escape(name);
        self.text.push(b'=');
        self.escape(value);
        self.text.push(b';');
    }

    fn escape(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'%' | b'=' | b';' => self.text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                b' '..=b'~' => self.text.push(*byte),
                _ => self.text.extend_from_slice(format!("%{byte:02X}").as_bytes()),
            }
        }
    }

    /// The text: printable ASCII, empty if nothing was added.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.text
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Forgets all, to use the memory for the next message.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// The properties in a text that [`Remembered::encoded`] gave, in the order they were added.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(encoded: &[u8]) -> Result<Vec<Property>, Error> {
        let mut pairs = Vec::new();
        let mut rest = encoded;
        while !rest.is_empty() {
            let wrong = Error(encoded.len().saturating_sub(rest.len()));
            let (entry, after) = memchr(b';', rest).and_then(|end| rest.split_at_checked(end)).ok_or(wrong)?;
            let (name, value) = memchr(b'=', entry).and_then(|end| entry.split_at_checked(end)).ok_or(wrong)?;
            let value = value.get(1..).unwrap_or_default();
            pairs.push((unescape(name).ok_or(wrong)?, unescape(value).ok_or(wrong)?));
            rest = after.get(1..).unwrap_or_default();
        }
        Ok(pairs)
    }
}

/// Only what [`Remembered::escape`] writes is accepted, so that every text has one meaning and every meaning one text.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || rest.next().filter(|digit| !digit.is_ascii_lowercase());
                let high = char::from(*digit()?).to_digit(16)?;
                let low = char::from(*digit()?).to_digit(16)?;
                let escaped = u8::try_from(high << 4 | low).ok()?;
                if matches!(escaped, b' '..=b'~') && !matches!(escaped, b'%' | b'=' | b';') {
                    return None;
                }
                bytes.push(escaped);
            }
            b'=' | b';' => return None,
            b' '..=b'~' => bytes.push(*byte),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn remembered_text_that_was_not_written_here_is_an_error() {
        for wrong in ["a=b", "a;", "=", "a=%4;", "a=%41;", "a=%0a;", "a=b=c;", "a=\u{1};", "a=é;"] {
            assert_eq!(Remembered::decode(wrong.as_bytes()), Err(Error(0)), "{wrong}");
        }
        assert_eq!(Remembered::decode(b"a=b;c"), Err(Error(4)));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_remembered(pairs in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..6)) {
            let mut remembered = Remembered::default();
            for (name, value) in &pairs {
                remembered.add(name, value);
            }
            prop_assert!(!remembered.encoded().iter().any(|byte| matches!(*byte, 1 | 2)));
            prop_assert_eq!(Remembered::decode(remembered.encoded()).unwrap(), pairs);
        }
    }
}
