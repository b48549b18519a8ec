//! How nodes reach the target: connections, and batches on their way.
//!
//! A batch that was handed over travels on by itself, whatever becomes of its sender. It is executed when the broker
//! gets to it, which is late where the broker stood still, and never where its connection ended with the broker.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{Epoch, NodeId};
use causeway_core::provenance::{PROPERTY, Provenance};
use causeway_rocketmq::wire::properties;
use causeway_rocketmq::{Dispatched, Durability, Error, OutgoingBatch, Refusal, SendOutcome};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::broker::{Brokers, Storing};
use crate::replicate::memory::{MemoryQueue, Message};
use crate::replicate::memory_sink::unpack;
use crate::replicate::ports::{Bounds, Queue, Read, Sink};
use crate::replicate::trouble::Trouble;

/// A send is given up after this.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest that a kernel keeps bytes on their way, in milliseconds.
const KEPT: u64 = 1_300;

/// The longest that a request waits in a broker that works, in milliseconds.
const QUEUED: u64 = 200;

/// What becomes of one send.
struct Journey {
    /// Until its last bytes leave.
    leaves: Duration,
    /// Its sender is stopped right before that.
    stalled: bool,
    travels: Duration,
    lost: bool,
    queued: Duration,
    busy: bool,
    answers: Duration,
    unanswered: bool,
    /// Behind the end of a freeze.
    wakes: Duration,
}

impl Journey {
    fn draw(brokers: &Brokers) -> Self {
        let inner = &mut *brokers.lock();
        let (random, hardship) = (&mut inner.random, inner.hardship);
        inner.counts.sends += 1;
        let milliseconds = Duration::from_millis;
        Self {
            leaves: milliseconds(if random.chance(hardship.slow) { random.within(10..1_500) } else { 0 }),
            stalled: random.chance(hardship.stalled),
            travels: milliseconds(if random.chance(hardship.late) { random.within(5..KEPT) } else { 1 }),
            lost: random.chance(hardship.lost),
            queued: milliseconds(if random.chance(hardship.late) { random.within(0..QUEUED) } else { 0 }),
            busy: random.chance(hardship.lost),
            answers: milliseconds(if random.chance(hardship.slow) { random.within(5..2_000) } else { 1 }),
            unanswered: random.chance(hardship.lost),
            wakes: milliseconds(random.within(0..3_000)),
        }
    }
}

/// The ownership that a message was sent under; none for what is no copy.
fn epoch_of(message: &Message) -> Epoch {
    let provenance = properties::get(&message.properties, PROPERTY);
    provenance.map_or(Epoch(0), |value| Provenance::parse(value).unwrap().epoch)
}

/// How the process of a node reaches the target: one connection for all of its partitions.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) node: NodeId,
    pub(super) brokers: Arc<Brokers>,
    /// Its number, and the life of the broker that it belongs to.
    connection: Arc<Mutex<Option<(u64, u64)>>>,
}

impl Link {
    pub(super) fn new(node: NodeId, brokers: Arc<Brokers>) -> Self {
        Self { node, brokers, connection: Arc::default() }
    }

    /// The connection and the broker's life, while both last.
    fn present(&self) -> Option<(u64, u64)> {
        let life = self.brokers.lock().life;
        self.connection.lock().unwrap().filter(|(_, of)| *of == life)
    }

    fn close(&self, number: u64) {
        self.connection.lock().unwrap().take_if(|(present, _)| *present == number);
    }
}

/// A send that is under way. Unless it was answered, its connection is closed.
struct UnderWay<'a>(&'a Link, Option<u64>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.1 {
            self.0.close(number);
        }
    }
}

/// What a node does wrong at its end of a link, on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// Until the first send, nothing behind the checkpoint is shown.
    HidesTail,
    /// Sends leave whatever the lease says.
    IgnoresPermits,
}

/// A target queue, as a node reaches it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) link: Link,
    pub(super) number: usize,
    pub(super) fault: Fault,
    /// Nothing behind this offset is shown.
    pub(super) hides_from: Arc<Mutex<Option<i64>>>,
}

impl Target {
    fn queue(&self) -> &MemoryQueue {
        &self.link.brokers.targets[self.number]
    }

    fn shown(&self, bounds: Bounds) -> Bounds {
        let hidden = self.hides_from.lock().unwrap().unwrap_or(i64::MAX);
        Bounds { maximum: bounds.maximum.min(hidden.max(bounds.minimum)), ..bounds }
    }
}

impl Queue for Target {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        sleep(Duration::from_millis(1)).await;
        let mut read = self.queue().read(offset, maximum_messages, wait).await?;
        read.bounds = self.shown(read.bounds);
        read.records.retain(|record| record.queue_offset < read.bounds.maximum);
        Ok(read)
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        sleep(Duration::from_millis(1)).await;
        Ok(self.shown(self.queue().bounds().await?))
    }
}

impl Sink for Target {
    async fn connect(&self) -> Result<u64, Trouble> {
        sleep(Duration::from_millis(1)).await;
        if let Some((present, _)) = self.link.present() {
            return Ok(present);
        }
        let inner = &mut *self.link.brokers.lock();
        if Instant::now() < inner.down_until.max(inner.frozen_until) {
            return Err(Trouble::new(ErrorCode::Unreachable, "the broker does not answer"));
        }
        inner.connections += 1;
        *self.link.connection.lock().unwrap() = Some((inner.connections, inner.life));
        Ok(inner.connections)
    }

    async fn send(&self, batch: OutgoingBatch) -> SendOutcome {
        let ignores = self.fault == Fault::IgnoresPermits;
        let may_leave = || ignores || batch.permit.as_deref().is_none_or(|permitted| permitted());
        let Some((connection, life)) = self.link.present() else {
            return SendOutcome::NotStored(Refusal::NotConnected(Error::Closed));
        };
        if batch.expected_generation != Some(connection) {
            return SendOutcome::NotStored(Refusal::ConnectionChanged(connection));
        }
        if !may_leave() {
            return SendOutcome::NotStored(Refusal::PermitWithdrawn);
        }
        let mut under_way = UnderWay(&self.link, Some(connection));
        let brokers = &self.link.brokers;
        let journey = Journey::draw(brokers);
        if journey.leaves.is_zero() {
            yield_now().await
        } else {
            sleep(journey.leaves).await
        }
        if self.link.present() != Some((connection, life)) {
            return SendOutcome::NotStored(Refusal::NotConnected(Error::Closed));
        }
        if !may_leave() {
            // Half a frame is closed hard, and never executed.
            return SendOutcome::NotStored(Refusal::PermitWithdrawn);
        }
        if journey.stalled {
            // The process is stopped here, and asks nothing any more when it goes on.
            brokers.stall(self.link.node);
            sleep(Duration::from_millis(1)).await;
        }
        let messages = unpack(&batch);
        brokers.handed_over(self.number, self.link.node, epoch_of(&messages[0]), journey.stalled);
        self.hides_from.lock().unwrap().take();
        let (reply, answer) = oneshot::channel();
        brokers.spawn(deliver(Arc::clone(brokers), self.number, messages, life, journey, reply));
        match timeout(SEND_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => {
                under_way.1 = None;
                outcome
            }
            _ => SendOutcome::Unknown(Error::Closed),
        }
    }

    async fn dispatched(&self) -> Result<Option<Dispatched>, Trouble> {
        sleep(Duration::from_millis(1)).await;
        self.queue().answers()?;
        let (stored, shown) = self.queue().lengths();
        let hidden = self.hides_from.lock().unwrap().unwrap_or(i64::MAX);
        let [stored, shown] = [stored, shown].map(|length| i64::try_from(length).unwrap().min(hidden));
        Ok(Some(Dispatched { stored, shown, exact: true }))
    }

    async fn message_limit(&self) -> Result<Option<usize>, Trouble> {
        sleep(Duration::from_millis(1)).await;
        Ok(None)
    }
}

/// A batch on its way, which no longer depends on its sender.
async fn deliver(
    brokers: Arc<Brokers>,
    number: usize,
    messages: Vec<Message>,
    life: u64,
    journey: Journey,
    reply: oneshot::Sender<SendOutcome>,
) {
    sleep(journey.travels).await;
    if journey.lost {
        return;
    }
    let frozen_until = brokers.lock().frozen_until;
    let stood_still = Instant::now() < frozen_until;
    if stood_still {
        sleep_until(frozen_until + journey.wakes).await;
    }
    sleep(journey.queued).await;
    if brokers.lock().life != life {
        return;
    }
    let outcome = if journey.busy {
        SendOutcome::NotStored(Refusal::Busy("[TIMEOUT_CLEAN_QUEUE]".to_owned()))
    } else {
        let how = Storing { is_given_up: reply.is_closed(), is_excused: stood_still || journey.stalled };
        let offset = brokers.store(number, messages, how);
        SendOutcome::Stored { queue_id: u32::try_from(number).unwrap(), offset, durability: Durability::Full }
    };
    sleep(journey.answers).await;
    if !journey.unanswered {
        // Whoever sent it may be gone.
        let _told = reply.send(outcome);
    }
}
