//! Brokers that do their worst: the ends of every partition, shared by all nodes.
//!
//! What a target stores follows from what reaches it, and that is more than what living owners send: a batch that was
//! handed over travels on by itself, whatever becomes of its sender. It is executed when the broker gets to it, which
//! is late where the broker stood still, and never where its connection ended with the broker. A restart may take the
//! newest messages with it, as a promoted slave does that lacks them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cluster::sim::Random;
use causeway_core::ids::{Epoch, NodeId};
use causeway_core::provenance::Provenance;
use causeway_rocketmq::{Dispatched, Durability, Error, OutgoingBatch, Refusal, SendOutcome};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::replicate::memory::{MemoryQueue, Message, message};
use crate::replicate::memory_sink::unpack;
use crate::replicate::ports::{Bounds, Queue, Read, Sink};
use crate::replicate::trouble::Trouble;
use causeway_core::error_code::ErrorCode;

/// A send is given up after this.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest that a kernel keeps bytes on their way, in milliseconds.
const KEPT: u64 = 1_300;

/// The longest that a request waits in a broker that works, in milliseconds.
const QUEUED: u64 = 200;

/// What happens to brokers and connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hardship {
    /// Out of a thousand sends: those whose frame leaves slowly.
    pub(super) slow: u64,
    /// Those that travel for as long as a kernel lets them.
    pub(super) late: u64,
    /// Those that get lost, or whose answer does.
    pub(super) lost: u64,
    /// Those whose sender is stopped between its last look at the lease and the write.
    pub(super) stalled: u64,
    /// Whether brokers stand still, and go on with what they have received.
    pub(super) freezes: bool,
}

/// Nothing happens.
const CALM: Hardship = Hardship { slow: 0, late: 0, lost: 0, stalled: 0, freezes: false };

/// One target queue, as whoever knows everything sees it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The numbers that stand in it, in its order.
    pub(super) copies: Vec<u64>,
    /// How many messages from the first on stand in it.
    pub(super) standing: u64,
    /// How many from the first on were stored at some time.
    pub(super) reached: u64,
    /// The newest ownership under which a batch was handed over.
    newest: Epoch,
    /// The newest ownership that is agreed on.
    agreed: Epoch,
    /// That of the time when the queue last lost messages: who began before may not know it yet.
    pub(super) lost_under: Option<Epoch>,
}

impl Ledger {
    fn store(&mut self, number: u64) {
        self.copies.push(number);
        self.standing += u64::from(number == self.standing);
        self.reached = self.reached.max(self.standing);
    }

    fn lose(&mut self, kept: usize) {
        self.copies.truncate(kept);
        self.standing = self.copies.iter().fold(0, |next, found| next + u64::from(*found == next));
        self.lost_under = Some(self.agreed);
    }
}

/// How often things happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sends: u64,
    /// Batches that were stored when nobody waited for them any more.
    pub(super) zombies: u64,
    pub(super) restarts: u64,
    pub(super) losses: u64,
    pub(super) freezes: u64,
    pub(super) stalls: u64,
}

struct Inner {
    random: Random,
    hardship: Hardship,
    /// Connections end with it.
    life: u64,
    down_until: Instant,
    frozen_until: Instant,
    connections: u64,
    ledgers: Vec<Ledger>,
    /// Nodes that are to be stopped now.
    stalls: Vec<NodeId>,
    /// The first write under an ownership that was over.
    broken: Option<String>,
    counts: Counts,
}

/// The source and the target of a stream.
pub(super) struct Brokers {
    pub(super) sources: Vec<MemoryQueue>,
    pub(super) targets: Vec<MemoryQueue>,
    inner: Mutex<Inner>,
}

impl Brokers {
    pub(super) fn new(queues: usize, random: Random, hardship: Hardship) -> Self {
        let now = Instant::now();
        let inner = Inner {
            random,
            hardship,
            life: 1,
            down_until: now,
            frozen_until: now,
            connections: 0,
            ledgers: (0..queues).map(|_| Ledger::default()).collect(),
            stalls: Vec::new(),
            broken: None,
            counts: Counts::default(),
        };
        let some = || (0..queues).map(|_| MemoryQueue::default()).collect();
        Self { sources: some(), targets: some(), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything works.
    pub(super) fn calm(&self) {
        self.lock().hardship = CALM;
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub(super) fn take_stalls(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.lock().stalls)
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.take()
    }

    pub(super) fn agree(&self, number: usize, epoch: Epoch) {
        self.lock().ledgers[number].agreed = epoch;
    }

    pub(super) fn look<T>(&self, number: usize, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledgers[number])
    }

    /// More messages arrive at the source, now and then, until everything is calm.
    pub(super) async fn produce(self: Arc<Self>) {
        let mut numbers = vec![0_u64; self.sources.len()];
        loop {
            let (pause, number, more) = {
                let random = &mut self.lock().random;
                let queues = u64::try_from(numbers.len()).unwrap();
                (random.within(5..120), random.within(0..queues), random.within(1..25))
            };
            sleep(Duration::from_millis(pause)).await;
            let number = usize::try_from(number).unwrap();
            let first = numbers[number];
            numbers[number] += more;
            self.sources[number].append_all((first..first + more).map(message));
            if self.is_calm() {
                return;
            }
        }
    }

    fn is_calm(&self) -> bool {
        let hardship = self.lock().hardship;
        hardship.slow + hardship.late + hardship.lost == 0
    }

    /// Things happen to the brokers, now and then, until everything is calm.
    pub(super) async fn suffer(self: Arc<Self>) {
        loop {
            let pause = self.lock().random.within(500..12_000);
            sleep(Duration::from_millis(pause)).await;
            if self.is_calm() {
                return;
            }
            let (kind, long) = {
                let random = &mut self.lock().random;
                (random.within(0..10), Duration::from_millis(random.within(20..6_000)))
            };
            match kind {
                0..2 => self.freeze(long),
                2..4 => self.restart(long / 3, false),
                4 => self.restart(long / 3, true),
                5 => self.sources.iter().for_each(|source| source.fail_reads(3)),
                6 => self.sources.iter().for_each(MemoryQueue::reconnect),
                7 => self.sources.iter().for_each(|source| source.freeze(long / 2)),
                _ => self.targets.iter().for_each(|target| target.show_later(long / 8)),
            }
        }
    }

    fn freeze(&self, long: Duration) {
        let mut inner = self.lock();
        if inner.hardship.freezes {
            inner.counts.freezes += 1;
            inner.frozen_until = inner.frozen_until.max(Instant::now() + long);
            self.targets.iter().for_each(|target| target.freeze(long));
        }
    }

    fn restart(&self, long: Duration, loses: bool) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.down_until = Instant::now() + long;
        inner.counts.restarts += 1;
        for (number, target) in self.targets.iter().enumerate() {
            target.freeze(long);
            target.reconnect();
            let lost = if loses { usize::try_from(inner.random.within(0..30)).unwrap() } else { 0 };
            let stored = target.lengths().0;
            // A queue that lost all copies tells nothing of the stream's first life.
            let kept = stored.saturating_sub(lost).max(1);
            if kept < stored {
                target.truncate(kept);
                inner.counts.losses += 1;
                inner.ledgers[number].lose(kept);
            }
        }
    }

    /// What becomes of the next send.
    fn draw(&self, node: NodeId) -> Journey {
        let inner = &mut *self.lock();
        let (random, hardship) = (&mut inner.random, inner.hardship);
        inner.counts.sends += 1;
        let stalled = random.chance(hardship.stalled);
        if stalled {
            inner.counts.stalls += 1;
            inner.stalls.push(node);
        }
        let milliseconds = Duration::from_millis;
        Journey {
            leaves: milliseconds(if random.chance(hardship.slow) { random.within(10..1_500) } else { 0 }),
            stalled,
            travels: milliseconds(if random.chance(hardship.late) { random.within(5..KEPT) } else { 1 }),
            lost: random.chance(hardship.lost),
            queued: milliseconds(if random.chance(hardship.late) { random.within(0..QUEUED) } else { 0 }),
            busy: random.chance(hardship.lost),
            answers: milliseconds(if random.chance(hardship.slow) { random.within(5..2_000) } else { 1 }),
            unanswered: random.chance(hardship.lost),
            wakes: milliseconds(random.within(0..3_000)),
        }
    }

    /// The last bytes of a batch leave: nobody else may have sent under a later ownership before.
    fn handed_over(&self, number: usize, node: NodeId, epoch: Epoch, stalled: bool) {
        let inner = &mut *self.lock();
        let newest = inner.ledgers[number].newest;
        if epoch < newest && !stalled {
            let broken = format!("node {node} writes to queue {number} under epoch {epoch}, after {newest}");
            inner.broken.get_or_insert(broken);
        }
        inner.ledgers[number].newest = newest.max(epoch);
    }

    fn store(&self, number: usize, messages: Vec<Message>, is_given_up: bool) -> i64 {
        let inner = &mut *self.lock();
        inner.counts.zombies += u64::from(is_given_up);
        for message in &messages {
            inner.ledgers[number].store(number_in(&message.body));
        }
        self.targets[number].append_all(messages)
    }
}

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

/// The number of a message.
fn number_in(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().trim_start_matches("message ").parse().unwrap()
}

/// The ownership that a message was sent under.
fn epoch_of(message: &Message) -> Epoch {
    let properties = std::str::from_utf8(&message.properties).unwrap();
    let value = properties.split('\u{2}').find_map(|property| property.strip_prefix("CAUSEWAY\u{1}"));
    Provenance::parse(value.unwrap().as_bytes()).unwrap().epoch
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

    fn present(&self) -> Option<u64> {
        let life = self.brokers.lock().life;
        self.connection.lock().unwrap().filter(|(_, of)| *of == life).map(|(number, _)| number)
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

/// A target queue, as a node reaches it.
#[derive(Clone)]
pub(super) struct TargetQueue {
    pub(super) link: Link,
    pub(super) number: usize,
    /// On purpose: until the first send, nothing behind this offset is shown.
    pub(super) hides_from: Arc<Mutex<Option<i64>>>,
}

impl TargetQueue {
    fn queue(&self) -> &MemoryQueue {
        &self.link.brokers.targets[self.number]
    }

    fn shown(&self, bounds: Bounds) -> Bounds {
        let hidden = self.hides_from.lock().unwrap().unwrap_or(i64::MAX);
        Bounds { maximum: bounds.maximum.min(hidden.max(bounds.minimum)), ..bounds }
    }
}

impl Queue for TargetQueue {
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

impl Sink for TargetQueue {
    async fn connect(&self) -> Result<u64, Trouble> {
        sleep(Duration::from_millis(1)).await;
        if let Some(present) = self.link.present() {
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
        let may_leave = || batch.permit.as_deref().is_none_or(|permitted| permitted());
        let Some(connection) = self.link.present() else {
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
        let journey = brokers.draw(self.link.node);
        if journey.leaves.is_zero() {
            yield_now().await
        } else {
            sleep(journey.leaves).await
        }
        if self.link.present() != Some(connection) {
            return SendOutcome::NotStored(Refusal::NotConnected(Error::Closed));
        }
        if !may_leave() {
            // Half a frame is closed hard, and never executed.
            return SendOutcome::NotStored(Refusal::PermitWithdrawn);
        }
        let stalled = journey.stalled;
        if stalled {
            // The process is stopped here, and asks nothing any more when it goes on.
            sleep(Duration::from_millis(1)).await;
        }
        let messages = unpack(&batch);
        let epoch = epoch_of(&messages[0]);
        brokers.handed_over(self.number, self.link.node, epoch, stalled);
        self.hides_from.lock().unwrap().take();
        let (reply, answer) = oneshot::channel();
        let life = brokers.lock().life;
        tokio::spawn(deliver(Arc::clone(brokers), self.number, messages, life, journey, reply));
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
    if Instant::now() < frozen_until {
        sleep_until(frozen_until + journey.wakes).await;
    }
    sleep(journey.queued).await;
    if brokers.lock().life != life {
        return;
    }
    let outcome = if journey.busy {
        SendOutcome::NotStored(Refusal::Busy("[TIMEOUT_CLEAN_QUEUE]".to_owned()))
    } else {
        let offset = brokers.store(number, messages, reply.is_closed());
        // Every queue of the simulation has number `number` at its broker, and in memory each is a queue of its own.
        SendOutcome::Stored { queue_id: u32::try_from(number).unwrap(), offset, durability: Durability::Full }
    };
    sleep(journey.answers).await;
    if !journey.unanswered {
        // Whoever sent it may be gone.
        let _told = reply.send(outcome);
    }
}
