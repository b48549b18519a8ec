//! A target in memory for tests: what becomes of its sends, and what happens to it meanwhile, goes by a script.
//!
//! Knows nothing of the code under test beyond the seam, so that what is read back from it can judge that code.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::wire::batch;
use causeway_rocketmq::{Content, Dispatched, Durability, OutgoingBatch, Refusal, SendOutcome};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::memory::{MemoryQueue, Message};
use super::ports::{Bounds, Queue, Read, Sink};
use super::trouble::Trouble;

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
    /// The first bytes leave at once, and the last ones could so many milliseconds later.
    Slow(u64),
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
    /// When each stored send became whole, and how many messages it held.
    sends: Vec<(Instant, usize)>,
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

    /// How many messages each stored send held.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.script.lock().unwrap().sends.iter().map(|(_, messages)| *messages).collect()
    }

    /// When the message at each offset was stored, where only sends were.
    pub(super) fn stored_at(&self) -> Vec<Instant> {
        let script = self.script.lock().unwrap();
        script.sends.iter().flat_map(|(at, messages)| std::iter::repeat_n(*at, *messages)).collect()
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
        script.sends.push((Instant::now(), stored.len()));
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
                    sleep(wait + Duration::from_secs(1)).await;
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

/// The messages of a send.
pub(crate) fn unpack(message: &OutgoingBatch) -> Vec<Message> {
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
        let may_leave = || message.permit.as_deref().is_none_or(|permitted| permitted());
        if !may_leave() {
            return SendOutcome::NotStored(Refusal::PermitWithdrawn);
        }
        yield_now().await;
        let slow = self.script.lock().unwrap().steps.pop_front_if(|step| matches!(step, Step::Slow(_)));
        if let Some(Step::Slow(milliseconds)) = slow {
            sleep(Duration::from_millis(milliseconds)).await;
        }
        if !may_leave() {
            // Half a frame is closed hard, and never executed.
            self.reconnect();
            return SendOutcome::NotStored(Refusal::PermitWithdrawn);
        }
        let outcome = self.answer(&message);
        yield_now().await;
        outcome
    }

    async fn dispatched(&self) -> Result<Option<Dispatched>, Trouble> {
        yield_now().await;
        self.queue.answers()?;
        let (stored, shown) = self.queue.lengths();
        let stored = if self.script.lock().unwrap().lies { shown } else { stored };
        let (stored, shown) = (i64::try_from(stored).unwrap(), i64::try_from(shown).unwrap());
        Ok(Some(Dispatched { stored, shown, exact: true }))
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
