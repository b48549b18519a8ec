//! Which records of an answer may be copied: those that continue the queue without a hole and are undamaged.
//!
//! A broker can leave messages out of an answer in silence, or give another record in a message's place; a client that
//! follows it loses messages and never knows.

use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::wire::sys_flag;

/// What is wrong with the first record that may not be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Messages are missing before it; it has this offset.
    Hole(i64),
    /// It stands in the place of another; it has this offset.
    Misplaced(i64),
    /// Its body is not the one that was stored.
    Checksum,
    /// It is a batch inside one record, whose messages have offsets of their own.
    InnerBatch,
}

/// How many of the records continue the queue at `next`, and why the first other one does not.
pub(crate) fn vet(records: &[Record], next: i64) -> (usize, Option<Flaw>) {
    let mut expected = next;
    for (position, record) in records.iter().enumerate() {
        let found = record.queue_offset;
        let flaw = if found > expected {
            Some(Flaw::Hole(found))
        } else if found < expected {
            Some(Flaw::Misplaced(found))
        } else if sys_flag::is_inner_batch(record.sys_flag) {
            Some(Flaw::InnerBatch)
        } else if !record.verify_crc() {
            Some(Flaw::Checksum)
        } else {
            None
        };
        if flaw.is_some() {
            return (position, flaw);
        }
        expected = expected.saturating_add(1);
    }
    (records.len(), None)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::replicate::memory::{MemoryQueue, message};

    #[test]
    fn only_what_continues_the_queue_undamaged_passes() {
        let queue = MemoryQueue::default();
        queue.append_all((0..6).map(message));
        let sound: Vec<_> = (2..6).map(|offset| queue.record(offset)).collect();
        assert_eq!(vet(&sound, 2), (4, None));
        assert_eq!(vet(&[], 2), (0, None));
        assert_eq!(vet(&sound, 1), (0, Some(Flaw::Hole(2))));
        assert_eq!(vet(&sound, 3), (0, Some(Flaw::Misplaced(2))));
        let mut holed = sound.clone();
        holed.remove(2);
        assert_eq!(vet(&holed, 2), (2, Some(Flaw::Hole(5))));
        let mut damaged = sound.clone();
        damaged[1].body = Bytes::from_static(b"other");
        assert_eq!(vet(&damaged, 2), (1, Some(Flaw::Checksum)));
        let mut inner = sound;
        inner[3].sys_flag |= sys_flag::INNER_BATCH;
        assert_eq!(vet(&inner, 2), (3, Some(Flaw::InnerBatch)));
    }
}
