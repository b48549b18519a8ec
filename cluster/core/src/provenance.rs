//! Provenance: the property that every copied message carries, which says where the copy came from.
//!
//! It is what makes copying effectively once: after a crash the target's tail is read and the copies found there,
//! recognised by this property alone, say where to go on. It also tells two streams into one topic apart, and ends
//! loops, because a message that already passed the target is not copied there again.
//!
//! ```text
//! 1;c;7f3a9c0011223344-12.0;5;00000000000000aa,00000000000000bb;broker-a;orders;3.0;1042;1763800000123
//! | |                |  | | |                                 |        |      | |    |
//! | kind      stream id | | instance chain, origin first      broker   topic  | |    born timestamp at the origin
//! version   of cluster  | epoch                                        queue.incarnation   source offset
//!                generation
//! ```
//!
//! The source offset is `1042.3` where the three records before it were left out (filtered, looped, skipped), so that a
//! copy tells which copy stands before it: a tail in which that one is missing has a hole, whatever its target offsets
//! say.
//!
//! In the names, every byte other than an ASCII letter or digit, `_`, `-`, `.`, `%` and `|` is written `~XX`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::ids::{ClusterId, Epoch, Generation, Incarnation, InstanceIdentity, StreamId};

/// The name of the property.
pub const PROPERTY: &str = "CAUSEWAY";

/// The name of the property that keeps what had to be stripped before sending (delay, timer, transaction marks).
pub const ORIGINAL_PROPERTY: &str = "CAUSEWAY_ORIGINAL";

/// The most instances that a message may have passed; a longer chain is a loop that identities did not show.
pub const HOP_LIMIT: usize = 8;

/// The longest property value that is parsed, in bytes.
pub const MAXIMUM_BYTES: usize = 2048;

/// What kind of copy a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary copy; the only kind that a tail read counts.
    Copy,
    /// Sent again by an operator.
    Replay,
    /// A pending delayed message published at failover.
    Delayed,
}

/// A stream as it is known everywhere: in its cluster, of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The Causeway cluster.
    pub cluster: ClusterId,
    /// The stream in it.
    pub stream: StreamId,
    /// How often it was told to copy again.
    pub generation: Generation,
}

/// Why a property value is not provenance of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than [`MAXIMUM_BYTES`].
    #[error("provenance of {0} bytes is longer than {MAXIMUM_BYTES}")]
    TooLong(usize),
    /// Its version is not known to this release.
    #[error("provenance has an unknown version")]
    Version,
    /// A field is missing or has another form.
    #[error("provenance has a malformed field: {0}")]
    Field(&'static str),
}

/// A parsed provenance property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// What kind of copy.
    pub kind: Kind,
    /// The stream that made it.
    pub stream: StreamKey,
    /// The ownership that made it.
    pub epoch: Epoch,
    /// The instances that the message had passed before this copy, origin first; never empty.
    pub chain: Vec<InstanceIdentity>,
    /// The source broker of the previous hop.
    pub broker: Cow<'a, str>,
    /// The source topic of the previous hop.
    pub topic: Cow<'a, str>,
    /// The source queue of the previous hop.
    pub queue: u32,
    /// The life of that queue.
    pub incarnation: Incarnation,
    /// The first source offset that the copy accounts for: the records from it to before `offset` were left out.
    pub accounts_from: i64,
    /// The source offset.
    pub offset: i64,
    /// The born timestamp at the origin, ms since 1970.
    pub born_timestamp: i64,
}

impl Provenance<'_> {
    /// Parses a property value.
    ///
    /// # Errors
    /// [`Error`] for anything that this release did not write.
    pub fn parse(value: &[u8]) -> Result<Provenance<'_>, Error> {
        if value.len() > MAXIMUM_BYTES {
            return Err(Error::TooLong(value.len()));
        }
        let text = std::str::from_utf8(value).map_err(|_| Error::Field("text"))?;
        let mut fields = text.split(';');
        let mut next = |name: &'static str| fields.next().ok_or(Error::Field(name));
        if next("version")? != "1" {
            return Err(Error::Version);
        }
        let kind = match next("kind")? {
            "c" => Kind::Copy,
            "r" => Kind::Replay,
            "d" => Kind::Delayed,
            _ => return Err(Error::Field("kind")),
        };
        let stream = parse_stream(next("stream")?)?;
        let epoch = Epoch(number(next("epoch")?, "epoch")?);
        let chain = parse_chain(next("chain")?)?;
        let broker = unescape(next("broker")?)?;
        let topic = unescape(next("topic")?)?;
        let (queue, incarnation) = next("queue")?.split_once('.').ok_or(Error::Field("queue"))?;
        let (accounts_from, offset) = parse_offset(next("offset")?)?;
        let provenance = Provenance {
            kind,
            stream,
            epoch,
            chain,
            broker,
            topic,
            queue: number(queue, "queue")?,
            incarnation: Incarnation(number(incarnation, "incarnation")?),
            accounts_from,
            offset,
            born_timestamp: number(next("born")?, "born")?,
        };
        if fields.next().is_some() {
            return Err(Error::Field("end"));
        }
        Ok(provenance)
    }
}

/// Writes the provenance of the records of one partition; what does not change from record to record is prepared once.
#[derive(Debug, Clone)]
pub struct Stamp {
    before_chain: Vec<u8>,
    /// From the source, which ends the chain, up to the queue.
    after_passed: Vec<u8>,
    /// Both in one piece, for a message that was produced at the source, as most are.
    produced: Vec<u8>,
}

impl Stamp {
    /// Prepares the stamp of a partition whose messages come from `source`.
    #[must_use]
    pub fn new(
        stream: StreamKey,
        epoch: Epoch,
        source: InstanceIdentity,
        broker: &str,
        topic: &str,
        queue: u32,
        incarnation: Incarnation,
    ) -> Self {
        let before = format!("1;c;{}-{}.{};{};", stream.cluster, stream.stream, stream.generation, epoch);
        let mut after_passed = Vec::new();
        push_hex(&mut after_passed, source.0);
        let after = format!(";{};{};{}.{};", escape(broker), escape(topic), queue, incarnation);
        after_passed.extend_from_slice(after.as_bytes());
        let before_chain = before.into_bytes();
        let produced = [before_chain.as_slice(), after_passed.as_slice()].concat();
        Self { before_chain, after_passed, produced }
    }

    /// Appends the property value for the record at the last of the source offsets that the copy accounts for; the
    /// others were left out. `passed` are the instances that the message's own provenance names (empty for a message
    /// that was produced at the source); the source is added behind them.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        passed: &[InstanceIdentity],
        accounts_for: RangeInclusive<i64>,
        born_timestamp: i64,
    ) {
        if passed.is_empty() {
            out.extend_from_slice(&self.produced);
        } else {
            out.extend_from_slice(&self.before_chain);
            for identity in passed {
                push_hex(out, identity.0);
                out.push(b',');
            }
            out.extend_from_slice(&self.after_passed);
        }
        push_decimal(out, *accounts_for.end());
        let left_out = accounts_for.end().saturating_sub(*accounts_for.start());
        if left_out > 0 {
            out.push(b'.');
            push_decimal(out, left_out);
        }
        out.push(b';');
        push_decimal(out, born_timestamp);
    }
}

fn parse_stream(text: &str) -> Result<StreamKey, Error> {
    let malformed = Error::Field("stream");
    let (cluster, rest) = text.split_once('-').ok_or(malformed)?;
    let (stream, generation) = rest.split_once('.').ok_or(malformed)?;
    Ok(StreamKey {
        cluster: ClusterId(hex(cluster).ok_or(malformed)?),
        stream: StreamId(number(stream, "stream")?),
        generation: Generation(number(generation, "generation")?),
    })
}

/// The first source offset that a copy accounts for, and its own.
fn parse_offset(text: &str) -> Result<(i64, i64), Error> {
    let Some((offset, left_out)) = text.split_once('.') else {
        let offset = number(text, "offset")?;
        return Ok((offset, offset));
    };
    let offset: i64 = number(offset, "offset")?;
    let left_out: i64 = number(left_out, "offset")?;
    let first = offset.checked_sub(left_out).filter(|_| left_out > 0);
    Ok((first.ok_or(Error::Field("offset"))?, offset))
}

fn parse_chain(text: &str) -> Result<Vec<InstanceIdentity>, Error> {
    // The cap is above the hop limit so that a chain which reached it can still be read and refused by name.
    let chain: Option<Vec<_>> =
        text.split(',').take(HOP_LIMIT + 2).map(|item| hex(item).map(InstanceIdentity)).collect();
    chain.filter(|chain| chain.len() <= HOP_LIMIT + 1).ok_or(Error::Field("chain"))
}

fn hex(text: &str) -> Option<u64> {
    let well_formed = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    well_formed.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

fn number<T: std::str::FromStr>(text: &str, name: &'static str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Field(name))
}

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

fn hex_digit(value: u64) -> u8 {
    usize::try_from(value & 0xf).ok().and_then(|index| HEX_DIGITS.get(index)).copied().unwrap_or(b'0')
}

fn push_hex(out: &mut Vec<u8>, value: u64) {
    for shift in (0..16).rev() {
        out.push(hex_digit(value >> (shift * 4)));
    }
}

fn push_decimal(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    // From the last digit to the first, and then appended in one piece.
    let mut digits = [0; 20];
    let (mut rest, mut length) = (value.unsigned_abs(), 0_usize);
    for place in digits.iter_mut().rev() {
        *place = hex_digit(rest % 10);
        length = length.saturating_add(1);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(length)..).unwrap_or_default());
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'%' | b'|')
}

fn escape(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('~');
            out.push(char::from(hex_digit(u64::from(byte >> 4))));
            out.push(char::from(hex_digit(u64::from(byte))));
        }
    }
    Cow::Owned(out)
}

fn unescape(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.contains('~') {
        return Ok(Cow::Borrowed(text));
    }
    let malformed = Error::Field("name");
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'~' {
            out.push(byte);
            continue;
        }
        let high = rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(malformed)?;
        let low = rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(malformed)?;
        out.push(u8::try_from(high * 16 + low).map_err(|_| malformed)?);
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> StreamKey {
        StreamKey { cluster: ClusterId(0x7f3a_9c00_1122_3344), stream: StreamId(12), generation: Generation(0) }
    }

    #[test]
    fn writes_the_documented_form() {
        let stamp = Stamp::new(key(), Epoch(5), InstanceIdentity(0xbb), "broker-a", "orders", 3, Incarnation(0));
        let mut out = Vec::new();
        stamp.write(&mut out, &[InstanceIdentity(0xaa)], 1042..=1042, 1_763_800_000_123);
        let expected =
            "1;c;7f3a9c0011223344-12.0;5;00000000000000aa,00000000000000bb;broker-a;orders;3.0;1042;1763800000123";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
        out.clear();
        stamp.write(&mut out, &[InstanceIdentity(0xaa)], 1039..=1042, 1_763_800_000_123);
        assert_eq!(String::from_utf8(out).unwrap(), expected.replace(";1042;", ";1042.3;"));
    }

    #[test]
    fn refuses_what_it_did_not_write() {
        let good = "1;c;7f3a9c0011223344-12.0;5;00000000000000aa;b;t;3.0;1042;17";
        assert!(Provenance::parse(good.as_bytes()).is_ok());
        assert_eq!(Provenance::parse(good.replacen('1', "2", 1).as_bytes()), Err(Error::Version));
        for bad in [
            good.replace(";c;", ";x;"),
            good.replace("3.0", "3"),
            format!("{good};extra"),
            good.replace("aa;", ";"),
            good.replace(";17", ""),
            good.replace(";b;", ";~4;"),
            good.replace("1042", "1042."),
            good.replace("1042", "1042.0"),
            good.replace("1042", "1042.-1"),
            good.replace("1042", "-9223372036854775808.1"),
        ] {
            assert!(Provenance::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(Provenance::parse(&vec![b'1'; MAXIMUM_BYTES + 1]), Err(Error::TooLong(_))));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            broker in "\\PC{0,40}", topic in "[%|a-zA-Z0-9_-]{1,127}", queue: u32, incarnation: u32, offset: i64,
            left_out in 0..i64::MAX, born: i64, epoch: u64, chain in proptest::collection::vec(any::<u64>(), 0..HOP_LIMIT),
        ) {
            let passed: Vec<_> = chain.into_iter().map(InstanceIdentity).collect();
            let source = InstanceIdentity(1);
            let stamp = Stamp::new(key(), Epoch(epoch), source, &broker, &topic, queue, Incarnation(incarnation));
            let mut out = Vec::new();
            let accounts_from = offset.saturating_sub(left_out);
            prop_assume!(offset.checked_sub(accounts_from).is_some());
            stamp.write(&mut out, &passed, accounts_from..=offset, born);
            prop_assert!(!out.iter().any(|byte| matches!(byte, 1 | 2)));
            let read = Provenance::parse(&out).unwrap();
            let mut expected_chain = passed;
            expected_chain.push(source);
            prop_assert_eq!(read, Provenance {
                kind: Kind::Copy, stream: key(), epoch: Epoch(epoch), chain: expected_chain, broker: Cow::Owned(broker),
                topic: Cow::Owned(topic), queue, incarnation: Incarnation(incarnation), accounts_from, offset,
                born_timestamp: born,
            });
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Provenance::parse(&bytes);
        }
    }
}
