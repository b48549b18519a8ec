//! Turns records into sends: filters, transforms, and packs as many as one send may hold.
//!
//! Pure. Records are packed when they arrive, while their bytes are still in the processor's caches, and what is packed
//! waits here until it is sent: [`Batcher::stage`] takes records in, [`Batcher::take`] gives sends out, and
//! [`Batcher::give_back`] lets the memory of one that was sent be used again. Everything in a batch shares compression
//! bits, reconsume count and born timestamp, so a batch ends where the first two change, and where the third does if
//! the stream wants it exact. Each body is copied once, into the batch. A message that fits no batch is sent alone.
//! Empty bodies always go in a batch, because brokers refuse them alone. Never changes the order, and never leaves out
//! a record that is to be copied.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use causeway_core::fault::Fault;
use causeway_core::stream::BornTimestamp;
use causeway_rocketmq::wire::batch::{self, Batch};
use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::wire::sys_flag;
use causeway_rocketmq::{Content, OutgoingBatch};

use super::buffers::Buffers;
use super::filter::{Filter, Past, Verdict};
use super::ports::LeftOut;
use super::transform::Transform;

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

/// What is kept of the last record of a send. Not the record: it would keep the memory of its whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    /// Its source offset.
    pub(crate) offset: i64,
    /// How it is recognised.
    pub(crate) fingerprint: u64,
    /// When the source stored it, ms since 1970.
    pub(crate) store_timestamp: i64,
}

impl Last {
    pub(crate) fn of(record: &Record) -> Self {
        let (offset, store_timestamp) = (record.queue_offset, record.store_timestamp);
        Self { offset, fingerprint: record.fingerprint(), store_timestamp }
    }
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
    pub(super) last: Option<Last>,
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
    buffers: Arc<Buffers>,
    /// Sends that are complete, the next one first.
    closed: VecDeque<Ready>,
    /// The send that further records go into; its `message` and `bytes` are set when it is closed.
    open: Ready,
    batch: Batch,
    shared: Option<Shared>,
    /// Bytes of the last batch.
    previous: usize,
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
    pub(super) fn new(filter: Filter, transform: Transform, limits: Limits, buffers: Arc<Buffers>) -> Self {
        Self {
            filter,
            transform,
            limits,
            buffers,
            closed: VecDeque::new(),
            open: Ready::default(),
            batch: Batch::new(limits.message_bytes),
            shared: None,
            previous: 0,
            alone_below: i64::MIN,
        }
    }

    /// Forgets what is staged. The next copy stands behind the one of the record before this source offset.
    pub(super) fn restart(&mut self, behind_last_copy: i64) {
        self.closed.clear();
        self.open = Ready::default();
        self.shared = None;
        self.batch = Batch::new(self.limits.message_bytes);
        self.transform.continue_behind(behind_last_copy);
    }

    /// Sends the records below a source offset one by one, to find the one that the target refuses.
    pub(super) fn one_by_one_below(&mut self, offset: i64) {
        self.alone_below = offset;
    }

    /// Lets the memory of a send be used again: it was answered.
    pub(super) fn give_back(&self, sent: Ready) {
        if let Some(Content::Batch(bytes)) = sent.message.map(|message| message.content) {
            self.buffers.give_back(bytes);
        }
    }

    /// Packs records that follow those staged before.
    ///
    /// # Errors
    /// [`Fault::BadRecord`] for the first record that cannot be sent. Those before it are staged, those behind it are
    /// not.
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
            self.open.last = Some(Last::of(last));
        }
        Ok(())
    }

    /// Records a stretch that follows what was staged before and that was left out where it was read.
    pub(super) fn pass_over(&mut self, left_out: &LeftOut) {
        self.open.filtered = self.open.filtered.saturating_add(left_out.filtered);
        self.open.looped = self.open.looped.saturating_add(left_out.looped);
        self.open.first.get_or_insert(left_out.first);
        self.open.last = Some(left_out.last);
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
                    if self.shared.is_none() && self.batch.capacity() == 0 {
                        self.batch.begin(self.buffers.take(self.previous));
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
        self.closed.pop_front()
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
        self.closed.iter().chain([&self.open]).map(|ready| ready.source_bytes).sum()
    }

    /// Completes the open send, if it holds anything. `last` is its last record, unless that was kept already.
    fn close(&mut self, last: Option<&Record>) {
        if self.open.first.is_none() {
            return;
        }
        let mut ready = std::mem::take(&mut self.open);
        if let Some(last) = last {
            ready.last = Some(Last::of(last));
        }
        if let Some(shared) = self.shared.take() {
            self.previous = self.batch.len();
            ready.message = Some(outgoing(Content::Batch(self.batch.take()), shared));
        }
        ready.bytes = ready.message.as_ref().map_or(0, |message| match &message.content {
            Content::Batch(bytes) => bytes.len(),
            Content::Single { body, properties, .. } => batch::encoded_len(body.len(), properties.len()),
        });
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
        // What is needed is a guess until it is written: a second message must not pass the size of a batch either.
        let usual = if batch.is_empty() { limits.message_bytes } else { limits.batch_bytes };
        batch.set_limit(usual.min(limits.message_bytes));
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
