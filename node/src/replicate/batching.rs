//! Turns records into sends: filters, transforms, and packs as many as one send may hold.
//!
//! Pure. Records are packed when they arrive, while their bytes are still in the processor's caches, and what is packed
//! waits here until it is sent: [`Batcher::stage`] takes records in, [`Batcher::take`] gives sends out. Everything in a batch shares compression bits, reconsume count and born timestamp, so a batch ends where the
//! first two change, and where the third does if the stream wants it exact. Each body is copied once, into the batch;
//! the batch's buffer is used again. A message that fits no batch is sent alone. Empty bodies always go in a batch,
//! because brokers refuse them alone. Never changes the order, and never leaves out a record that is to be copied.

use std::collections::VecDeque;

use bytes::Bytes;
use causeway_core::fault::Fault;
use causeway_core::stream::BornTimestamp;
use causeway_rocketmq::wire::batch::{self, Batch};
use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::wire::sys_flag;
use causeway_rocketmq::{Content, OutgoingBatch};

use super::filter::{Filter, Past, Verdict};
use super::transform::Transform;

/// A buffer larger than this is given up when there is nothing to send.
const KEPT_BUFFER: usize = 64 * 1024;

/// The most room that is made for a batch before it is known how long it gets, in bytes.
const LARGEST_ROOM: usize = 256 * 1024;

/// How large a send may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A batch is closed at this many encoded bytes, if it holds more than one message.
    pub(super) batch_bytes: usize,
    /// A batch is closed at this many messages.
    pub(super) batch_messages: usize,
    /// What the target takes: the largest body, and the largest batch.
    pub(super) message_bytes: usize,
    /// Whether born timestamps are exact or carried.
    pub(super) born_timestamp: BornTimestamp,
}

/// A send, and what it stands for.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// What is sent; none when every record was left out.
    pub(super) message: Option<OutgoingBatch>,
    /// How many messages are sent.
    pub(super) messages: i64,
    /// Their encoded bytes.
    pub(super) bytes: usize,
    /// Source offset of the first record that was used, copied or left out.
    pub(super) first: Option<i64>,
    /// Source offset of the first that is sent.
    pub(super) first_copied: Option<i64>,
    /// Source offset of the last that is sent.
    pub(super) last_copied: Option<i64>,
    /// The last record that was used, copied or left out.
    pub(super) last: Option<Record>,
    /// Records that the filter left out.
    pub(super) filtered: u64,
    /// Records that had passed the target.
    pub(super) looped: u64,
    /// Bytes of the records that were used.
    pub(super) source_bytes: usize,
}

/// What all messages of a batch share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shared {
    sys_flag: i32,
    reconsume_times: i32,
    born_timestamp: i64,
}

/// Packs the records of one partition.
#[derive(Debug)]
pub(super) struct Batcher {
    filter: Filter,
    transform: Transform,
    limits: Limits,
    /// Sends that are complete, the next one first.
    closed: VecDeque<Ready>,
    closed_bytes: usize,
    /// The send that further records go into; its `message` and `bytes` are set when it is closed.
    open: Ready,
    batch: Batch,
    shared: Option<Shared>,
    /// Bytes of the last batch and of the largest.
    previous: usize,
    largest: usize,
    /// Records below this source offset are sent one by one.
    alone_below: i64,
}

/// Where a record went.
enum Added {
    /// Into the batch.
    Batch,
    /// It is a send of its own.
    Single(OutgoingBatch),
    /// It belongs to the next send.
    Next,
}

impl Batcher {
    pub(super) fn new(filter: Filter, transform: Transform, limits: Limits) -> Self {
        let batch = Batch::new(limits.message_bytes);
        let (closed, closed_bytes, open) = (VecDeque::new(), 0, Ready::default());
        let alone_below = i64::MIN;
        Self {
            filter,
            transform,
            limits,
            closed,
            closed_bytes,
            open,
            batch,
            shared: None,
            previous: 0,
            largest: 0,
            alone_below,
        }
    }

    /// Forgets what is staged. The next copy stands behind the one of the record before this source offset.
    pub(super) fn restart(&mut self, behind_last_copy: i64) {
        self.closed.clear();
        self.closed_bytes = 0;
        self.open = Ready::default();
        self.shared = None;
        self.batch = Batch::new(self.limits.message_bytes);
        self.transform.continue_behind(behind_last_copy);
    }

    /// Sends the records below a source offset one by one, to find the one that the target refuses.
    pub(super) fn one_by_one_below(&mut self, offset: i64) {
        self.alone_below = offset;
    }

    /// Gives up a large buffer, because there is nothing to send for a while.
    pub(super) fn rest(&mut self) {
        if self.largest > KEPT_BUFFER {
            (self.previous, self.largest) = (0, 0);
            self.batch = Batch::new(self.limits.message_bytes);
        }
    }

    /// Packs records that follow those staged before.
    ///
    /// # Errors
    /// [`Fault::BadRecord`] for the first record that cannot be sent. Those before it are staged, those behind it are not.
    pub(super) fn stage(&mut self, records: &[Record]) -> Result<(), Fault> {
        for (position, record) in records.iter().enumerate() {
            // Whatever is closed here ends with the record before, which is of this answer or was kept from the last.
            let before = position.checked_sub(1).and_then(|before| records.get(before));
            if let Err(fault) = self.stage_one(record, before) {
                self.close(before);
                return Err(fault);
            }
        }
        if let Some(last) = records.last().filter(|_| self.open.first.is_some()) {
            self.open.last = Some(last.clone());
        }
        Ok(())
    }

    fn stage_one(&mut self, record: &Record, before: Option<&Record>) -> Result<(), Fault> {
        let offset = record.queue_offset;
        let mut single = None;
        match self.filter.judge(record) {
            Verdict::Filtered => self.open.filtered = self.open.filtered.saturating_add(1),
            Verdict::Looped => self.open.looped = self.open.looped.saturating_add(1),
            Verdict::Keep(past) => {
                if offset < self.alone_below {
                    // What is left out before it must be recorded even if it is the one that is refused.
                    self.close(before);
                }
                loop {
                    if self.shared.is_none() {
                        self.batch.make_room(self.previous.min(LARGEST_ROOM));
                    }
                    match add(&mut self.transform, &mut self.batch, &mut self.shared, &self.limits, record, &past)? {
                        Added::Batch => break,
                        Added::Single(message) => {
                            single = Some(message);
                            break;
                        }
                        Added::Next => self.close(before),
                    }
                }
                self.open.messages = self.open.messages.saturating_add(1);
                self.open.first_copied.get_or_insert(offset);
                self.open.last_copied = Some(offset);
                self.transform.continue_behind(offset.saturating_add(1));
            }
        }
        self.open.first.get_or_insert(offset);
        self.open.source_bytes = self.open.source_bytes.saturating_add(record.encoded_len());
        if single.is_some() || (self.open.messages > 0 && offset < self.alone_below) {
            self.open.message = single;
            self.close(Some(record));
        }
        Ok(())
    }

    /// The next send: a complete one, or else what is staged so far. None when nothing is.
    pub(super) fn take(&mut self) -> Option<Ready> {
        if self.closed.is_empty() {
            self.close(None);
        }
        let next = self.closed.pop_front()?;
        self.closed_bytes = self.closed_bytes.saturating_sub(next.source_bytes);
        Some(next)
    }

    /// Whether nothing is staged.
    pub(super) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.first.is_none()
    }

    /// Source offset of the first staged record.
    pub(super) fn position(&self) -> Option<i64> {
        self.closed.front().unwrap_or(&self.open).first
    }

    /// Whether a send of at least so many source bytes, or one that cannot grow, is staged.
    pub(super) fn holds(&self, source_bytes: usize) -> bool {
        !self.closed.is_empty() || self.open.source_bytes >= source_bytes
    }

    /// Source bytes of everything that is staged.
    pub(super) fn staged_bytes(&self) -> usize {
        self.closed_bytes.saturating_add(self.open.source_bytes)
    }

    /// Completes the open send, if it holds anything. `last` is its last record, unless that was kept already.
    fn close(&mut self, last: Option<&Record>) {
        if self.open.first.is_none() {
            return;
        }
        let mut ready = std::mem::take(&mut self.open);
        if let Some(last) = last {
            ready.last = Some(last.clone());
        }
        if let Some(shared) = self.shared.take() {
            self.previous = self.batch.len();
            self.largest = self.largest.max(self.previous);
            ready.message = Some(outgoing(Content::Batch(self.batch.take()), shared));
        }
        ready.bytes = ready.message.as_ref().map_or(0, |message| match &message.content {
            Content::Batch(bytes) => bytes.len(),
            Content::Single { body, properties, .. } => batch::encoded_len(body.len(), properties.len()),
        });
        self.closed_bytes = self.closed_bytes.saturating_add(ready.source_bytes);
        self.closed.push_back(ready);
    }
}

/// Puts one record where it belongs.
fn add(
    transform: &mut Transform,
    batch: &mut Batch,
    shared: &mut Option<Shared>,
    limits: &Limits,
    record: &Record,
    past: &Past<'_>,
) -> Result<Added, Fault> {
    let bad = |reason: String| Fault::BadRecord { offset: record.queue_offset, reason };
    let own = Shared {
        sys_flag: sys_flag::for_resend(record.sys_flag),
        reconsume_times: record.reconsume_times,
        born_timestamp: record.born_timestamp,
    };
    let needed = batch::encoded_len(record.body.len(), transform.expected_length(record));
    if let Some(shared) = shared {
        let differs = shared.sys_flag != own.sys_flag
            || shared.reconsume_times != own.reconsume_times
            || (limits.born_timestamp == BornTimestamp::Exact && shared.born_timestamp != own.born_timestamp);
        let is_full = batch.count() >= limits.batch_messages
            || batch.len().saturating_add(needed) > limits.batch_bytes.min(limits.message_bytes);
        if differs || is_full {
            return Ok(Added::Next);
        }
    }
    if needed <= limits.message_bytes {
        let pushed = if Transform::is_surely_short(record) {
            let expected = transform.expected_length(record);
            batch.push_with(record.flag, &record.body, expected, |out| transform.write(record, past, out))
        } else {
            let properties = transform.checked(record, past).map_err(|error| bad(error.to_string()))?;
            batch.push(record.flag, &record.body, &properties)
        };
        match pushed {
            Ok(_) => {
                shared.get_or_insert(own);
                return Ok(Added::Batch);
            }
            Err(batch::Error::Full { .. }) if shared.is_some() => return Ok(Added::Next),
            Err(batch::Error::Full { .. }) => {}
            Err(error) => return Err(bad(error.to_string())),
        }
    }
    if record.body.is_empty() {
        return Err(bad("the target takes it neither in a batch nor, because its body is empty, alone".to_owned()));
    }
    if record.body.len() > limits.message_bytes {
        let (size, limit) = (record.body.len(), limits.message_bytes);
        return Err(bad(format!("its body of {size} bytes is larger than the {limit} that the target takes")));
    }
    let properties = transform.checked(record, past).map_err(|error| bad(error.to_string()))?;
    let content =
        Content::Single { body: Bytes::clone(&record.body), properties: properties.freeze(), flag: record.flag };
    Ok(Added::Single(outgoing(content, own)))
}

fn outgoing(content: Content, shared: Shared) -> OutgoingBatch {
    OutgoingBatch {
        sys_flag: shared.sys_flag,
        reconsume_times: shared.reconsume_times,
        ..OutgoingBatch::new(content, shared.born_timestamp)
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::{ClusterId, Epoch, Generation, Incarnation, InstanceIdentity, StreamId};
    use causeway_core::provenance::{PROPERTY, Provenance, Stamp, StreamKey};
    use proptest::prelude::*;

    use super::*;
    use crate::replicate::memory::{MemoryQueue, Message, message};

    const LIMITS: Limits = Limits {
        batch_bytes: 2_000,
        batch_messages: 100,
        message_bytes: 3_000,
        born_timestamp: BornTimestamp::Carried,
    };

    fn batcher(limits: Limits) -> Batcher {
        let key = StreamKey { cluster: ClusterId(1), stream: StreamId(2), generation: Generation(0) };
        let stamp = |topic: &str| Stamp::new(key, Epoch(3), InstanceIdentity(0xa), "b", topic, 0, Incarnation(0));
        let filter = Filter::new("*".parse().unwrap(), InstanceIdentity(0xb));
        Batcher::new(filter, Transform::new("orders", stamp), limits)
    }

    fn records(messages: impl IntoIterator<Item = Message>) -> Vec<Record> {
        let queue = MemoryQueue::default();
        queue.append_all(messages);
        queue.records()
    }

    fn sized(length: usize) -> Message {
        Message { body: Bytes::from(vec![b'x'; length]), ..Message::default() }
    }

    /// Source offsets of the messages in a send.
    fn offsets(ready: &Ready) -> Vec<i64> {
        let inner = match ready.message.as_ref().map(|message| &message.content) {
            None => Vec::new(),
            Some(Content::Single { properties, .. }) => vec![properties.clone()],
            Some(Content::Batch(bytes)) => batch::decode(bytes).map(|inner| inner.unwrap().properties).collect(),
        };
        let offset = |properties: &Bytes| {
            let value = causeway_rocketmq::wire::properties::get(properties, PROPERTY).unwrap();
            Provenance::parse(value).unwrap().offset
        };
        inner.iter().map(offset).collect()
    }

    fn drain(batcher: &mut Batcher) -> Vec<Ready> {
        std::iter::from_fn(|| batcher.take()).collect()
    }

    fn all(mut batcher: Batcher, records: Vec<Record>) -> Vec<Vec<i64>> {
        batcher.stage(&records).unwrap();
        drain(&mut batcher).iter().map(offsets).collect()
    }

    #[test]
    fn a_batch_ends_at_its_bytes_and_its_messages() {
        let by_count = Limits { batch_messages: 3, ..LIMITS };
        assert_eq!(all(batcher(by_count), records((0..7).map(message))), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        // Each takes about 630 bytes with its provenance.
        assert_eq!(all(batcher(LIMITS), records((0..7).map(|_| sized(500)))), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    }

    #[test]
    fn a_batch_ends_where_what_all_share_changes() {
        let compressed = |on: bool| Message { sys_flag: i32::from(on) | 0x10, ..message(0) };
        let sends = all(batcher(LIMITS), records([false, false, true, true, false].map(compressed)));
        assert_eq!(sends, [vec![0, 1], vec![2, 3], vec![4]]);
        let again = |times: i32| Message { reconsume_times: times, ..message(0) };
        assert_eq!(all(batcher(LIMITS), records([0, 0, 1].map(again))), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn born_timestamps_split_batches_only_when_they_are_to_be_exact() {
        // Three messages of each born timestamp.
        let messages = || records((0..6).map(message));
        assert_eq!(all(batcher(LIMITS), messages()).len(), 1);
        let exact = Limits { born_timestamp: BornTimestamp::Exact, ..LIMITS };
        assert_eq!(all(batcher(exact), messages()), [vec![0, 1, 2], vec![3, 4, 5]]);
        let mut batcher = batcher(LIMITS);
        batcher.stage(&messages()).unwrap();
        assert_eq!(batcher.take().unwrap().message.unwrap().born_timestamp, 1_000);
    }

    #[test]
    fn what_fits_no_batch_goes_alone_and_what_fits_nothing_is_a_bad_record() {
        let sends = all(batcher(LIMITS), records([sized(10), sized(2_000), sized(3_000), sized(0), sized(10)]));
        assert_eq!(sends, [vec![0], vec![1], vec![2], vec![3, 4]]);
        let mut batcher = batcher(LIMITS);
        let staged = batcher.stage(&records([sized(10), sized(3_001), sized(10)]));
        assert!(matches!(staged, Err(Fault::BadRecord { offset: 1, .. })));
        assert_eq!(drain(&mut batcher).iter().map(offsets).collect::<Vec<_>>(), [[0]]);
    }

    #[test]
    fn records_can_be_sent_one_by_one_up_to_an_offset() {
        let mut one_by_one = batcher(LIMITS);
        one_by_one.one_by_one_below(2);
        assert_eq!(all(one_by_one, records((0..5).map(message))), [vec![0], vec![1], vec![2, 3, 4]]);
    }

    /// What was left out before a record that is refused is told of by itself, or a decision about the record would pass
    /// over records that nobody knows to be done with.
    #[test]
    fn what_is_left_out_before_a_record_that_is_sent_alone_is_a_send_of_its_own() {
        let tagged =
            |tag: &str| Message { properties: Bytes::from(format!("TAGS\u{1}{tag}\u{2}")), ..Message::default() };
        let tags = ["no", "no", "yes", "yes", "no", "yes", "no"];
        let filtered = |alone_below: i64| {
            let mut batcher = batcher(LIMITS);
            batcher.filter = Filter::new("yes".parse().unwrap(), InstanceIdentity(0xb));
            batcher.one_by_one_below(alone_below);
            batcher.stage(&records(tags.map(tagged))).unwrap();
            let sends = drain(&mut batcher);
            sends.iter().map(|ready| (ready.first.unwrap(), ready.messages, ready.filtered)).collect::<Vec<_>>()
        };
        assert_eq!(filtered(4), [(0, 0, 2), (2, 1, 0), (3, 1, 0), (4, 1, 2)]);
        assert_eq!(filtered(0), [(0, 3, 4)]);
    }

    #[test]
    fn what_arrives_in_pieces_is_packed_like_what_arrives_at_once() {
        let records = records((0..7).map(|_| sized(500)));
        let mut batcher = batcher(LIMITS);
        for piece in records.chunks(2) {
            batcher.stage(piece).unwrap();
        }
        assert_eq!((batcher.position(), batcher.is_empty(), batcher.holds(usize::MAX)), (Some(0), false, true));
        assert_eq!(batcher.staged_bytes(), records.iter().map(Record::encoded_len).sum::<usize>());
        let sends = drain(&mut batcher);
        assert_eq!(sends.iter().map(offsets).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        let lasts: Vec<_> = sends.iter().map(|ready| ready.last.as_ref().unwrap().queue_offset).collect();
        assert_eq!(lasts, [2, 5, 6]);
        assert_eq!(
            sends.iter().map(|ready| ready.source_bytes).sum::<usize>(),
            records.iter().map(Record::encoded_len).sum::<usize>()
        );
        assert_eq!((batcher.position(), batcher.is_empty(), batcher.staged_bytes()), (None, true, 0));
        batcher.stage(&records).unwrap();
        batcher.restart(0);
        assert!(batcher.is_empty() && batcher.take().is_none());
        assert_eq!(all(batcher, records).len(), 3, "nothing of what was forgotten is left");
    }

    #[test]
    fn properties_at_the_limit_are_a_bad_record_and_do_not_disturb_the_others() {
        let long = Message { properties: Bytes::from(vec![b'p'; 10]), ..message(0) };
        let huge = [b"k\x01".to_vec(), vec![b'v'; 32_700], vec![2]].concat();
        let bad = Message { properties: Bytes::from(huge), ..message(1) };
        let limits = Limits { batch_bytes: 100_000, message_bytes: 100_000, ..LIMITS };
        let mut batcher = batcher(limits);
        let records = records([long.clone(), bad, long]);
        assert!(matches!(batcher.stage(&records), Err(Fault::BadRecord { offset: 1, .. })));
        assert!(matches!(batcher.stage(&records[1..]), Err(Fault::BadRecord { offset: 1, .. })));
        batcher.stage(&records[2..]).unwrap();
        assert_eq!(drain(&mut batcher).iter().map(offsets).collect::<Vec<_>>(), [[0], [2]]);
    }

    proptest! {
        /// Whatever the sizes: every record goes into one send, in order, and no send is larger than it may be.
        #[test]
        fn nothing_is_left_out_doubled_or_reordered(
            lengths in prop::collection::vec(0_usize..3_000, 1..40), flags in prop::collection::vec(0_i32..2, 40),
        ) {
            let count = i64::try_from(lengths.len()).unwrap();
            let message = |(length, flag): (&usize, &i32)| Message { sys_flag: *flag, ..sized(*length) };
            let mut batcher = batcher(LIMITS);
            batcher.stage(&records(lengths.iter().zip(&flags).map(message))).unwrap();
            let mut seen = Vec::new();
            for ready in drain(&mut batcher) {
                let sent = offsets(&ready);
                prop_assert_eq!(ready.messages, i64::try_from(sent.len()).unwrap());
                prop_assert!(sent.len() == 1 || ready.bytes <= LIMITS.batch_bytes);
                if let Some(OutgoingBatch { content: Content::Batch(bytes), .. }) = &ready.message {
                    prop_assert!(bytes.len() <= LIMITS.message_bytes);
                }
                seen.extend(sent);
            }
            prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        }
    }
}
