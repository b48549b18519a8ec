//! What a copy says: the properties that the target may get, what had to be taken off, and where the copy comes from.
//!
//! The body is not touched. Properties are rewritten in one pass straight into the batch. A broker adds its own
//! properties to what it is given, and up to 5.3.3 it writes the sum into 16 bits without a look, which corrupts its
//! log: so a copy's properties stay below [`PROPERTIES_LIMIT`]. One that would be longer first loses the topic's name
//! from its provenance (the stream says it too); one that is still longer is a bad record. Nothing else is ever left
//! out.

use bytes::BytesMut;
use causeway_core::ids::InstanceIdentity;
use causeway_core::provenance::{ORIGINAL_PROPERTY, PROPERTY, Stamp};
use causeway_rocketmq::wire::properties::{self, Remembered};
use causeway_rocketmq::wire::record::Record;

use super::filter::Past;

/// Room for what a broker adds: region, trace switch, its cluster's name, and an identifier for a single message.
const BROKER_ADDS: usize = 320;

/// The longest property string that is sent, in bytes; 32,767 is what a record can hold.
pub(super) const PROPERTIES_LIMIT: usize = 32_767 - BROKER_ADDS;

/// A property string up to here cannot pass the limit whatever is remembered of it, because remembering at most
/// triples a byte.
const SURELY_SHORT: usize = 8 * 1024;

/// The properties of a copy would be too long, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its properties with provenance would be {0} bytes, and a broker takes {PROPERTIES_LIMIT}")]
pub(super) struct TooLong(usize);

/// The transform of a partition, with the buffers that it uses again for each record.
#[derive(Debug)]
pub(super) struct Transform {
    full: Stamp,
    without_topic: Stamp,
    remembered: Remembered,
    provenance: Vec<u8>,
    original: Vec<u8>,
    /// The source offset behind the last copy; none while that is not known.
    behind_last_copy: Option<i64>,
}

impl Transform {
    /// `stamp` makes the stamp of the partition for a topic name.
    pub(super) fn new(topic: &str, stamp: impl Fn(&str) -> Stamp) -> Self {
        Self {
            full: stamp(topic),
            without_topic: stamp(""),
            remembered: Remembered::default(),
            provenance: Vec::new(),
            original: Vec::new(),
            behind_last_copy: None,
        }
    }

    /// The next copy stands behind the one of the record before this source offset.
    pub(super) fn continue_behind(&mut self, offset: i64) {
        self.behind_last_copy = Some(offset);
    }

    /// Whether [`Self::write`] may be used for a record without looking at the length of what it writes.
    pub(super) fn is_surely_short(record: &Record) -> bool {
        record.properties.len() <= SURELY_SHORT
    }

    /// Appends the properties of a record's copy.
    pub(super) fn write(&mut self, record: &Record, past: &Past<'_>, out: &mut BytesMut) {
        self.write_with(record, past, false, out);
    }

    /// The properties of a record's copy, shortened if they have to be.
    ///
    /// # Errors
    /// [`TooLong`] when they are too long even so.
    pub(super) fn checked(&mut self, record: &Record, past: &Past<'_>) -> Result<BytesMut, TooLong> {
        let mut out = BytesMut::new();
        for without_topic in [false, true] {
            out.clear();
            self.write_with(record, past, without_topic, &mut out);
            if out.len() <= PROPERTIES_LIMIT {
                return Ok(out);
            }
        }
        Err(TooLong(out.len()))
    }

    /// About how long the properties of a record's copy will be.
    pub(super) fn expected_length(&self, record: &Record) -> usize {
        record.properties.len().saturating_add(self.provenance.len()).saturating_add(PROPERTY.len()).saturating_add(2)
    }

    fn write_with(&mut self, record: &Record, past: &Past<'_>, without_topic: bool, out: &mut BytesMut) {
        self.remembered.clear();
        let own: &[&str] = if matches!(past, Past::Unmarked) { &[] } else { &[PROPERTY, ORIGINAL_PROPERTY] };
        properties::splice(&record.properties, own, &mut self.remembered, out);
        let none: &[InstanceIdentity] = &[];
        let (passed, born) = match past {
            Past::Unmarked | Past::Produced => (none, record.born_timestamp),
            Past::Copied(before) => (before.chain.as_slice(), before.born_timestamp),
            Past::Illegible(value) => {
                self.remembered.add(PROPERTY.as_bytes(), value);
                (none, record.born_timestamp)
            }
        };
        // Its name begins with that of the provenance, so it does not occur in an unmarked message either.
        let earlier = if matches!(past, Past::Unmarked) { None } else { record.property(ORIGINAL_PROPERTY) };
        self.write_original(earlier, out);
        self.provenance.clear();
        let stamp = if without_topic { &self.without_topic } else { &self.full };
        let offset = record.queue_offset;
        let accounts_from = self.behind_last_copy.map_or(offset, |behind| behind.min(offset));
        stamp.write(&mut self.provenance, passed, accounts_from..=offset, born);
        add(PROPERTY, &self.provenance, out);
    }

    /// What earlier hops took off comes first, so that the order of the hops can be told.
    fn write_original(&mut self, earlier: Option<&[u8]>, out: &mut BytesMut) {
        self.original.clear();
        if let Some(earlier) = earlier {
            if Remembered::decode(earlier).is_ok() {
                self.original.extend_from_slice(earlier);
            } else {
                self.remembered.add(ORIGINAL_PROPERTY.as_bytes(), earlier);
            }
        }
        self.original.extend_from_slice(self.remembered.encoded());
        if !self.original.is_empty() {
            add(ORIGINAL_PROPERTY, &self.original, out);
        }
    }
}

/// Our own names and encodings hold no separator and are not empty, so appending cannot fail.
fn add(name: &str, value: &[u8], out: &mut BytesMut) {
    if let Err(error) = properties::append(name, value, out) {
        tracing::error!(%error, name, "a property of our own cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_core::ids::{ClusterId, Epoch, Generation, Incarnation, StreamId};
    use causeway_core::provenance::{Provenance, StreamKey};

    use super::*;
    use crate::replicate::memory::{MemoryQueue, message};

    fn transform() -> Transform {
        let key = StreamKey { cluster: ClusterId(1), stream: StreamId(2), generation: Generation(0) };
        let stamp =
            |topic: &str| Stamp::new(key, Epoch(3), InstanceIdentity(0xa), "broker-a", topic, 1, Incarnation(0));
        Transform::new("orders", stamp)
    }

    fn record(properties: Vec<u8>) -> Record {
        let queue = MemoryQueue::default();
        queue.append_all([message(0)]);
        Record { properties: Bytes::from(properties), queue_offset: 41, born_timestamp: 1000, ..queue.record(0) }
    }

    fn written(record: &Record, past: &Past<'_>) -> Bytes {
        let mut out = BytesMut::new();
        transform().write(record, past, &mut out);
        out.freeze()
    }

    #[test]
    fn a_produced_message_keeps_its_properties_and_gets_provenance() {
        let copy =
            written(&record(b"KEYS\x01k\x02mine\x01x\x02CLUSTER\x01c\x02WAIT\x01false\x02".to_vec()), &Past::Produced);
        assert!(copy.starts_with(b"KEYS\x01k\x02mine\x01x\x02CAUSEWAY"), "{copy:?}");
        let provenance = Provenance::parse(properties::get(&copy, PROPERTY).unwrap()).unwrap();
        assert_eq!((provenance.offset, provenance.born_timestamp), (41, 1000));
        assert_eq!(provenance.chain, [InstanceIdentity(0xa)]);
        assert_eq!(properties::get(&copy, ORIGINAL_PROPERTY), Some(&b"WAIT=false;"[..]));
    }

    #[test]
    fn a_copied_message_continues_its_chain_and_keeps_the_first_born_timestamp_and_originals() {
        let old = b"1;c;0000000000000009-1.0;5;00000000000000cc;b;t;3.0;7;17";
        let source =
            record([b"DELAY\x013\x02CAUSEWAY\x01", &old[..], b"\x02CAUSEWAY_ORIGINAL\x01PGROUP=p;\x02"].concat());
        let copy = written(&source, &Past::Copied(Provenance::parse(old).unwrap()));
        let provenance = Provenance::parse(properties::get(&copy, PROPERTY).unwrap()).unwrap();
        assert_eq!(provenance.chain, [InstanceIdentity(0xcc), InstanceIdentity(0xa)]);
        assert_eq!((provenance.offset, provenance.born_timestamp), (41, 17));
        assert_eq!(properties::get(&copy, ORIGINAL_PROPERTY), Some(&b"PGROUP=p;DELAY=3;"[..]));
        assert_eq!(properties::iter(&copy).filter(|pair| pair.0 == PROPERTY.as_bytes()).count(), 1);
        assert_eq!(properties::get(&copy, "DELAY"), None);
    }

    #[test]
    fn what_somebody_else_wrote_under_our_names_is_remembered() {
        let source = record(b"CAUSEWAY\x01hello\x02CAUSEWAY_ORIGINAL\x01not ours\x02".to_vec());
        let copy = written(&source, &Past::Illegible(b"hello"));
        let original = Remembered::decode(properties::get(&copy, ORIGINAL_PROPERTY).unwrap()).unwrap();
        let expected = [(&b"CAUSEWAY"[..], &b"hello"[..]), (b"CAUSEWAY_ORIGINAL", b"not ours")];
        assert_eq!(original, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
    }

    #[test]
    fn properties_near_the_limit_lose_the_topic_name_first_and_are_refused_then() {
        let sized = |length: usize| record([b"k\x01".to_vec(), vec![b'v'; length - 3], vec![2]].concat());
        let mut transform = transform();
        let (mut full, mut shortened, mut refused) = (0, 0, 0);
        for length in PROPERTIES_LIMIT - 200..PROPERTIES_LIMIT {
            match transform.checked(&sized(length), &Past::Produced) {
                Err(TooLong(bytes)) => {
                    assert!(bytes > PROPERTIES_LIMIT);
                    refused += 1;
                }
                Ok(copy) => {
                    assert!(copy.len() <= PROPERTIES_LIMIT);
                    let provenance = Provenance::parse(properties::get(&copy, PROPERTY).unwrap()).unwrap();
                    if provenance.topic == "orders" { full += 1 } else { shortened += 1 }
                }
            }
        }
        assert!(full > 0 && refused > 0);
        assert_eq!(shortened, "orders".len());
    }

    #[test]
    fn a_property_string_that_is_surely_short_is() {
        let worst = record([b"DELAY\x01".to_vec(), vec![1; SURELY_SHORT - 7], vec![2]].concat());
        assert!(Transform::is_surely_short(&worst));
        assert!(written(&worst, &Past::Produced).len() <= PROPERTIES_LIMIT);
    }
}
