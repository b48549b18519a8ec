//! A partition: one stream x one source queue, the unit that a node owns and an actor runs.
//!
//! ```text
//!   AddPartitions            Assign                  RaiseFault
//!  ----------------> idle ----------> owned(epoch) --------------> faulted
//!                      ^                 |    ^                       |
//!                      |                 |    |  Resolve (new epoch)  |
//!                      |                 |    +-----------------------+
//!                      |   StartNode, Rewind: epoch + 1, same owner
//!                      |   Move, then Release: epoch + 1, the other owner, nothing on its way
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::fault::{Fault, Resolution};
use crate::ids::{Epoch, Generation, Incarnation, NodeId, StreamId, Timestamp};
use crate::node::Predecessor;
use crate::stream::StartPosition;

/// A queue of a topic: which broker holds it, and its number there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueId {
    /// The broker's name (a master and its slaves share it).
    pub broker: String,
    /// The queue's number on that broker.
    pub queue: u32,
}

impl fmt::Display for QueueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.broker, self.queue)
    }
}

/// One stream x one source queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The stream.
    pub stream: StreamId,
    /// The source queue.
    pub source: QueueId,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.stream, self.source)
    }
}

/// Who runs a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The owner.
    pub node: NodeId,
    /// The number of this ownership.
    pub epoch: Epoch,
}

/// A resolution that an operator gave, kept so that the history of a queue stays explainable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedFault {
    /// What had stopped the partition.
    pub fault: Fault,
    /// What the operator decided.
    pub resolution: Resolution,
    /// When.
    pub at: Timestamp,
}

/// How many resolved faults a partition remembers.
pub const MAXIMUM_RESOLVED_FAULTS: usize = 16;

/// A partition that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The stream's generation that this partition copies for.
    pub generation: Generation,
    /// The one target queue of its copies; fixed when the partition is added, so that order survives new queues.
    pub target: QueueId,
    /// Where copying begins while there is no checkpoint.
    pub start: StartPosition,
    /// The current life of the source queue.
    pub source_incarnation: Incarnation,
    /// The current life of the target queue.
    pub target_incarnation: Incarnation,
    /// The highest epoch ever given out for it.
    pub epoch: Epoch,
    /// Who runs it; none before the first assignment.
    pub owner: Option<NodeId>,
    /// Who runs it when its owner has let go of it; none while it stays where it is.
    pub moving_to: Option<NodeId>,
    /// How the ownership before this one ended.
    pub predecessor: Predecessor,
    /// Progress; none before the first.
    pub checkpoint: Option<Checkpoint>,
    /// Why it is stopped and waits for a decision.
    pub fault: Option<RaisedFault>,
    /// The latest decisions, oldest first.
    pub resolved: Vec<ResolvedFault>,
    /// How many times the target was found to have lost acknowledged messages that were copied again.
    pub rewinds: u64,
}

/// A fault and when it was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedFault {
    /// What is wrong.
    pub fault: Fault,
    /// Since when.
    pub since: Timestamp,
}

impl Partition {
    /// The current assignment, if the partition has an owner.
    #[must_use]
    pub fn assignment(&self) -> Option<Assignment> {
        self.owner.map(|node| Assignment { node, epoch: self.epoch })
    }

    /// The same owner goes on under a new epoch, and looks first what it left on its way under the old one.
    pub(crate) fn begin_again(&mut self) {
        self.epoch = self.epoch.next();
        self.predecessor = self.owner.map_or(self.predecessor, Predecessor::Ended);
    }
}
