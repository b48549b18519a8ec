//! Partitions: shown with every figure, and resolved when they wait for a decision.

use causeway_core::checkpoint::Checkpoint;
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::{Epoch, Generation, Incarnation, NodeId, Timestamp};
use causeway_core::partition::QueueId;
use causeway_core::stream::StartPosition;
use serde::{Deserialize, Serialize};

use super::status::ConditionView;

/// A partition, with every figure that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionView {
    /// The source queue.
    pub source: QueueId,
    /// The one target queue of its copies.
    pub target: QueueId,
    /// What it does.
    #[serde(flatten)]
    pub condition: ConditionView,
    /// The node that runs it.
    pub owner: Option<NodeId>,
    /// The number of that ownership.
    pub epoch: Epoch,
    /// The stream's generation that it copies for.
    pub generation: Generation,
    /// Where copying begins while there is no checkpoint.
    pub start: StartPosition,
    /// The current life of the source queue.
    pub source_incarnation: Incarnation,
    /// The current life of the target queue.
    pub target_incarnation: Incarnation,
    /// Committed progress; none before the first.
    pub checkpoint: Option<Checkpoint>,
    /// What it waits for a decision about.
    pub fault: Option<FaultView>,
    /// The latest decisions, oldest first.
    pub resolved: Vec<ResolvedView>,
    /// How often the target was found to have lost acknowledged messages that were copied again.
    pub rewinds: u64,
    /// Live figures; none where the node that answers does not run it.
    pub figures: Option<PartitionFiguresView>,
}

/// Why a partition is stopped, and what can be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultView {
    /// The stable code.
    pub code: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The documentation page of the code.
    pub help: String,
    /// Since when. No other fault of the partition was raised at this time: a decision names its fault by it.
    pub since: Timestamp,
    /// The fault with its exact range.
    pub detail: Fault,
    /// Where copying would go on when it is skipped; none where it cannot be.
    pub skip_to: Option<i64>,
}

/// A fault that an operator decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedView {
    /// What had stopped the partition.
    pub fault: Fault,
    /// What was decided.
    pub decision: ResolveRequest,
    /// When.
    pub at: Timestamp,
}

/// Live figures of a partition. Counters count since its present owner began to run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionFiguresView {
    /// Messages read from the source.
    pub read_messages: u64,
    /// Bytes of stored records read from the source.
    pub read_bytes: u64,
    /// Messages among those read that a slave of the source answered.
    pub slave_read_messages: u64,
    /// Messages written to the target.
    pub copied_messages: u64,
    /// Bytes of encoded messages written to the target.
    pub copied_bytes: u64,
    /// Messages left out by the filter.
    pub filtered_messages: u64,
    /// Messages left out because they had passed the target already.
    pub looped_messages: u64,
    /// Copies that a dead owner wrote after its time.
    pub zombie_writes: u64,
    /// Bytes read ahead and not yet acknowledged by the target.
    pub in_flight_bytes: u64,
    /// By which path the source is read: `direct`, or `relay` through the node of [`Self::relay`]; none while it is not
    /// known.
    #[serde(default)]
    pub read_path: Option<ReadPathView>,
    /// The node that reads for the owner; none where the owner reads the source itself.
    #[serde(default)]
    pub relay: Option<NodeId>,
    /// The next source offset to read.
    pub source_next: Option<i64>,
    /// One past the newest source message, as last seen; none while the source, or who reads it, does not answer.
    pub source_maximum: Option<i64>,
    /// The first source offset that is not durable at the target; never below that of the checkpoint.
    pub durable_next: Option<i64>,
    /// Messages that the source holds and the target does not.
    pub lag_messages: Option<u64>,
    /// How far the target is behind.
    pub lag_seconds: Option<f64>,
    /// Upper bound of the age of what would be lost if the source were gone now.
    pub rpo_seconds: Option<f64>,
    /// Messages written a second, averaged over the last seconds.
    pub copied_messages_per_second: Option<f64>,
    /// When everything the source held was last known to be durable at the target.
    pub caught_up_at: Option<Timestamp>,
    /// When a checkpoint was last committed.
    pub checkpoint_at: Option<Timestamp>,
}

/// By which path a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPathView {
    /// The owner asks the broker itself.
    Direct,
    /// Another node reads near the source and sends on what it reads.
    Relay,
}

/// Query of a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveQuery {
    /// Check everything and answer what would be done, but do nothing.
    pub dry_run: bool,
    /// Decide only about the fault that was raised at this time; about whatever fault there is when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault_since: Option<Timestamp>,
}

/// The body of `POST /v1/streams/NAME/partitions/BROKER/QUEUE:resolve`: `{"retry":{}}`, `{"skip":{}}` or
/// `{"restart":{"start":...}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ResolveRequest {
    /// Try again where it stopped; right after the cause was repaired outside.
    Retry {},
    /// Leave the range or record out and go on behind it.
    Skip {},
    /// Copy again from a position, whatever was copied before.
    Restart {
        /// The position.
        start: StartPosition,
    },
}

impl From<ResolveRequest> for Resolution {
    fn from(request: ResolveRequest) -> Self {
        match request {
            ResolveRequest::Retry {} => Self::Retry,
            ResolveRequest::Skip {} => Self::Skip,
            ResolveRequest::Restart { start } => Self::Restart { start },
        }
    }
}

impl From<Resolution> for ResolveRequest {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Retry => Self::Retry {},
            Resolution::Skip => Self::Skip {},
            Resolution::Restart { start } => Self::Restart { start },
        }
    }
}

/// What a decision did, or would do with `dry_run=true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveAnswer {
    /// True when nothing was changed.
    pub dry_run: bool,
    /// What the partition waits, or waited, for a decision about.
    pub fault: FaultView,
    /// The decision.
    pub decision: ResolveRequest,
    /// What it means, in one sentence.
    pub effect: String,
    /// The source offset where copying goes on; none where the source decides it (earliest, latest, by time).
    pub continues_at: Option<i64>,
    /// Messages that will never be copied because of it; none where it is not known.
    pub left_out_messages: Option<u64>,
    /// The new epoch; none for a dry run.
    pub epoch: Option<Epoch>,
}
