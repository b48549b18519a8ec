//! A queue in memory for tests: it does what brokers do, and what they do wrong, as it is told. It is a source as it
//! stands, and what a target of `memory_sink` stores in.
//!
//! Knows nothing of the code under test beyond the seam, so that what is read back from it can judge that code.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_core::error_code::ErrorCode;
use causeway_rocketmq::wire::record::{Record, body_crc};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::ports::{Bounds, Queue, Read, Source};
use super::trouble::Trouble;

/// Messages of one answer at most, as with a stock broker.
const PULL: usize = 32;

/// A message to append.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) flag: i32,
    pub(crate) body: Bytes,
    pub(crate) properties: Bytes,
    pub(crate) sys_flag: i32,
    pub(crate) born_timestamp: i64,
    pub(crate) reconsume_times: i32,
}

/// A message that carries a number.
pub(crate) fn message(number: u64) -> Message {
    Message {
        body: Bytes::from(format!("message {number}")),
        properties: Bytes::from(format!("KEYS\x01{number}\x02")),
        born_timestamp: 1_000 + i64::try_from(number / 3).unwrap(),
        ..Message::default()
    }
}

/// A queue of a broker.
#[derive(Clone, Default)]
pub(crate) struct MemoryQueue {
    inner: Arc<Mutex<Inner>>,
    grown: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    records: Vec<Record>,
    minimum: usize,
    /// Never repeated, so that another record at an offset is another record.
    stored: i64,
    /// Offsets that the broker silently leaves out.
    hidden: BTreeSet<i64>,
    /// From when on the record at an offset, and whatever stands behind it, can be read.
    shown_from: BTreeMap<usize, Instant>,
    /// Until then nothing is answered.
    frozen_until: Option<Instant>,
    /// Offsets whose record cannot be decoded.
    undecodable: BTreeSet<i64>,
    from_slave: bool,
    connection: u64,
    failing: u32,
    failing_after: Option<u64>,
    reads: u64,
}

impl MemoryQueue {
    pub(crate) fn append_all(&self, messages: impl IntoIterator<Item = Message>) -> i64 {
        let mut inner = self.inner.lock().unwrap();
        let first = inner.records.len();
        for message in messages {
            let queue_offset = i64::try_from(inner.records.len()).unwrap();
            inner.stored += 1;
            let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10911));
            let record = Record {
                queue_id: 0,
                flag: message.flag,
                queue_offset,
                physical_offset: inner.stored * 1000,
                sys_flag: message.sys_flag,
                born_timestamp: message.born_timestamp,
                born_host: host,
                store_timestamp: 5_000 + inner.stored,
                store_host: host,
                reconsume_times: message.reconsume_times,
                prepared_transaction_offset: 0,
                body_crc: body_crc(&message.body),
                body: message.body,
                topic: "orders".into(),
                properties: message.properties,
            };
            inner.records.push(record);
        }
        drop(inner);
        self.grown.notify_waiters();
        i64::try_from(first).unwrap()
    }

    pub(crate) fn record(&self, offset: i64) -> Record {
        self.records()[usize::try_from(offset).unwrap()].clone()
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.inner.lock().unwrap().records.clone()
    }

    /// Loses everything from an offset on.
    pub(crate) fn truncate(&self, length: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.records.truncate(length);
        inner.shown_from.split_off(&length);
    }

    /// What is appended from now on is stored, but not shown for a while.
    pub(crate) fn show_later(&self, wait: Duration) {
        let mut inner = self.inner.lock().unwrap();
        let next = inner.records.len();
        inner.shown_from.insert(next, Instant::now() + wait);
    }

    /// Answers nothing for a while.
    pub(crate) fn freeze(&self, wait: Duration) {
        let (mut inner, until) = (self.inner.lock().unwrap(), Instant::now() + wait);
        inner.frozen_until = inner.frozen_until.max(Some(until));
    }

    pub(crate) fn answers(&self) -> Result<(), Trouble> {
        let is_frozen = self.inner.lock().unwrap().frozen_until.is_some_and(|until| Instant::now() < until);
        if is_frozen { Err(Trouble::new(ErrorCode::Unreachable, "the broker is frozen")) } else { Ok(()) }
    }

    /// Loses everything before an offset.
    pub(crate) fn retain_from(&self, minimum: usize) {
        self.inner.lock().unwrap().minimum = minimum;
    }

    pub(crate) fn hide(&self, offsets: impl IntoIterator<Item = i64>) {
        self.inner.lock().unwrap().hidden.extend(offsets);
    }

    pub(crate) fn make_undecodable(&self, offset: i64) {
        self.inner.lock().unwrap().undecodable.insert(offset);
    }

    pub(crate) fn corrupt(&self, offset: usize) {
        self.inner.lock().unwrap().records[offset].body = Bytes::from_static(b"other bytes");
    }

    /// The next answers come over another connection.
    pub(crate) fn reconnect(&self) {
        self.inner.lock().unwrap().connection += 1;
    }

    pub(crate) fn serve_as_slave(&self, from_slave: bool) {
        self.inner.lock().unwrap().from_slave = from_slave;
    }

    pub(crate) fn fail_reads(&self, times: u32) {
        self.inner.lock().unwrap().failing = times;
    }

    /// Answers so many reads more and then none.
    pub(crate) fn fail_reads_after(&self, reads: u64) {
        let mut inner = self.inner.lock().unwrap();
        inner.failing_after = Some(inner.reads + reads);
    }

    pub(crate) fn reads(&self) -> u64 {
        self.inner.lock().unwrap().reads
    }

    /// How much is stored, and how much of it is shown.
    pub(crate) fn lengths(&self) -> (usize, usize) {
        let inner = self.inner.lock().unwrap();
        (inner.records.len(), Self::shown(&inner))
    }

    fn shown(inner: &Inner) -> usize {
        let hidden = inner.shown_from.iter().find(|(_, from)| Instant::now() < **from);
        hidden.map_or(inner.records.len(), |(offset, _)| inner.records.len().min(*offset))
    }

    fn ends(inner: &Inner) -> Bounds {
        let maximum = i64::try_from(Self::shown(inner)).unwrap();
        Bounds { minimum: i64::try_from(inner.minimum).unwrap().min(maximum), maximum }
    }

    fn read_now(&self, offset: i64, maximum_messages: u32) -> Result<Read, Trouble> {
        let mut inner = self.inner.lock().unwrap();
        inner.reads += 1;
        let has_failed = inner.failing_after.is_some_and(|last| inner.reads > last);
        if inner.failing > 0 || has_failed {
            inner.failing = inner.failing.saturating_sub(1);
            return Err(Trouble::new(ErrorCode::Unreachable, "the broker does not answer"));
        }
        let bounds = Self::ends(&inner);
        let mut records = Vec::new();
        if (bounds.minimum..bounds.maximum).contains(&offset) {
            let most = PULL.min(usize::try_from(maximum_messages).unwrap());
            let visible = inner.records[usize::try_from(offset).unwrap()..Self::shown(&inner)].iter();
            records.extend(visible.filter(|record| !inner.hidden.contains(&record.queue_offset)).take(most).cloned());
        }
        if records.iter().any(|record| inner.undecodable.contains(&record.queue_offset)) {
            return Err(Trouble::new(ErrorCode::Malformed, "record at byte 0 has a bad size"));
        }
        Ok(Read { records, left_out: None, bounds, from_slave: inner.from_slave, connection: inner.connection })
    }
}

impl Queue for MemoryQueue {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        yield_now().await;
        self.answers()?;
        let grown = self.grown.notified();
        let read = self.read_now(offset, maximum_messages)?;
        if read.records.is_empty() && offset == read.bounds.maximum && !wait.is_zero() {
            // Whether it grew or the time is over: the next answer is given at once.
            let _grew = tokio::time::timeout(wait, grown).await;
            return self.read_now(offset, maximum_messages);
        }
        Ok(read)
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        yield_now().await;
        self.answers()?;
        Ok(Self::ends(&self.inner.lock().unwrap()))
    }
}

impl Source for MemoryQueue {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        yield_now().await;
        let inner = self.inner.lock().unwrap();
        let before = inner.records.iter().take_while(|record| record.store_timestamp < timestamp).count();
        Ok(i64::try_from(before).unwrap())
    }
}
