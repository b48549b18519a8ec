//! Reads the target queue for copies of this partition, which say what really landed.
//!
//! A copy is recognised by its provenance alone: the stream of this generation, kind copy, and the source queue in its
//! present life, whatever the epoch. Messages of other producers and streams are passed over. Reading the tail must
//! never pass over an offset in silence, because it could be the copy that is looked for; searching backwards may.
//! Every copy says which one stands before it, so a copy behind a hole is never taken for the end of what was copied.

use std::collections::VecDeque;
use std::time::Duration;

use causeway_core::checkpoint::LastCopy;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, Incarnation};
use causeway_core::partition::QueueId;
use causeway_core::provenance::{Kind, PROPERTY, Provenance, StreamKey};
use causeway_rocketmq::wire::record::Record;
use tokio::time::Instant;

use super::boundary::Witness;
use super::exit::PartitionExit;
use super::fetch::{LONGEST_SEARCH, PROBES};
use super::ports::{Bounds, Queue};
use super::trouble::Trouble;

/// Messages asked for at once.
const PULL: u32 = 1024;

/// How many offsets a search backwards looks at before it goes further back.
const STRETCH: i64 = 512;

/// So many records that cannot be read are passed over by a search backwards. More are an outage: the target's answers
/// are damaged, and not its records.
const MAXIMUM_UNREADABLE: u32 = 64;

/// Why the tail could not be read to its end.
#[derive(Debug, PartialEq)]
pub(super) enum Halt {
    /// A request failed; it may be tried again.
    Trouble(Trouble),
    /// The target does not show some of what it holds. Retention at work looks like that for a while; where it does not
    /// pass, this is the fault that it is.
    Unreadable(Fault),
    /// The run has to end, if the next looks find the same.
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
    /// The ownership that wrote it.
    pub(super) epoch: Epoch,
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
            epoch: provenance.epoch,
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
            let records = match queue.read(next, PULL, Duration::ZERO).await {
                Err(trouble) if trouble.code == ErrorCode::Malformed => Vec::new(),
                read => read?.records,
            };
            let begins = |records: &Vec<Record>| records.first().is_some_and(|first| first.queue_offset == next);
            let records = if begins(&records) { records } else { vec![alone(queue, next, to).await?] };
            for record in records.iter().take_while(|record| record.queue_offset < to) {
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
    /// A batch that was stored behind a hole, before the loss was noticed, is no end of what was copied, nor is one
    /// that a dead owner's send brought late. Each is one send, so the search goes back until more copies than `batch`,
    /// the most that a send holds, follow each other. A record that cannot be read even alone is passed over: if it was
    /// a copy, that is a hole like any other.
    pub(super) async fn newest<Q: Queue>(
        &self,
        queue: &Q,
        low: i64,
        high: i64,
        batch: usize,
        mut wanted: impl FnMut(&OwnCopy) -> bool,
    ) -> Result<Option<OwnCopy>, Trouble> {
        let (mut copies, mut row) = (VecDeque::new(), Row::default());
        let mut unreadable = 0_u32;
        let mut end = high;
        while end > low && row.length <= batch {
            let start = end.saturating_sub(STRETCH).max(low);
            let mut stretch = Vec::new();
            let mut next = start;
            while next < end {
                let read = match queue.read(next, PULL, Duration::ZERO).await {
                    Err(trouble) if trouble.code == ErrorCode::Malformed => {
                        let found = shown(queue, next).await?;
                        unreadable = unreadable.saturating_add(u32::from(found.is_none()));
                        if unreadable > MAXIMUM_UNREADABLE {
                            return Err(trouble);
                        }
                        stretch.extend(found.and_then(|record| self.recognise(&record)).filter(|copy| wanted(copy)));
                        next = next.saturating_add(1);
                        continue;
                    }
                    read => read?,
                };
                let before = next;
                for record in read.records.iter().filter(|record| (before..end).contains(&record.queue_offset)) {
                    stretch.extend(self.recognise(record).filter(|copy| wanted(copy)));
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
            stretch.into_iter().rev().for_each(|copy| copies.push_front(copy));
            row = Row::along(&copies);
            end = start;
        }
        Ok(row.newest)
    }

    /// What stands where a copy was acknowledged.
    pub(super) async fn standing<Q: Queue>(&self, queue: &Q, copy: LastCopy) -> Result<Standing, Trouble> {
        let offset = copy.target_offset;
        let (records, bounds) = match queue.read(offset, 1, Duration::ZERO).await {
            Err(trouble) if trouble.code == ErrorCode::Malformed => (Vec::new(), queue.bounds().await?),
            read => read.map(|read| (read.records, read.bounds))?,
        };
        if let Some(record) = records.first().filter(|record| record.queue_offset == offset) {
            let found = self.recognise(record).filter(|found| found.place == copy);
            return Ok(found.map_or(Standing::Gone, Standing::Stands));
        }
        Ok(match offset {
            _ if offset < bounds.minimum => Standing::Retired,
            _ if offset >= bounds.maximum => Standing::NotShown,
            _ => Standing::Unreadable,
        })
    }
}

/// The record at an offset, asked for alone. None where the target shows none there, or one that cannot be read.
async fn shown<Q: Queue>(queue: &Q, offset: i64) -> Result<Option<Record>, Trouble> {
    match queue.read(offset, 1, Duration::ZERO).await {
        Err(trouble) if trouble.code == ErrorCode::Malformed => Ok(None),
        read => Ok(read?.records.into_iter().next().filter(|record| record.queue_offset == offset)),
    }
}

/// A record before `end` that an answer with many did not begin with. Where the target shows none although its queue
/// goes on, everything is told that was asked for in vain: a decision must not pass over more.
async fn alone<Q: Queue>(queue: &Q, offset: i64, end: i64) -> Result<Record, Halt> {
    if let Some(record) = shown(queue, offset).await? {
        return Ok(record);
    }
    let Bounds { minimum, maximum } = queue.bounds().await?;
    if minimum > offset {
        return Err(Fault::TargetTailGone { from: offset, to: minimum }.into());
    }
    if maximum <= offset {
        return Err(nothing_at(offset, end).into());
    }
    let began = Instant::now();
    let mut to = offset.saturating_add(1);
    while to < end.min(offset.saturating_add(PROBES)) && began.elapsed() < LONGEST_SEARCH {
        if shown(queue, to).await?.is_some() {
            break;
        }
        to = to.saturating_add(1);
    }
    Err(Halt::Unreadable(Fault::TargetTailGone { from: offset, to }))
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
    /// The queue goes on behind it, and the target does not show it.
    Unreadable,
}

/// Copies that follow each other without a hole.
#[derive(Debug, Default)]
struct Row {
    newest: Option<OwnCopy>,
    length: usize,
}

impl Row {
    /// The row that begins with the oldest of these, which are in the order of the queue.
    fn along(copies: &VecDeque<OwnCopy>) -> Self {
        let mut row = Self::default();
        copies.iter().for_each(|copy| row.see(*copy));
        row
    }

    fn see(&mut self, copy: OwnCopy) {
        let next = self.newest.map_or(copy.accounts_from, |newest| newest.place.source_offset.saturating_add(1));
        // Behind a hole, or there already: it came late, or was copied again.
        if copy.accounts_from <= next && copy.place.source_offset >= next {
            self.newest = Some(copy);
            self.length = self.length.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_core::ids::{ClusterId, Generation, InstanceIdentity, StreamId};
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
        queue.append_all([message(0)]);
        queue.hide([6]);
        assert_eq!(standing(15, 6).await, Standing::Unreadable);
        queue.make_undecodable(7);
        assert_eq!(standing(16, 7).await, Standing::Unreadable);
    }

    #[tokio::test]
    async fn a_tail_with_a_hole_proves_nothing() {
        let queue = mixed();
        queue.hide([3, 4]);
        let halt = own().scan(&queue, 0, 7, |_| {}).await;
        assert_eq!(halt, Err(Halt::Unreadable(Fault::TargetTailGone { from: 3, to: 5 })));
        queue.make_undecodable(5);
        let mut seen = 0;
        let halt = own().scan(&queue, 0, 7, |_| seen += 1).await;
        assert_eq!(halt, Err(Halt::Unreadable(Fault::TargetTailGone { from: 3, to: 6 })));
        assert_eq!(seen, 3, "what can be read alone is");
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
        queue.make_undecodable(590);
        assert_eq!(newest().await.map(offset), Ok(Some(589)), "a copy that cannot be read is a hole");
        queue.hide(400..600);
        assert_eq!(newest().await.map_err(|trouble| trouble.code), Err(ErrorCode::InstanceRefused));
        let damaged = MemoryQueue::default();
        damaged.append_all((0..600).map(|offset| copy(key(2), 4, 1, offset)));
        (0..600).for_each(|offset| damaged.make_undecodable(offset));
        let searched = own().newest(&damaged, 0, 600, 1_000, |_| true).await;
        assert_eq!(searched.map_err(|trouble| trouble.code), Err(ErrorCode::Malformed));
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
        assert_eq!(newest((0..10).chain([3, 4]).collect(), 2).await, (9, 9), "what came late is no end");
        assert_eq!(newest((0..10).chain([3, 4, 10, 11]).collect(), 2).await, (11, 13), "and no hole");
        assert_eq!(newest((0..3_000).chain(500..1_100).chain(3_000..3_010).collect(), 600).await, (3_009, 3_609));
    }
}
