//! Which records are copied: those that the stream's tag expression matches and that have not passed the target before.
//!
//! Pure. A message that already passed the target came from there, by however many hops; copying it again would send it
//! round for ever. What somebody else wrote into our property decides nothing: it cannot stop a stream, and it is kept.

use causeway_core::ids::InstanceIdentity;
use causeway_core::provenance::{HOP_LIMIT, PROPERTY, Provenance};
use causeway_rocketmq::wire::properties::Mark;
use causeway_rocketmq::wire::record::Record;
use causeway_rules::tag::TagExpression;

const TAGS: &str = "TAGS";

/// What is known of a message's way to the source.
#[derive(Debug)]
pub(crate) enum Past<'a> {
    /// It was produced there, and the names of our properties do not occur in it at all.
    Unmarked,
    /// It was produced there.
    Produced,
    /// It was copied there.
    Copied(Provenance<'a>),
    /// Its property of that name was not written by this release.
    Illegible(&'a [u8]),
}

/// What becomes of a record.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// It is copied.
    Keep(Past<'a>),
    /// The tag expression leaves it out.
    Filtered,
    /// It has passed the target, or too many instances.
    Looped,
}

/// The filter of a stream.
#[derive(Debug)]
pub(crate) struct Filter {
    tags: TagExpression,
    target: InstanceIdentity,
    provenance: Mark,
}

impl Filter {
    pub(crate) fn new(tags: TagExpression, target: InstanceIdentity) -> Self {
        Self { tags, target, provenance: Mark::new(PROPERTY) }
    }

    pub(crate) fn judge<'a>(&self, record: &'a Record) -> Verdict<'a> {
        if !self.tags.matches_all() && !self.tags.matches(record.property(TAGS)) {
            return Verdict::Filtered;
        }
        if !self.provenance.occurs_in(&record.properties) {
            return Verdict::Keep(Past::Unmarked);
        }
        let Some(property) = record.property(PROPERTY) else { return Verdict::Keep(Past::Produced) };
        match Provenance::parse(property) {
            Ok(past) if past.chain.len() >= HOP_LIMIT || past.chain.contains(&self.target) => Verdict::Looped,
            Ok(past) => Verdict::Keep(Past::Copied(past)),
            Err(_) => Verdict::Keep(Past::Illegible(property)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_core::ids::{ClusterId, Epoch, Generation, Incarnation, StreamId};
    use causeway_core::provenance::{Stamp, StreamKey};

    use super::*;
    use crate::replicate::memory::{MemoryQueue, message};

    const TARGET: InstanceIdentity = InstanceIdentity(0xb);

    fn record(properties: &[u8]) -> Record {
        let queue = MemoryQueue::default();
        queue.append_all([message(0)]);
        Record { properties: Bytes::copy_from_slice(properties), ..queue.record(0) }
    }

    fn copied(passed: &[u64]) -> Record {
        let key = StreamKey { cluster: ClusterId(1), stream: StreamId(1), generation: Generation(0) };
        let (last, before) = passed.split_last().unwrap();
        let before: Vec<_> = before.iter().copied().map(InstanceIdentity).collect();
        let stamp = Stamp::new(key, Epoch(1), InstanceIdentity(*last), "b", "t", 0, Incarnation(0));
        let mut value = Vec::new();
        stamp.write(&mut value, &before, 7..=7, 8);
        record(&[PROPERTY.as_bytes(), b"\x01", &value, b"\x02"].concat())
    }

    fn judge(expression: &str, record: &Record) -> &'static str {
        match Filter::new(expression.parse().unwrap(), TARGET).judge(record) {
            Verdict::Keep(Past::Unmarked | Past::Produced) => "produced",
            Verdict::Keep(Past::Copied(_)) => "copied",
            Verdict::Keep(Past::Illegible(_)) => "illegible",
            Verdict::Filtered => "filtered",
            Verdict::Looped => "looped",
        }
    }

    #[test]
    fn tags_decide_by_the_string() {
        let tagged = record(b"KEYS\x01k\x02TAGS\x01Aa\x02");
        assert_eq!(judge("*", &tagged), "produced");
        assert_eq!(judge("Aa || x", &tagged), "produced");
        assert_eq!(judge("BB", &tagged), "filtered", "same hash in Java, another string");
        assert_eq!(judge("Aa", &record(b"")), "filtered");
        assert_eq!(judge("*", &record(b"")), "produced");
    }

    #[test]
    fn what_passed_the_target_or_too_many_instances_is_a_loop() {
        assert_eq!(judge("*", &copied(&[1])), "copied");
        assert_eq!(judge("*", &copied(&[TARGET.0])), "looped");
        assert_eq!(judge("*", &copied(&[1, TARGET.0, 2])), "looped");
        let chain: Vec<u64> = (100..100 + u64::try_from(HOP_LIMIT).unwrap()).collect();
        assert_eq!(judge("*", &copied(&chain[1..])), "copied");
        assert_eq!(judge("*", &copied(&chain)), "looped");
    }

    #[test]
    fn a_property_that_somebody_else_wrote_stops_nothing() {
        assert_eq!(judge("*", &record(b"CAUSEWAY\x01hello\x02")), "illegible");
        assert_eq!(judge("*", &record(b"k\x01CAUSEWAY\x02")), "produced");
    }
}
