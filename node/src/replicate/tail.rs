//! Reads the target queue for copies of this partition, which say what really landed.
//!
//! A copy is recognised by its provenance alone: the stream of this generation, kind copy, and the source queue in its
//! present life, whatever the epoch. Messages of other producers and streams are passed over. Reading the tail must never
//! pass over an offset in silence, because it could be the copy that is looked for; searching backwards may.
//! Every copy says which one stands before it, so a copy behind a hole is never taken for the end of what was copied.

use std::time::Duration;

use causeway_core::checkpoint::LastCopy;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::Incarnation;
use causeway_core::partition::QueueId;
use causeway_core::provenance::{Kind, PROPERTY, Provenance, StreamKey};
use causeway_rocketmq::wire::record::Record;

use super::boundary::Witness;
use super::exit::PartitionExit;
use super::ports::{Bounds, Queue};
use super::trouble::Trouble;

/// Messages asked for at once.
const PULL: u32 = 1024;

/// How many offsets a search backwards looks at before it goes further back.
const STRETCH: i64 = 512;

/// Why the tail could not be read to its end.
#[derive(Debug, PartialEq)]
pub(super) enum Halt {
    /// A request failed; it may be tried again.
    Trouble(Trouble),
    /// The run has to end.
    Exit(PartitionExit),
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Exit(PartitionExit::Fault(fault))
    }
}

/// How copies of this partition are recognised.
#[derive(Debug, Clone)]
pub(super) struct OwnCopies {
    pub(super) stream: StreamKey,
    pub(super) source: QueueId,
    pub(super) incarnation: Incarnation,
}

/// A copy of this partition, as it stands at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnCopy {
    /// Where it is, and what it is a copy of.
    pub(super) place: LastCopy,
    /// The source offset behind the copy before it.
    pub(super) accounts_from: i64,
    /// How its source record is recognised.
    pub(super) witness: Witness,
}

impl OwnCopies {
    /// The copy that a record of the target is, if it is one of this partition.
    pub(super) fn recognise(&self, record: &Record) -> Option<OwnCopy> {
        let provenance = Provenance::parse(record.property(PROPERTY)?).ok()?;
        let is_own = provenance.kind == Kind::Copy
            && provenance.stream == self.stream
            && provenance.queue == self.source.queue
            && provenance.incarnation == self.incarnation
            && provenance.broker == self.source.broker;
        is_own.then(|| OwnCopy {
            place: LastCopy { source_offset: provenance.offset, target_offset: record.queue_offset },
            accounts_from: provenance.accounts_from,
            witness: Witness::Copy { body_crc: record.body_crc, body_length: record.body.len() },
        })
    }

    /// Looks at every record from `from` to before `to`; `see` gets the copy that it is, or none for anything else.
    pub(super) async fn scan<Q: Queue>(
        &self,
        queue: &Q,
        from: i64,
        to: i64,
        mut see: impl FnMut(Option<OwnCopy>),
    ) -> Result<(), Halt> {
        let mut next = from;
        while next < to {
            let read = queue.read(next, PULL, Duration::ZERO).await?;
            let gone = |to: i64| Halt::from(Fault::TargetTailGone { from: next, to });
            if read.bounds.minimum > next {
                return Err(gone(read.bounds.minimum));
            }
            let Some(first) = read.records.first() else {
                return Err(nothing_at(next, to).into());
            };
            if first.queue_offset != next {
                return Err(gone(first.queue_offset.max(next.saturating_add(1))));
            }
            for record in read.records.iter().take_while(|record| record.queue_offset < to) {
                if record.queue_offset != next {
                    // A hole inside the answer: the next read begins there and judges it.
                    break;
                }
                see(self.recognise(record));
                next = next.saturating_add(1);
            }
        }
        Ok(())
    }

    /// The newest wanted copy from `low` to before `high` with no hole before it.
    ///
    /// A batch that was stored behind a hole, before the loss was noticed, is no end of what was copied: the search goes
    /// back over more copies than `batch`, the most that a send holds, to see one.
    pub(super) async fn newest<Q: Queue>(
        &self,
        queue: &Q,
        low: i64,
        high: i64,
        batch: usize,
        wanted: impl Fn(&OwnCopy) -> bool,
    ) -> Result<Option<OwnCopy>, Trouble> {
        let mut row = Row::default();
        let mut end = high;
        while end > low && row.length <= batch {
            let start = end.saturating_sub(STRETCH).max(low);
            let mut stretch = Vec::new();
            let mut next = start;
            while next < end {
                let read = queue.read(next, PULL, Duration::ZERO).await?;
                let before = next;
                for record in read.records.iter().filter(|record| (before..end).contains(&record.queue_offset)) {
                    stretch.extend(self.recognise(record).filter(&wanted));
                    next = next.max(record.queue_offset.saturating_add(1));
                }
                if next == before {
                    let Bounds { minimum, maximum } = read.bounds;
                    if minimum > next {
                        next = minimum;
                    } else if read.records.is_empty() && maximum > next {
                        // What it held back may be the very copy that is looked for.
                        return Err(nothing_at(next, maximum));
                    } else {
                        break;
                    }
                }
            }
            stretch.into_iter().rev().for_each(|copy| row.go_back_to(copy));
            end = start;
        }
        Ok(row.newest)
    }

    /// What stands where a copy was acknowledged.
    pub(super) async fn standing<Q: Queue>(&self, queue: &Q, copy: LastCopy) -> Result<Standing, Trouble> {
        let offset = copy.target_offset;
        let read = queue.read(offset, 1, Duration::ZERO).await?;
        if let Some(record) = read.records.first().filter(|record| record.queue_offset == offset) {
            let found = self.recognise(record).filter(|found| found.place == copy);
            return Ok(found.map_or(Standing::Gone, Standing::Stands));
        }
        if offset < read.bounds.minimum {
            return Ok(Standing::Retired);
        }
        if offset >= read.bounds.maximum {
            return Ok(Standing::NotShown);
        }
        let why = format!("the target does not return its message at offset {offset}");
        Err(Trouble::new(ErrorCode::InstanceRefused, why))
    }
}

fn nothing_at(offset: i64, end: i64) -> Trouble {
    let why = format!("the target returns nothing at offset {offset} although its queue goes on to {end}");
    Trouble::new(ErrorCode::InstanceRefused, why)
}

/// What stands where a copy was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The copy.
    Stands(OwnCopy),
    /// Retention removed it.
    Retired,
    /// The queue ends before it: it is lost, or not shown yet.
    NotShown,
    /// Something else: it is lost.
    Gone,
}

/// Copies without a hole between them, gone through from the newest to older ones.
#[derive(Debug, Default)]
struct Row {
    newest: Option<OwnCopy>,
    /// The source offset behind the next older copy of the row.
    continues: i64,
    length: usize,
}

impl Row {
    fn go_back_to(&mut self, older: OwnCopy) {
        let behind = older.place.source_offset.saturating_add(1);
        if self.newest.is_some() && behind > self.continues {
            // It was copied again behind where it stands.
            return;
        }
        if self.newest.is_none() || behind < self.continues {
            // What was seen so far stands behind a hole.
            *self = Self { newest: Some(older), continues: 0, length: 0 };
        }
        self.continues = older.accounts_from;
        self.length = self.length.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_core::ids::{ClusterId, Epoch, Generation, InstanceIdentity, StreamId};
    use causeway_core::provenance::Stamp;

    use super::*;
    use crate::replicate::memory::{MemoryQueue, Message, message};

    fn key(stream: u64) -> StreamKey {
        StreamKey { cluster: ClusterId(1), stream: StreamId(stream), generation: Generation(0) }
    }

    fn own() -> OwnCopies {
        let source = QueueId { broker: "b".to_owned(), queue: 4 };
        OwnCopies { stream: key(2), source, incarnation: Incarnation(1) }
    }

    fn copy(stream: StreamKey, queue: u32, incarnation: u32, offset: i64) -> Message {
        let stamp = Stamp::new(stream, Epoch(9), InstanceIdentity(1), "b", "t", queue, Incarnation(incarnation));
        let mut value = Vec::new();
        stamp.write(&mut value, &[], offset..=offset, 7);
        Message { properties: Bytes::from([b"CAUSEWAY\x01", &value[..], b"\x02"].concat()), ..Message::default() }
    }

    fn mixed() -> MemoryQueue {
        let queue = MemoryQueue::default();
        queue.append_all([
            copy(key(2), 4, 1, 10),
            message(1),
            copy(key(3), 4, 1, 11),
            copy(key(2), 5, 1, 12),
            copy(key(2), 4, 0, 13),
            copy(StreamKey { generation: Generation(1), ..key(2) }, 4, 1, 14),
            copy(key(2), 4, 1, 15),
        ]);
        queue
    }

    #[tokio::test]
    async fn only_copies_of_this_stream_queue_and_life_are_its_own() {
        let mut seen = Vec::new();
        let each = |copy: Option<OwnCopy>| seen.push(copy.map(|copy| copy.place.source_offset));
        own().scan(&mixed(), 0, 7, each).await.unwrap();
        assert_eq!(seen, [Some(10), None, None, None, None, None, Some(15)]);
    }

    #[tokio::test]
    async fn a_copy_stands_is_lost_not_shown_or_retired() {
        let queue = mixed();
        let standing = |source_offset, target_offset| {
            let queue = queue.clone();
            async move { own().standing(&queue, LastCopy { source_offset, target_offset }).await.unwrap() }
        };
        let Standing::Stands(found) = standing(15, 6).await else { panic!() };
        assert_eq!(found.place, LastCopy { source_offset: 15, target_offset: 6 });
        assert_eq!(standing(14, 6).await, Standing::Gone, "a copy of another message");
        assert_eq!(standing(10, 1).await, Standing::Gone, "somebody else's message");
        assert_eq!(standing(16, 7).await, Standing::NotShown);
        queue.retain_from(3);
        assert_eq!(standing(10, 0).await, Standing::Retired);
        queue.hide([6]);
        let trouble = own().standing(&queue, LastCopy { source_offset: 15, target_offset: 6 }).await;
        assert_eq!(trouble.unwrap_err().code, ErrorCode::InstanceRefused);
    }

    #[tokio::test]
    async fn a_tail_with_a_hole_proves_nothing() {
        let queue = mixed();
        queue.hide([3, 4]);
        let halt = own().scan(&queue, 0, 7, |_| {}).await;
        assert_eq!(halt, Err(Fault::TargetTailGone { from: 3, to: 5 }.into()));
        queue.retain_from(2);
        let halt = own().scan(&queue, 1, 7, |_| {}).await;
        assert_eq!(halt, Err(Fault::TargetTailGone { from: 1, to: 2 }.into()));
    }

    #[tokio::test]
    async fn the_newest_wanted_copy_is_found_far_back() {
        let queue = MemoryQueue::default();
        queue.append_all((0..5).map(|offset| copy(key(2), 4, 1, offset)));
        queue.append_all((0..2_000).map(message));
        let newest = |low, below: i64| {
            let queue = queue.clone();
            async move {
                let wanted = move |copy: &OwnCopy| copy.place.source_offset < below;
                let found = own().newest(&queue, low, 2_005, 3, wanted).await.unwrap();
                found.map(|copy| copy.place.target_offset)
            }
        };
        assert_eq!(newest(0, i64::MAX).await, Some(4));
        assert_eq!(newest(0, 3).await, Some(2));
        assert_eq!(newest(5, i64::MAX).await, None);
    }

    #[tokio::test]
    async fn a_search_backwards_passes_over_what_retention_removed_and_not_over_what_is_held_back() {
        let queue = MemoryQueue::default();
        queue.append_all((0..600).map(|offset| copy(key(2), 4, 1, offset)));
        let newest = async || own().newest(&queue, 0, 600, 1_000, |_| true).await;
        let offset = |found: Option<OwnCopy>| found.map(|found| found.place.source_offset);
        queue.retain_from(300);
        assert_eq!(newest().await.map(offset), Ok(Some(599)));
        queue.hide(400..600);
        assert_eq!(newest().await.map_err(|trouble| trouble.code), Err(ErrorCode::InstanceRefused));
    }

    #[tokio::test]
    async fn a_batch_behind_a_hole_is_not_the_newest_unless_it_was_reached_again() {
        let own_copy = |offset| copy(key(2), 4, 1, offset);
        let newest = |offsets: Vec<i64>, batch: usize| async move {
            let queue = MemoryQueue::default();
            queue.append_all(offsets.into_iter().map(own_copy));
            let high = queue.bounds().await.unwrap().maximum;
            let found = own().newest(&queue, 0, high, batch, |_| true).await.unwrap().unwrap();
            (found.place.source_offset, found.place.target_offset)
        };
        assert_eq!(newest(vec![0, 1, 2, 7, 8], 2).await, (2, 2));
        assert_eq!(newest(vec![0, 1, 2, 7, 8, 3, 4], 2).await, (4, 6), "copied again behind it");
        assert_eq!(newest(vec![0, 1, 2, 7, 8, 3, 4, 11], 2).await, (4, 6), "two losses");
        assert_eq!(newest((100..2_000).chain(5_000..5_600).collect(), 600).await, (1_999, 1_899), "over many reads");
    }
}
