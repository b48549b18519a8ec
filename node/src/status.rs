//! What is true right now, for people and for metrics: one gauge per running partition, one condition per stream.
//!
//! The data path writes atomics and never waits; readers take a snapshot. Unknown is `None`, never zero.

mod answers;
pub mod node;
mod others;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{Epoch, NodeId, StreamId, Timestamp};
use causeway_core::partition::PartitionId;
use serde::{Deserialize, Serialize};

pub use answers::ON_ITS_WAY;
use answers::SourceAnswers;
pub use others::Silence;
use others::{Neighbour, Ownerships};

/// The states of streams and partitions that people see.
///
/// ```text
/// ready -> starting -> catching_up <-> running
///              ^            |             |
///              +- blocked <-+-------------+     heals itself
///                 faulted <-+-------------+     waits for a decision
///   pausing -> paused, deleting                 asked for
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Exists; nothing runs yet.
    Ready,
    /// Settling and reading the target's tail.
    Starting,
    /// Copying a backlog.
    CatchingUp,
    /// At the end of the source queue.
    Running,
    /// Stopped by the operator.
    Paused,
    /// Stopped by the operator, and the sends under way have not ended.
    Pausing,
    /// Source, target or credentials are unavailable; heals itself.
    Blocked,
    /// Needs a decision.
    Faulted,
    /// Being removed.
    Deleting,
}

/// A state, since when, and why in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// The state.
    pub state: RunState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence; none where the state says it all.
    pub why: Option<String>,
    /// The stable code of the reason.
    pub code: Option<ErrorCode>,
}

/// By which path a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPath {
    /// The owner asks the broker itself.
    Direct,
    /// This node reads near the source and sends on what it reads.
    Relay(NodeId),
}

/// The value of an atomic that stands for "not known yet".
const UNKNOWN: i64 = i64::MIN;

/// The values of the atomic of a [`ReadPath`] that stand for no node's number.
const PATH_UNKNOWN: u64 = u64::MAX;
const PATH_DIRECT: u64 = 0;

/// Live figures of one partition. All counters count since the gauge was made.
#[derive(Debug)]
pub struct PartitionGauge {
    counts_since: Timestamp,
    /// Messages read from the source.
    pub read_messages: AtomicU64,
    /// Bytes of stored records read from the source.
    pub read_bytes: AtomicU64,
    /// Messages among those read that a slave of the source answered.
    pub slave_read_messages: AtomicU64,
    /// Messages written to the target.
    pub written_messages: AtomicU64,
    /// Bytes of encoded messages written to the target.
    pub written_bytes: AtomicU64,
    /// Messages left out by the filter.
    pub filtered_messages: AtomicU64,
    /// Messages left out because they had passed the target already.
    pub looped_messages: AtomicU64,
    /// Copies found on the target that a dead owner wrote after its time.
    pub zombie_writes: AtomicU64,
    /// Bytes read ahead and not yet acknowledged by the target.
    pub in_flight_bytes: AtomicU64,
    source_next: AtomicI64,
    source_maximum: AtomicI64,
    durable_next: AtomicI64,
    newest_store_timestamp: AtomicI64,
    caught_up_at: AtomicI64,
    checkpoint_at: AtomicI64,
    read_path: AtomicU64,
    epoch: AtomicU64,
    runs: AtomicBool,
    answers: SourceAnswers,
    condition: Mutex<Condition>,
}

impl PartitionGauge {
    /// A gauge of a partition about which nothing is known yet.
    #[must_use]
    pub fn new(epoch: Epoch, now: Timestamp) -> Self {
        Self {
            counts_since: now,
            read_messages: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            slave_read_messages: AtomicU64::new(0),
            written_messages: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            filtered_messages: AtomicU64::new(0),
            looped_messages: AtomicU64::new(0),
            zombie_writes: AtomicU64::new(0),
            in_flight_bytes: AtomicU64::new(0),
            source_next: AtomicI64::new(UNKNOWN),
            source_maximum: AtomicI64::new(UNKNOWN),
            durable_next: AtomicI64::new(UNKNOWN),
            newest_store_timestamp: AtomicI64::new(UNKNOWN),
            caught_up_at: AtomicI64::new(UNKNOWN),
            checkpoint_at: AtomicI64::new(UNKNOWN),
            read_path: AtomicU64::new(PATH_UNKNOWN),
            epoch: AtomicU64::new(epoch.0),
            runs: AtomicBool::new(false),
            answers: SourceAnswers::new(),
            condition: Mutex::new(Condition { state: RunState::Starting, since: now, why: None, code: None }),
        }
    }

    /// Notes where the next read begins and where the source queue ends (one past its newest message).
    pub fn set_source(&self, next: i64, maximum: i64) {
        self.source_next.store(next, Ordering::Relaxed);
        self.source_maximum.store(maximum, Ordering::Relaxed);
    }

    /// The same where a slave answered: it may lag, so what its master was seen to hold still counts.
    pub fn set_source_of_slave(&self, next: i64, maximum: i64) {
        self.source_next.store(next, Ordering::Relaxed);
        self.source_maximum.fetch_max(maximum, Ordering::Relaxed);
    }

    /// Notes that the source is asked to answer within this time.
    pub fn source_asked(&self, within: Duration) {
        self.answers.ask(within);
    }

    /// Notes that the source answered, whatever it said.
    pub fn source_answered(&self) {
        self.answers.answered();
    }

    /// Notes that no answer of the source is waited for any more.
    pub fn source_left(&self) {
        self.answers.give_up();
    }

    /// Notes the first source offset that is not durable at the target, and the store timestamp (ms) of the newest
    /// source message that is.
    pub fn set_durable(&self, next: i64, newest_store_timestamp: Option<i64>) {
        self.durable_next.store(next, Ordering::Relaxed);
        if let Some(timestamp) = newest_store_timestamp {
            self.newest_store_timestamp.store(timestamp, Ordering::Relaxed);
        }
    }

    /// Notes that at this time everything the source held was durable at the target.
    pub fn set_caught_up(&self, now: Timestamp) {
        self.caught_up_at.store(now.0, Ordering::Relaxed);
    }

    /// Notes that a checkpoint was committed.
    pub fn set_checkpointed(&self, now: Timestamp) {
        self.checkpoint_at.store(now.0, Ordering::Relaxed);
    }

    /// Notes by which path the source answered last.
    pub fn set_read_path(&self, path: ReadPath) {
        let path = match path {
            ReadPath::Direct => PATH_DIRECT,
            ReadPath::Relay(node) => node.0,
        };
        self.read_path.store(path, Ordering::Relaxed);
    }

    /// Notes a new ownership.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Relaxed);
    }

    /// Notes that a run of it begins, or has ended with everything that it sent.
    pub fn set_runs(&self, runs: bool) {
        self.runs.store(runs, Ordering::Release);
    }

    /// Changes the state; `since` moves only when state or code change. An outage is one, whatever its requests say.
    pub fn set_condition(&self, state: RunState, code: Option<ErrorCode>, why: Option<String>, now: Timestamp) {
        let mut condition = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = condition.state == state && (condition.code == code || state == RunState::Blocked);
        let since = if is_same { condition.since } else { now };
        *condition = Condition { state, since, why, code };
    }

    /// The current state.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All figures as they are now.
    #[must_use]
    pub fn figures(&self) -> PartitionFigures {
        let known = |cell: &AtomicI64| Some(cell.load(Ordering::Relaxed)).filter(|value| *value != UNKNOWN);
        let read_path = match self.read_path.load(Ordering::Relaxed) {
            PATH_UNKNOWN => None,
            PATH_DIRECT => Some(ReadPath::Direct),
            node => Some(ReadPath::Relay(NodeId(node))),
        };
        let source_maximum = known(&self.source_maximum).filter(|_| !self.answers.is_overdue());
        PartitionFigures {
            counts_since: self.counts_since,
            read_path,
            epoch: Epoch(self.epoch.load(Ordering::Relaxed)),
            runs: self.runs.load(Ordering::Acquire),
            condition: self.condition(),
            read_messages: self.read_messages.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            slave_read_messages: self.slave_read_messages.load(Ordering::Relaxed),
            written_messages: self.written_messages.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            filtered_messages: self.filtered_messages.load(Ordering::Relaxed),
            looped_messages: self.looped_messages.load(Ordering::Relaxed),
            zombie_writes: self.zombie_writes.load(Ordering::Relaxed),
            in_flight_bytes: self.in_flight_bytes.load(Ordering::Relaxed),
            source_next: known(&self.source_next),
            source_maximum,
            durable_next: known(&self.durable_next),
            newest_store_timestamp: known(&self.newest_store_timestamp),
            caught_up_at: known(&self.caught_up_at).map(Timestamp),
            checkpoint_at: known(&self.checkpoint_at).map(Timestamp),
        }
    }
}

/// A copy of a [`PartitionGauge`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartitionFigures {
    /// When its counters began, by the clock of the node that counts: where it differs, they began anew.
    #[serde(default)]
    pub counts_since: Timestamp,
    /// By which path the source answered last; none before its first answer.
    #[serde(default)]
    pub read_path: Option<ReadPath>,
    /// The ownership that runs.
    pub epoch: Epoch,
    /// A run of it has not ended.
    pub runs: bool,
    /// The state.
    pub condition: Condition,
    /// Messages read from the source.
    pub read_messages: u64,
    /// Bytes of stored records read from the source.
    pub read_bytes: u64,
    /// Messages among those read that a slave of the source answered.
    pub slave_read_messages: u64,
    /// Messages written to the target.
    pub written_messages: u64,
    /// Bytes of encoded messages written to the target.
    pub written_bytes: u64,
    /// Messages left out by the filter.
    pub filtered_messages: u64,
    /// Messages left out because they had passed the target already.
    pub looped_messages: u64,
    /// Copies that a dead owner wrote after its time.
    pub zombie_writes: u64,
    /// Bytes read ahead and not yet acknowledged.
    pub in_flight_bytes: u64,
    /// The next source offset to read.
    pub source_next: Option<i64>,
    /// One past the newest source message, as last seen; none while the source, or who reads it, does not answer.
    pub source_maximum: Option<i64>,
    /// The first source offset that is not durable at the target.
    pub durable_next: Option<i64>,
    /// Store timestamp (ms) of the newest source message that is durable at the target.
    pub newest_store_timestamp: Option<i64>,
    /// When everything the source held was last known to be durable at the target.
    pub caught_up_at: Option<Timestamp>,
    /// When a checkpoint was last committed.
    pub checkpoint_at: Option<Timestamp>,
}

impl PartitionFigures {
    /// Messages that the source holds and the target does not, yet.
    #[must_use]
    pub fn lag_messages(&self) -> Option<u64> {
        let (maximum, durable) = (self.source_maximum?, self.durable_next?);
        Some(u64::try_from(maximum.saturating_sub(durable)).unwrap_or(0))
    }

    /// The same while a node that reads the source for the owner tells nothing: nobody knows what the source holds.
    fn without_source(self, relay: &str, since: Timestamp) -> Self {
        let copies = matches!(self.condition.state, RunState::Running | RunState::CatchingUp);
        let why = format!("{relay}, which reads its source for it, does not answer");
        let code = Some(ErrorCode::Unreachable);
        let blocked = Condition { state: RunState::Blocked, since, why: Some(why), code };
        let condition = if copies { blocked } else { self.condition };
        Self { source_maximum: None, condition, ..self }
    }

    /// Seconds by which the target is behind: zero at the end of the queue, otherwise the age of the newest source
    /// message that is durable at the target. It is an upper bound of the age of the oldest that is not.
    #[must_use]
    pub fn lag_seconds(&self, now: Timestamp) -> Option<f64> {
        if self.lag_messages()? == 0 {
            return Some(0.0);
        }
        let reference = self.newest_store_timestamp.into_iter().chain(self.caught_up_at.map(|at| at.0)).max()?;
        let milliseconds = now.0.saturating_sub(reference).max(0);
        Some(std::time::Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)).as_secs_f64())
    }
}

/// Every gauge of this node, and what is known of streams that have no running partition.
#[derive(Debug, Default)]
pub struct StatusBoard {
    partitions: RwLock<BTreeMap<PartitionId, Arc<PartitionGauge>>>,
    streams: RwLock<BTreeMap<StreamId, Condition>>,
    /// The node's own board, beneath an overview of all nodes.
    own: Option<Arc<StatusBoard>>,
    /// Other nodes; the node's own board and the overview above it know the same.
    neighbours: Arc<RwLock<BTreeMap<NodeId, Neighbour>>>,
    ownerships: RwLock<Ownerships>,
}

/// Figures of partitions.
pub type Figures = BTreeMap<PartitionId, PartitionFigures>;

impl StatusBoard {
    /// The gauge of a partition; made when it is first asked for, kept until [`Self::remove`].
    pub fn partition(&self, id: &PartitionId, epoch: Epoch, now: Timestamp) -> Arc<PartitionGauge> {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let gauge = partitions.entry(id.clone()).or_insert_with(|| Arc::new(PartitionGauge::new(epoch, now)));
        gauge.set_epoch(epoch);
        Arc::clone(gauge)
    }

    /// Forgets a partition that no longer exists or moved away.
    pub fn remove(&self, id: &PartitionId) {
        self.partitions.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// A board that shows what this one does, and what other nodes tell.
    #[must_use]
    pub fn overview(self: &Arc<Self>) -> Self {
        Self { own: Some(Arc::clone(self)), neighbours: Arc::clone(&self.neighbours), ..Self::default() }
    }

    /// What every partition of this node does, and in an overview, every partition of all nodes. While one moves, its
    /// later ownership counts.
    #[must_use]
    pub fn partitions(&self) -> Figures {
        let gauges = self.partitions.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Figures = gauges.iter().map(|(id, gauge)| (id.clone(), self.seen(gauge))).collect();
        drop(gauges);
        let Some(own) = &self.own else { return all };
        all.extend(own.partitions());
        for neighbour in self.neighbours.read().unwrap_or_else(PoisonError::into_inner).values() {
            let Neighbour::Told(figures) = neighbour else { continue };
            for (id, figures) in figures {
                if all.get(id).is_none_or(|known| known.epoch < figures.epoch) {
                    all.insert(id.clone(), figures.clone());
                }
            }
        }
        all
    }

    /// What a gauge shows. A node that reads the source and tells nothing any more gives nothing on either, unless it
    /// was seen to.
    fn seen(&self, gauge: &PartitionGauge) -> PartitionFigures {
        let figures = gauge.figures();
        let Some(ReadPath::Relay(relay)) = figures.read_path.filter(|_| figures.runs) else { return figures };
        match self.silence(relay).filter(|silence| !gauge.answers.since(silence.at)) {
            Some(silence) => figures.without_source(&self.node_name(relay), silence.since),
            None => figures,
        }
    }

    /// Notes what keeps a whole stream from running (a missing topic, an unreachable instance), or that nothing does.
    /// With the state `running` it keeps nothing from running and is only to be known.
    pub fn set_stream(&self, id: StreamId, condition: Option<Condition>) {
        let mut streams = self.streams.write().unwrap_or_else(PoisonError::into_inner);
        match condition {
            None => {
                streams.remove(&id);
            }
            Some(mut condition) => {
                if let Some(old) =
                    streams.get(&id).filter(|old| old.state == condition.state && old.code == condition.code)
                {
                    condition.since = old.since;
                }
                streams.insert(id, condition);
            }
        }
    }

    /// What was last noted of a whole stream; none where there is nothing to be told.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> Option<Condition> {
        if let Some(own) = &self.own {
            return own.stream(id);
        }
        self.streams.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
