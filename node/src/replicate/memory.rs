//! An in-memory pair of ends for tests: a source queue and a target queue that do what brokers do, and what they do
//! wrong, by script.
//!
//! Knows nothing of the code under test beyond the seam, so that what is read back from it can judge that code.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_core::error_code::ErrorCode;
use causeway_rocketmq::wire::batch;
use causeway_rocketmq::wire::record::{Record, body_crc};
use causeway_rocketmq::{Content, Dispatched, Durability, OutgoingBatch, Refusal, SendOutcome};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::ports::{Bounds, Queue, Read, Sink, Source};
use super::trouble::Trouble;

/// Messages of one answer at most, as with a stock broker.
const PULL: usize = 32;

/// A message to append.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) flag: i32,
    pub(super) body: Bytes,
    pub(super) properties: Bytes,
    pub(super) sys_flag: i32,
    pub(super) born_timestamp: i64,
    pub(super) reconsume_times: i32,
}

/// A message that carries a number.
pub(super) fn message(number: u64) -> Message {
    Message {
        body: Bytes::from(format!("message {number}")),
        properties: Bytes::from(format!("KEYS\x01{number}\x02")),
        born_timestamp: 1_000 + i64::try_from(number / 3).unwrap(),
        ..Message::default()
    }
}

/// A queue of a broker.
#[derive(Clone, Default)]
pub(super) struct MemoryQueue {
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
    pub(super) fn append_all(&self, messages: impl IntoIterator<Item = Message>) -> i64 {
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

    pub(super) fn record(&self, offset: i64) -> Record {
        self.records()[usize::try_from(offset).unwrap()].clone()
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.inner.lock().unwrap().records.clone()
    }

    /// Loses everything from an offset on.
    pub(super) fn truncate(&self, length: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.records.truncate(length);
        inner.shown_from.split_off(&length);
    }

    /// What is appended from now on is stored, but not shown for a while.
    pub(super) fn show_later(&self, wait: Duration) {
        let mut inner = self.inner.lock().unwrap();
        let next = inner.records.len();
        inner.shown_from.insert(next, Instant::now() + wait);
    }

    /// Answers nothing for a while.
    pub(super) fn freeze(&self, wait: Duration) {
        self.inner.lock().unwrap().frozen_until = Some(Instant::now() + wait);
    }

    fn answers(&self) -> Result<(), Trouble> {
        let is_frozen = self.inner.lock().unwrap().frozen_until.is_some_and(|until| Instant::now() < until);
        if is_frozen { Err(Trouble::new(ErrorCode::Unreachable, "the broker is frozen")) } else { Ok(()) }
    }

    /// Loses everything before an offset.
    pub(super) fn retain_from(&self, minimum: usize) {
        self.inner.lock().unwrap().minimum = minimum;
    }

    pub(super) fn hide(&self, offsets: impl IntoIterator<Item = i64>) {
        self.inner.lock().unwrap().hidden.extend(offsets);
    }

    pub(super) fn make_undecodable(&self, offset: i64) {
        self.inner.lock().unwrap().undecodable.insert(offset);
    }

    pub(super) fn corrupt(&self, offset: usize) {
        self.inner.lock().unwrap().records[offset].body = Bytes::from_static(b"other bytes");
    }

    /// The next answers come over another connection.
    pub(super) fn reconnect(&self) {
        self.inner.lock().unwrap().connection += 1;
    }

    pub(super) fn serve_as_slave(&self, from_slave: bool) {
        self.inner.lock().unwrap().from_slave = from_slave;
    }

    pub(super) fn fail_reads(&self, times: u32) {
        self.inner.lock().unwrap().failing = times;
    }

    /// Answers so many reads more and then none.
    pub(super) fn fail_reads_after(&self, reads: u64) {
        let mut inner = self.inner.lock().unwrap();
        inner.failing_after = Some(inner.reads + reads);
    }

    pub(super) fn reads(&self) -> u64 {
        self.inner.lock().unwrap().reads
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
        Ok(Read { records, bounds, from_slave: inner.from_slave, connection: inner.connection })
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

/// What becomes of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Stored as it should be.
    Store,
    /// Stored with less durability.
    Weak,
    /// Refused before it was stored.
    Busy,
    /// No answer; so many of its messages landed.
    Unknown(usize),
    /// The connection is lost between two sends.
    Reconnect,
    /// The target loses so many of its last messages and another master takes over, but keeps the first copy.
    LoseTail(usize),
    /// The target loses so many of its last messages under the living connection, but keeps the first copy.
    GoBack(usize),
    /// Another producer writes so many messages first.
    Foreign(usize),
    /// What is stored from now on is shown after so many milliseconds.
    ShowLater(u64),
    /// Stored in another queue.
    Misplace,
    /// The broker freezes for so many milliseconds, and stores the message a second after it answers again.
    Freeze(u64),
}

/// A target queue.
#[derive(Clone, Default)]
pub(super) struct MemorySink {
    pub(super) queue: MemoryQueue,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    steps: VecDeque<Step>,
    connection: u64,
    in_flight: bool,
    overlapped: bool,
    /// Does not tell that it hides what it has stored.
    lies: bool,
    /// A message with this body is refused.
    refused: Option<Bytes>,
    limit: Option<usize>,
    /// How many messages each stored send held.
    sizes: Vec<usize>,
    /// Bodies that were ever stored.
    ever: BTreeSet<Bytes>,
}

impl MemorySink {
    pub(super) fn play(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.lock().unwrap().steps.extend(steps);
    }

    pub(super) fn calm(&self) {
        self.script.lock().unwrap().steps.clear();
    }

    pub(super) fn refuse(&self, body: Bytes) {
        self.script.lock().unwrap().refused = Some(body);
    }

    pub(super) fn limit(&self, bytes: usize) {
        self.script.lock().unwrap().limit = Some(bytes);
    }

    pub(super) fn sizes(&self) -> Vec<usize> {
        self.script.lock().unwrap().sizes.clone()
    }

    pub(super) fn ever_stored(&self, body: &Bytes) -> bool {
        self.script.lock().unwrap().ever.contains(body)
    }

    pub(super) fn overlapped(&self) -> bool {
        self.script.lock().unwrap().overlapped
    }

    pub(super) fn lie(&self) {
        self.script.lock().unwrap().lies = true;
    }

    /// Loses the last messages and takes over on another connection.
    pub(super) fn lose_tail(&self, messages: usize) {
        self.go_back(messages);
        self.reconnect();
    }

    /// Loses the last messages.
    pub(super) fn go_back(&self, messages: usize) {
        let records = self.queue.records();
        let first_copy = records.iter().position(|record| record.property("CAUSEWAY").is_some());
        let kept = first_copy.map_or(0, |first| first + 1);
        self.queue.truncate(records.len().saturating_sub(messages).max(kept.min(records.len())));
    }

    pub(super) fn append_foreign(&self, messages: usize) {
        let foreign = Message { body: Bytes::from_static(b"foreign"), ..Message::default() };
        self.queue.append_all(std::iter::repeat_n(foreign, messages));
    }

    pub(super) fn reconnect(&self) {
        self.script.lock().unwrap().connection += 1;
    }

    /// Stores the first messages of a send.
    pub(super) fn store(&self, message: &OutgoingBatch, at_most: usize) -> i64 {
        let inner = unpack(message);
        let stored: Vec<_> = inner.into_iter().take(at_most).collect();
        let mut script = self.script.lock().unwrap();
        script.ever.extend(stored.iter().map(|message| message.body.clone()));
        script.sizes.push(stored.len());
        drop(script);
        self.queue.append_all(stored)
    }

    /// Some of what happens to the target happens before a send looks at its connection, and not under way.
    fn disturb(&self) {
        let mut script = self.script.lock().unwrap();
        let is_due = script.steps.len().is_multiple_of(2);
        let next = script.steps.pop_front_if(|step| is_due && matches!(step, Step::LoseTail(_) | Step::Reconnect));
        drop(script);
        match next {
            Some(Step::LoseTail(messages)) => self.lose_tail(messages),
            Some(_) => self.reconnect(),
            None => {}
        }
    }

    fn answer(&self, message: &OutgoingBatch) -> SendOutcome {
        let step = loop {
            let next = self.script.lock().unwrap().steps.pop_front().unwrap_or(Step::Store);
            match next {
                Step::LoseTail(messages) => self.lose_tail(messages),
                Step::GoBack(messages) => self.go_back(messages),
                Step::Foreign(messages) => self.append_foreign(messages),
                Step::ShowLater(milliseconds) => self.queue.show_later(Duration::from_millis(milliseconds)),
                Step::Reconnect => self.reconnect(),
                step => break step,
            }
        };
        let connection = self.script.lock().unwrap().connection;
        if message.expected_generation != Some(connection) {
            return SendOutcome::NotStored(Refusal::ConnectionChanged(connection));
        }
        let refused = self.script.lock().unwrap().refused.clone();
        if refused.is_some_and(|body| unpack(message).iter().any(|inner| inner.body == body)) {
            return SendOutcome::NotStored(Refusal::Illegal("the message is illegal".to_owned()));
        }
        match step {
            Step::Busy => SendOutcome::NotStored(Refusal::Busy("[OVERLOAD]".to_owned())),
            Step::Unknown(landed) => {
                if landed > 0 {
                    self.store(message, landed);
                }
                // A broker may say "unknown" over a connection that lives on.
                if landed % 2 == 0 {
                    self.reconnect();
                }
                SendOutcome::Unknown(causeway_rocketmq::Error::Closed)
            }
            Step::Freeze(milliseconds) => {
                let wait = Duration::from_millis(milliseconds);
                self.queue.freeze(wait);
                let (late, message) = (self.clone(), message.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(wait + Duration::from_secs(1)).await;
                    late.store(&message, usize::MAX);
                });
                SendOutcome::Unknown(causeway_rocketmq::Error::Closed)
            }
            step => {
                let durability = if step == Step::Weak { Durability::SlaveNotAvailable } else { Durability::Full };
                let queue_id = u32::from(step == Step::Misplace);
                SendOutcome::Stored { queue_id, offset: self.store(message, usize::MAX), durability }
            }
        }
    }
}

fn unpack(message: &OutgoingBatch) -> Vec<Message> {
    let one = |flag, body, properties| Message {
        flag,
        body,
        properties,
        sys_flag: message.sys_flag,
        born_timestamp: message.born_timestamp,
        reconsume_times: message.reconsume_times,
    };
    match &message.content {
        Content::Batch(bytes) => batch::decode(bytes)
            .map(Result::unwrap)
            .map(|inner| one(inner.flag, inner.body, inner.properties))
            .collect(),
        Content::Single { body, properties, flag } => vec![one(*flag, body.clone(), properties.clone())],
    }
}

impl Queue for MemorySink {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        self.queue.read(offset, maximum_messages, wait).await
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        self.queue.bounds().await
    }
}

impl Sink for MemorySink {
    async fn connect(&self) -> Result<u64, Trouble> {
        yield_now().await;
        self.disturb();
        Ok(self.script.lock().unwrap().connection)
    }

    async fn send(&self, message: OutgoingBatch) -> SendOutcome {
        let _flight = Flight::begin(&self.script);
        yield_now().await;
        let outcome = self.answer(&message);
        yield_now().await;
        outcome
    }

    async fn dispatched(&self) -> Result<Option<Dispatched>, Trouble> {
        yield_now().await;
        self.queue.answers()?;
        let inner = self.queue.inner.lock().unwrap();
        let shown = i64::try_from(MemoryQueue::shown(&inner)).unwrap();
        let stored = if self.script.lock().unwrap().lies { shown } else { i64::try_from(inner.records.len()).unwrap() };
        Ok(Some(Dispatched { stored, shown }))
    }

    async fn message_limit(&self) -> Result<Option<usize>, Trouble> {
        yield_now().await;
        Ok(self.script.lock().unwrap().limit)
    }
}

/// Notices two sends at once.
struct Flight(Arc<Mutex<Script>>);

impl Flight {
    fn begin(script: &Arc<Mutex<Script>>) -> Self {
        let mut inner = script.lock().unwrap();
        inner.overlapped |= inner.in_flight;
        inner.in_flight = true;
        Self(Arc::clone(script))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.lock().unwrap().in_flight = false;
    }
}
