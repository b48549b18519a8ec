//! The target side of a run: one batch in flight, never one without a valid lease, and never one onto a tail that was
//! not looked at.
//!
//! | what became of the send | what follows |
//! |---|---|
//! | stored at the expected offset | acknowledged |
//! | stored above it | what stands between is looked at: copies of ours there were written by a dead owner, and where the last one does not stand the tail is read: the target lost it and was filled up again |
//! | stored below it | the target lost what stood there: the tail is read |
//! | stored in another queue | a fault: order is lost, and sending again would store it twice |
//! | provably not stored: busy, full, forbidden, unreachable | blocked, tried again; spends no message |
//! | provably not stored: this very message is refused | batches are sent one by one until the bad record is alone |
//! | another connection than the one that was verified, also while there is nothing to send | the tail is read |
//! | unknown | the tail is read before anything is sent again |
//! | not begun, or given up before its last bytes left, because the lease is over | the run ends |

use std::sync::Arc;
use std::time::Duration;

use causeway_core::checkpoint::LastCopy;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_rocketmq::{Durability, OutgoingBatch, Refusal, SendOutcome};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

use super::batching::Ready;
use super::condition::Condition;
use super::exit::PartitionExit;
use super::in_flight::InFlight;
use super::late::LateCopies;
use super::ports::Sink;
use super::resume::{Cause, Resumed};
use super::retry::Retry;
use super::settings::ReplicateSettings;
use super::stop::StopSignal;
use super::tail::{OwnCopies, OwnCopy, Standing};
use super::trouble::Trouble;
use super::watch::{Stretch, Watch};
use crate::lease::{LeaseLost, Tenure};
use crate::status::PartitionGauge;

/// The longest stretch between two own batches that is looked into while nobody watches, in messages.
const LONGEST_JUMP: i64 = 10_000;

/// How often the target is looked at when nothing is stored there: whether the last copy still stands, and how far the
/// queue has come, so that a later look has little to read.
const LOOK: Duration = Duration::from_secs(60);

/// A send was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    /// The target offset of its first message.
    pub(super) offset: i64,
    /// Whether it is as durable as the target is configured for.
    pub(super) full: bool,
}

/// Why copying does not go on as it was.
#[derive(Debug, PartialEq)]
pub(super) enum Interruption {
    /// The target's tail has to be read.
    Resume(Cause),
    /// One of the records below this source offset is refused: they are sent one by one.
    OneByOne(i64),
    /// The run ends.
    Exit(PartitionExit),
}

impl From<PartitionExit> for Interruption {
    fn from(exit: PartitionExit) -> Self {
        Self::Exit(exit)
    }
}

impl From<Fault> for Interruption {
    fn from(fault: Fault) -> Self {
        Self::Exit(PartitionExit::Fault(fault))
    }
}

/// Writes to one target queue.
pub(super) struct Writer<K> {
    pub(super) sink: K,
    /// Held while a batch is in flight; other partitions may write to the same queue.
    turn: Arc<Mutex<()>>,
    own: OwnCopies,
    settings: Arc<ReplicateSettings>,
    condition: Arc<Condition>,
    gauge: Arc<PartitionGauge>,
    stop: StopSignal,
    in_flight: Arc<InFlight>,
    queue: u32,
    retry: Retry,
    /// The connection over which the tail was read.
    verified: Option<u64>,
    /// Where the next batch is stored if nobody else writes.
    expected: i64,
    last_copy: Option<LastCopy>,
    shared: bool,
    /// Whether a dead owner's copies are looked for.
    watch: Watch,
    /// Whether this run is not the first of its partition.
    had_owner: bool,
    /// When to look at the connection, and at the target, if nothing is stored before.
    next_check: Instant,
    next_look: Instant,
}

/// What a writer needs beside its queue.
pub(super) struct Writing {
    pub(super) turn: Arc<Mutex<()>>,
    pub(super) own: OwnCopies,
    pub(super) settings: Arc<ReplicateSettings>,
    pub(super) condition: Arc<Condition>,
    pub(super) gauge: Arc<PartitionGauge>,
    pub(super) stop: StopSignal,
    /// Told of every send.
    pub(super) in_flight: Arc<InFlight>,
    /// The number of the target queue.
    pub(super) queue: u32,
    /// Whether the run is not the first of its partition, so that an earlier one may have sent something.
    pub(super) had_owner: bool,
    /// Seed of the waits' jitter.
    pub(super) seed: u64,
}

impl<K: Sink> Writer<K> {
    pub(super) fn new(sink: K, writing: Writing) -> Self {
        let Writing { turn, own, settings, condition, gauge, stop, in_flight, queue, had_owner, seed } = writing;
        let now = Instant::now();
        Self {
            sink,
            turn,
            own,
            retry: Retry::new(&settings, seed),
            next_check: now + settings.poll_wait,
            settings,
            condition,
            gauge,
            stop,
            in_flight,
            queue,
            verified: None,
            expected: 0,
            last_copy: None,
            shared: false,
            watch: Watch::default(),
            had_owner,
            next_look: now + LOOK,
        }
    }

    /// The tail was read over this connection.
    pub(super) fn verified(&mut self, connection: u64, resumed: &Resumed, cause: Cause) {
        if self.verified.replace(connection) == Some(connection) && cause == Cause::Connection {
            // Nothing failed but looks, and this one did not.
            self.retry.succeeded();
        }
        self.last_copy = resumed.last_copy;
        self.expected = resumed.end;
        self.shared |= resumed.shared;
        let may_land_late = match cause {
            Cause::Start => self.had_owner,
            Cause::Unknown | Cause::Stray { .. } => true,
            Cause::Connection => false,
        };
        if may_land_late {
            self.watch.open(self.settings.watch, self.settings.settle_own);
        }
        self.seen_well();
    }

    /// The connection over which the tail was read.
    pub(super) fn verified_connection(&self) -> Option<u64> {
        self.verified
    }

    /// The target offset below which this run knows every copy of its partition, while every send is answered.
    pub(super) fn complete_to(&self) -> i64 {
        self.expected
    }

    /// Whether others' messages are looked through for a dead owner's copies: for a while, and where there should be
    /// none.
    pub(super) fn watches(&self) -> bool {
        !self.shared || self.watch.is_open()
    }

    fn seen_well(&mut self) {
        let now = Instant::now();
        self.next_check = now + self.settings.poll_wait;
        self.next_look = self.watch.next_look(now).unwrap_or(now + LOOK);
    }

    /// A look that began then, or a send, has shown everything that was stored by then.
    pub(super) async fn looked(&mut self, began: Instant) {
        for (from, to) in self.watch.looked(began) {
            let rest = self.look_through(from, to).await.unwrap_or(Some((from, to)));
            rest.into_iter().for_each(unread);
        }
    }

    /// Sends what is ready, as often as it provably was not stored, and waits for the answer. A stop is heeded between
    /// sends only, so that no send is left unanswered.
    pub(super) async fn write(&mut self, ready: &Ready, lease: &Tenure) -> Result<Option<Ack>, Interruption> {
        let (Some(message), Some(first)) = (&ready.message, ready.first_copied) else { return Ok(None) };
        loop {
            let began = Instant::now();
            let outcome = match self.send(message, lease).await? {
                Ok(outcome) => outcome,
                Err(trouble) => {
                    self.wait(&trouble).await?;
                    continue;
                }
            };
            let refused = match outcome {
                SendOutcome::Stored { queue_id, .. } if queue_id != self.queue => {
                    // Not tried again, unlike a record that is refused: all of it is stored.
                    let to = ready.last_copied.unwrap_or(first).saturating_add(1);
                    return Err(Fault::StoredElsewhere { from: first, to, asked: self.queue, found: queue_id }.into());
                }
                SendOutcome::Stored { offset, durability, .. } => {
                    self.retry.succeeded();
                    let ack = Ack { offset, full: durability == Durability::Full };
                    self.stored(ack, ready).await?;
                    self.looked(began).await;
                    return Ok(Some(ack));
                }
                SendOutcome::Unknown(error) => {
                    let trouble = Trouble::from(error);
                    self.wait(&trouble).await?;
                    return Err(Interruption::Resume(Cause::Unknown));
                }
                SendOutcome::NotStored(refusal) => refusal,
            };
            let trouble = match judge(refused) {
                Judgement::Withdrawn => return Err(PartitionExit::LeaseLost.into()),
                Judgement::OtherConnection => return Err(Interruption::Resume(Cause::Connection)),
                Judgement::BadRecord(reason) if ready.messages == 1 => {
                    return Err(Fault::BadRecord { offset: first, reason }.into());
                }
                Judgement::BadRecord(_) => {
                    return Err(Interruption::OneByOne(ready.last_copied.unwrap_or(first).saturating_add(1)));
                }
                Judgement::Trouble(trouble) => trouble,
            };
            self.wait(&trouble).await?;
        }
    }

    /// Looks at the connection now and then while there is nothing to send, and returns when the tail has to be read: a
    /// target that lost acknowledged copies has to be noticed in silence too. May be given up at any await, and goes on
    /// where it was.
    pub(super) async fn watch(&mut self, lease: &Tenure) -> Interruption {
        loop {
            sleep_until(self.next_check.min(self.next_look)).await;
            if let Err(LeaseLost) = lease.check() {
                // Not at the next message: its run would have to settle first.
                return PartitionExit::LeaseLost.into();
            }
            if Instant::now() >= self.next_look {
                return Interruption::Resume(Cause::Connection);
            }
            match self.sink.connect().await {
                Ok(connection) if self.verified == Some(connection) => {
                    self.next_check = Instant::now() + self.settings.poll_wait;
                    continue;
                }
                Ok(_) => {}
                Err(trouble) => {
                    if let Err(exit) = self.wait(&trouble).await {
                        return exit.into();
                    }
                }
            }
            return Interruption::Resume(Cause::Connection);
        }
    }

    async fn send(
        &self,
        message: &OutgoingBatch,
        lease: &Tenure,
    ) -> Result<Result<SendOutcome, Trouble>, Interruption> {
        let _turn = self.stop.unless_stopped(self.turn.lock()).await?;
        let connection = match self.stop.unless_stopped(self.sink.connect()).await? {
            Ok(connection) => connection,
            Err(trouble) => return Ok(Err(trouble)),
        };
        if self.verified != Some(connection) {
            return Err(Interruption::Resume(Cause::Connection));
        }
        // After everything that may have been waited for; the permit is asked again directly before the last bytes.
        lease.check().map_err(|LeaseLost| PartitionExit::LeaseLost)?;
        let message =
            OutgoingBatch { expected_generation: Some(connection), permit: lease.permit(), ..message.clone() };
        self.in_flight.begin();
        let outcome = self.sink.send(message).await;
        match outcome {
            SendOutcome::Stored { .. } => self.in_flight.stored(),
            SendOutcome::NotStored(_) => self.in_flight.refused(),
            SendOutcome::Unknown(_) => {}
        }
        Ok(Ok(outcome))
    }

    async fn stored(&mut self, Ack { offset, full }: Ack, ready: &Ready) -> Result<(), Interruption> {
        let end = offset.saturating_add(ready.messages);
        let stray = Interruption::Resume(Cause::Stray { from: offset, to: end, full });
        if offset < self.expected {
            return Err(stray);
        }
        if offset > self.expected {
            if !self.last_copy_stands().await {
                return Err(stray);
            }
            if self.watches() {
                self.look_between(self.expected, offset).await?;
            }
        }
        self.expected = end;
        let place = |source_offset| LastCopy { source_offset, target_offset: end.saturating_sub(1) };
        self.last_copy = ready.last_copied.map(place).or(self.last_copy);
        self.seen_well();
        Ok(())
    }

    /// Whether the last copy stands in its place. If something else does, the target lost it under the living
    /// connection, and others have filled the queue up again. Where that cannot be told in time, the tail has to: once
    /// the next copy is the last one, nobody asks for this one again.
    async fn last_copy_stands(&self) -> bool {
        let Some(copy) = self.last_copy else { return true };
        let look = async || match self.own.standing(&self.sink, copy).await {
            Ok(Standing::Stands(_) | Standing::Retired) => Ok(true),
            Ok(Standing::Gone) => Ok(false),
            Ok(Standing::NotShown | Standing::Unreadable) | Err(_) => Err(()),
        };
        self.until_shown(look).await.unwrap_or(false)
    }

    /// Looks at what stands before an answered send: that may not be shown yet, so it is waited for as long as settling
    /// takes.
    async fn until_shown<T, E>(&self, look: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
        let began = Instant::now();
        loop {
            match look().await {
                Err(_) if began.elapsed() < self.settings.settle_own => sleep(self.settings.settle_poll).await,
                looked => return looked,
            }
        }
    }

    /// Looks for copies of ours that stand where none should. Nothing depends on them: the order of the offsets alone
    /// says where copying goes on. After a stop, progress stays in front of what was not looked through, so that the
    /// next run's tail read shows it.
    async fn look_between(&mut self, from: i64, to: i64) -> Result<(), PartitionExit> {
        let from = if self.watch.is_open() { from } else { from.max(to.saturating_sub(LONGEST_JUMP)) };
        let Some(stretch) = self.look_through(from, to).await? else { return Ok(()) };
        let given_up = if self.watch.is_open() { self.watch.keep(stretch) } else { Some(stretch) };
        given_up.into_iter().for_each(unread);
        Ok(())
    }

    /// Counts and reports copies of ours in a stretch that holds none which was acknowledged. Returns what of it could
    /// not be read. A look that a stop ends counts nothing: whoever looks again does.
    async fn look_through(&mut self, from: i64, to: i64) -> Result<Option<Stretch>, PartitionExit> {
        let began = Instant::now();
        let (mut next, mut late, mut foreign) = (from, LateCopies::default(), false);
        let stop = self.stop.clone();
        loop {
            let rest = next;
            let see = |seen: Option<OwnCopy>| {
                next = next.saturating_add(1);
                match seen {
                    Some(copy) => late.see(copy),
                    None => foreign = true,
                }
            };
            match stop.unless_stopped(self.own.scan(&self.sink, rest, to, see)).await? {
                Err(_) if began.elapsed() < self.settings.settle_own => sleep(self.settings.settle_poll).await,
                _ => break,
            }
        }
        self.shared |= foreign;
        late.report(&self.gauge);
        Ok((next < to).then_some((next, to)))
    }

    /// Shows what is wrong and waits before the next attempt; ends the run when that has been long enough.
    pub(super) async fn wait(&mut self, trouble: &Trouble) -> Result<(), PartitionExit> {
        self.wait_since(Instant::now(), trouble).await
    }

    /// The same for trouble of the source, before it is read by itself.
    pub(super) async fn wait_for_source(&mut self, trouble: &Trouble) -> Result<(), PartitionExit> {
        self.wait_or(Instant::now(), trouble, PartitionExit::source_lost).await
    }

    /// The same after an attempt that took its time: it began then.
    pub(super) async fn wait_since(&mut self, began: Instant, trouble: &Trouble) -> Result<(), PartitionExit> {
        self.wait_or(began, trouble, PartitionExit::sink_lost).await
    }

    async fn wait_or(
        &mut self,
        began: Instant,
        trouble: &Trouble,
        exit: fn(Trouble) -> PartitionExit,
    ) -> Result<(), PartitionExit> {
        self.condition.blocked(trouble);
        if self.stop.unless_stopped(self.retry.wait_since(began)).await? {
            return Ok(());
        }
        Err(exit(trouble.clone()))
    }
}

impl<K> Drop for Writer<K> {
    fn drop(&mut self) {
        // Whoever goes on begins behind them.
        self.watch.give_up().into_iter().for_each(unread);
    }
}

fn unread((from, to): Stretch) {
    tracing::warn!(from, to, "others' messages in the target queue were not looked through for late copies");
}

/// What a refusal means for copying.
enum Judgement {
    Withdrawn,
    OtherConnection,
    BadRecord(String),
    Trouble(Trouble),
}

fn judge(refusal: Refusal) -> Judgement {
    let (code, why) = match refusal {
        Refusal::PermitWithdrawn => return Judgement::Withdrawn,
        Refusal::ConnectionChanged(_) => return Judgement::OtherConnection,
        Refusal::TooLarge(why) | Refusal::Illegal(why) => return Judgement::BadRecord(why),
        Refusal::NotConnected(error) => return Judgement::Trouble(Trouble::from(error)),
        Refusal::Busy(why) => (ErrorCode::Busy, why),
        Refusal::Authentication(why) | Refusal::NoPermission(why) => (ErrorCode::InstanceDenied, why),
        Refusal::TopicMissing(why) => (ErrorCode::TopicMissing, why),
        Refusal::NotSupported(why) => (ErrorCode::Unsupported, why),
        Refusal::GroupMissing(why) | Refusal::InvalidParameter(why) => (ErrorCode::InstanceRefused, why),
    };
    Judgement::Trouble(Trouble::new(code, format!("the target refuses messages: {why}")))
}
