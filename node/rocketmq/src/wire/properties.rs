//! The property string of a message: `name \x01 value \x02` for each property.
//!
//! Parts: reading ([`iter`], [`get`], [`Mark`]) with the tolerance of Apache's parser
//! (`MessageDecoder.string2messageProperties`), the table of what a replicator may send on ([`reserved`]), the one-pass
//! rewrite ([`splice`], [`append`]), and the encoding of the values that had to be taken off ([`Remembered`]). Must
//! never write a property string that does not end with \x02: brokers of 4.9 and 5.3 glue their own properties to the
//! end of what they get.

use bytes::{BufMut as _, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr, memchr2};

pub use remembered::Remembered;
pub use reserved::{Disposition, reserved};

pub mod remembered;
mod reserved;

/// Ends the name of a property.
pub const NAME_END: u8 = 1;
/// Ends a property.
pub const END: u8 = 2;

/// Why something cannot be a property.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// A name or value is empty, or holds a separator: no reader would give it back.
    #[error("not a possible property")]
    NotAProperty,
}

/// The (name, value) pairs in order, as a broker sees them: what has no name, no value or no \x01 is passed over, a
/// missing last \x02 is forgiven, a value may hold \x01.
pub fn iter(properties: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    entries(properties).filter_map(|entry| pair(entry))
}

/// The value of a property; of a repeated one the last.
#[must_use]
pub fn get<'a>(properties: &'a [u8], name: &str) -> Option<&'a [u8]> {
    iter(properties).filter(|pair| pair.0 == name.as_bytes()).last().map(|pair| pair.1)
}

/// Tells in one pass over its bytes that a message does not have a property, as most do not.
#[derive(Debug, Clone)]
pub struct Mark(Finder<'static>);

impl Mark {
    /// Prepares to look for a name.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self(Finder::new(name))
    }

    /// Whether the name occurs anywhere, be it in a value or as a part of another name. Without it [`get`] finds
    /// nothing.
    #[must_use]
    pub fn occurs_in(&self, properties: &[u8]) -> bool {
        self.0.find(properties).is_some()
    }
}

/// The stretches between the \x02, without them.
fn entries(properties: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = properties;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (entry, after) = match memchr(END, rest).and_then(|end| rest.split_at_checked(end)) {
            Some((entry, after)) => (entry, after.get(1..).unwrap_or_default()),
            None => (rest, Default::default()),
        };
        rest = after;
        Some(entry)
    })
}

fn pair(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    // Names are short: looking at each byte costs less than calling a search.
    let name_length = entry.iter().position(|byte| *byte == NAME_END)?;
    let (name, value) = entry.split_at_checked(name_length)?;
    let value = value.get(1..)?;
    (!name.is_empty() && !value.is_empty()).then_some((name, value))
}

/// Appends to `out` those properties that the target may get, in their order, in one pass. Taken off are those that
/// [`reserved`] says, those named in `private` (the caller's own of an earlier hop), and what no reader sees anyway.
/// Values to remember are added to `remembered`. What is appended ends with \x02 or is empty.
pub fn splice(properties: &[u8], private: &[&str], remembered: &mut Remembered, out: &mut BytesMut) {
    out.reserve(properties.len().saturating_add(1));
    // What is kept is mostly one stretch, so it is appended in stretches: from `kept` to where something is taken off.
    let (mut kept, mut position) = (0_usize, 0_usize);
    for entry in entries(properties) {
        let begin = position;
        position = position.saturating_add(entry.len()).saturating_add(1);
        let disposition = match pair(entry) {
            None => Disposition::Strip,
            Some((name, _)) if private.iter().any(|own| own.as_bytes() == name) => Disposition::Strip,
            Some((name, value)) => {
                let disposition = reserved(name, value);
                if disposition == Disposition::StripAndRemember {
                    remembered.add(name, value);
                }
                disposition
            }
        };
        if disposition != Disposition::Keep {
            out.extend_from_slice(properties.get(kept..begin).unwrap_or_default());
            kept = position;
        }
    }
    let last = properties.get(kept..).unwrap_or_default();
    out.extend_from_slice(last);
    if last.last().is_some_and(|byte| *byte != END) {
        out.put_u8(END);
    }
}

/// Appends one property.
///
/// # Errors
/// [`Error::NotAProperty`]; nothing is appended then.
pub fn append(name: &str, value: &[u8], out: &mut BytesMut) -> Result<(), Error> {
    let bad_name = name.is_empty() || memchr2(NAME_END, END, name.as_bytes()).is_some();
    if bad_name || value.is_empty() || memchr2(NAME_END, END, value).is_some() {
        return Err(Error::NotAProperty);
    }
    out.reserve(name.len().saturating_add(value.len()).saturating_add(2));
    out.extend_from_slice(name.as_bytes());
    out.put_u8(NAME_END);
    out.extend_from_slice(value);
    out.put_u8(END);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &[u8] =
        b"TAGS\x01a\x02DELAY\x013\x02mine\x01x\x02WAIT\x01false\x02color\x01red\x01ish\x02TRAN_MSG\x01true\x02CLUSTER\x01c";

    #[test]
    fn reads_as_tolerantly_as_a_broker() {
        let text = b"a\x011\x02\x02\x01v\x02n\x01\x02junk\x02a\x012\x01x\x02z\x01last";
        let pairs: Vec<_> = iter(text).collect();
        assert_eq!(pairs, [(&b"a"[..], &b"1"[..]), (b"a", b"2\x01x"), (b"z", b"last")]);
        assert_eq!(get(text, "a"), Some(&b"2\x01x"[..]));
        assert_eq!(get(text, "n"), None);
        for name in ["a", "n", "z", "nowhere"] {
            assert!(Mark::new(name).occurs_in(text) || get(text, name).is_none(), "{name}");
        }
        assert!(!Mark::new("nowhere").occurs_in(text));
        assert_eq!(iter(b"").count(), 0);
    }

    #[test]
    fn splice_takes_off_what_the_target_must_not_get() {
        let (mut remembered, mut out) = (Remembered::default(), BytesMut::new());
        splice(STORED, &["mine"], &mut remembered, &mut out);
        assert_eq!(out.as_ref(), b"TAGS\x01a\x02color\x01red\x01ish\x02");
        assert_eq!(remembered.encoded(), b"DELAY=3;WAIT=false;TRAN_MSG=true;");
        append("mine", b"new", &mut out).unwrap();
        assert!(out.ends_with(b"mine\x01new\x02"));
        remembered.clear();
        assert!(remembered.is_empty());
    }

    #[test]
    fn the_last_property_of_an_unclosed_string_is_closed() {
        let mut out = BytesMut::new();
        splice(b"k\x01v", &[], &mut Remembered::default(), &mut out);
        assert_eq!(out.as_ref(), b"k\x01v\x02");
    }

    #[test]
    fn impossible_properties_are_not_appended() {
        let mut out = BytesMut::new();
        for (name, value) in
            [("", &b"v"[..]), ("n", b""), ("n\x01", b"v"), ("\x02", b"v"), ("n", b"\x01"), ("n", b"v\x02")]
        {
            assert_eq!(append(name, value, &mut out), Err(Error::NotAProperty));
        }
        assert!(out.is_empty());
    }
}
