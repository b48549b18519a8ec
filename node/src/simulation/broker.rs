//! Brokers that do their worst: the ends of every partition, shared by all nodes.
//!
//! What a target stores follows from what reaches it ([`super::link`]), and that is more than what living owners send.
//! A restart may take the newest messages with it, as a promoted slave does that lacks them. Whoever knows everything
//! keeps a [`Ledger`] of each target queue beside it.

use std::collections::VecDeque;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_cluster::sim::Random;
use causeway_core::ids::{Epoch, NodeId};
use futures::FutureExt as _;
use tokio::time::{Instant, sleep};

use crate::replicate::memory::{MemoryQueue, Message, message};

/// The newest notes that are kept.
const NOTES: usize = 120;

/// What happens to brokers and connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub(super) const CALM: Hardship = Hardship { slow: 0, late: 0, lost: 0, stalled: 0, freezes: false };

/// One target queue, as whoever knows everything sees it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The numbers that stand in it, in its order.
    pub(super) copies: Vec<u64>,
    /// How many messages from the first on stand in it.
    pub(super) standing: u64,
    /// How many from the first on were stored at some time.
    pub(super) reached: u64,
    /// Messages of senders that were stopped right before they wrote, and of brokers that had stood still: these alone
    /// may stand there twice.
    pub(super) excused: u64,
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
    /// Senders that were stopped right before they wrote, and wrote when they went on.
    pub(super) stalls: u64,
    /// Of everything that was stored, and when.
    pub(super) fingerprint: u64,
}

pub(super) struct Inner {
    pub(super) random: Random,
    pub(super) hardship: Hardship,
    /// Connections end with it.
    pub(super) life: u64,
    pub(super) down_until: Instant,
    pub(super) frozen_until: Instant,
    pub(super) connections: u64,
    ledgers: Vec<Ledger>,
    /// Nodes that are to be stopped now.
    stalls: Vec<NodeId>,
    /// The first thing that must not have happened.
    broken: Option<String>,
    pub(super) counts: Counts,
    notes: VecDeque<String>,
}

/// The source and the target of a stream.
pub(super) struct Brokers {
    pub(super) sources: Vec<MemoryQueue>,
    pub(super) targets: Vec<MemoryQueue>,
    began: Instant,
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
            notes: VecDeque::new(),
        };
        let some = || (0..queues).map(|_| MemoryQueue::default()).collect();
        Self { sources: some(), targets: some(), began: now, inner: Mutex::new(inner) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on everything works.
    pub(super) fn calm(&self) {
        self.lock().hardship = CALM;
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Keeps what happened, for whoever looks for a cause.
    pub(super) fn note(&self, what: &str) {
        let at = self.began.elapsed().as_millis();
        let notes = &mut self.lock().notes;
        if notes.len() == NOTES {
            notes.pop_front();
        }
        notes.push_back(format!("{at:>7} {what}"));
    }

    /// What happened last.
    pub(super) fn notes(&self) -> String {
        self.lock().notes.iter().map(|note| format!("{note}\n")).collect()
    }

    /// Something must not have happened.
    pub(super) fn breaks(&self, what: String) {
        self.lock().broken.get_or_insert(what);
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.lock().broken.take()
    }

    /// Does something that depends on no node.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        let brokers = Arc::clone(self);
        tokio::spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                brokers.breaks("S9: a panic in a broker".to_owned());
            }
        });
    }

    pub(super) fn take_stalls(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.lock().stalls)
    }

    /// A node is to be stopped before anything of it runs again.
    pub(super) fn stall(&self, node: NodeId) {
        self.lock().stalls.push(node);
    }

    /// The ownership that is agreed on.
    pub(super) fn agree(&self, number: usize, epoch: Epoch) {
        self.lock().ledgers[number].agreed = epoch;
    }

    pub(super) fn look<T>(&self, number: usize, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.lock().ledgers[number])
    }

    /// More messages arrive at the source, now and then, until everything is calm.
    pub(super) async fn produce(self: Arc<Self>) {
        let mut numbers = vec![0_u64; self.sources.len()];
        while !self.is_calm() {
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
        }
    }

    fn is_calm(&self) -> bool {
        self.lock().hardship == CALM
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
        if self.lock().hardship.freezes {
            self.note(&format!("the target stands still for {long:?}"));
            let inner = &mut *self.lock();
            inner.counts.freezes += 1;
            inner.frozen_until = inner.frozen_until.max(Instant::now() + long);
            self.targets.iter().for_each(|target| target.freeze(long));
        }
    }

    pub(super) fn restart(&self, long: Duration, loses: bool) {
        self.note(&format!("the target restarts within {long:?}, loses: {loses}"));
        let inner = &mut *self.lock();
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

    /// The last bytes of a batch leave: no later ownership may be agreed on by then.
    pub(super) fn handed_over(&self, number: usize, node: NodeId, epoch: Epoch, stalled: bool) {
        let agreed = self.look(number, |ledger| ledger.agreed);
        self.note(&format!("node {node} sends to {number} under {epoch}, stopped before: {stalled}"));
        if stalled {
            self.lock().counts.stalls += 1;
        } else if epoch < agreed {
            self.breaks(format!("P4: node {node} writes to {number} under epoch {epoch}, {agreed} is agreed on"));
        }
    }

    /// Stores a batch; answers where.
    pub(super) fn store(&self, number: usize, messages: Vec<Message>, how: Storing) -> i64 {
        let now = self.began.elapsed().as_millis();
        let offset = {
            let inner = &mut *self.lock();
            inner.counts.zombies += u64::from(how.is_given_up);
            let ledger = &mut inner.ledgers[number];
            messages.iter().for_each(|message| ledger.store(number_in(&message.body)));
            if how.is_excused {
                ledger.excused += u64::try_from(messages.len()).unwrap();
            }
            let mut hasher = DefaultHasher::new();
            (inner.counts.fingerprint, now, number, messages.len()).hash(&mut hasher);
            inner.counts.fingerprint = hasher.finish();
            self.targets[number].append_all(messages)
        };
        self.note(&format!("{number} stores at {offset}, {how:?}"));
        offset
    }
}

/// What is known of a batch that is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Storing {
    /// Nobody waits for it any more.
    pub(super) is_given_up: bool,
    /// Its sender was stopped right before it wrote, or the broker had stood still.
    pub(super) is_excused: bool,
}

/// The number of a message.
fn number_in(body: &[u8]) -> u64 {
    std::str::from_utf8(body).unwrap().trim_start_matches("message ").parse().unwrap()
}
