//! Everything that can be proposed to the cluster.
//!
//! Commands are data: who may propose which is decided before, what they change is decided in [`crate::state`].
//! The order of the variants is part of the stored form: new ones are added at the end, together with a new
//! [`CURRENT_VERSION`]; none is ever removed or moved. What an old command did, it does again when its log is read
//! again: a change of [`crate::state`] holds from a version on.
//!
//! | version | what came with it |
//! |---|---|
//! | 1 | the first |
//! | 2 | the versions of an instance or stream begin at the index of the entry that creates it |
//! | 2 | `DecideFault` |
//! | 2 | refused: a second instance of one identity, a stream that copies what another one copies |
//! | 2 | the fault of a send that was stored in another queue; a skip that gives up the last copy |
//! | 3 | several nodes: `StartNode` and everything behind it; a partition knows how its last ownership ended |
//! | 4 | a start of a process that is known already, or of an earlier one than the latest, begins no new ownership |

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::fault::{Fault, Resolution};
use crate::ids::{ClusterId, Epoch, InstanceIdentity, NodeId, StreamId, Timestamp};
use crate::instance::InstanceSpec;
use crate::name::Name;
use crate::node::{JoinToken, MemberRole, NodeSpec, ProcessId};
use crate::partition::{PartitionId, QueueId, RaisedFault};
use crate::stream::StreamSpec;

/// The newest version of the command set. A node that meets a higher one stops, because to skip a command it does
/// not know would make its state differ from the others'.
///
/// With the feature `next-commands` there is one more, with a command that only tests use: they
/// upgrade nodes to such a build.
pub const CURRENT_VERSION: u16 = if cfg!(feature = "next-commands") { RELEASED_VERSION + 1 } else { RELEASED_VERSION };

/// The newest version that a release knows.
pub(crate) const RELEASED_VERSION: u16 = 4;

/// A command with what the log needs to know about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of the command set that the proposer used.
    pub version: u16,
    /// Pairs the applied entry with the waiting proposer; random, never interpreted.
    pub request: u128,
    /// The proposer's wall clock: the only time that `apply` sees.
    pub at: Timestamp,
    /// What to do.
    pub command: Command,
}

/// A partition that discovery found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPartition {
    /// The source queue.
    pub source: QueueId,
    /// The one target queue of its copies.
    pub target: QueueId,
}

/// Progress of one partition, as its owner reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The partition.
    pub partition: PartitionId,
    /// How far it is.
    pub checkpoint: Checkpoint,
}

/// Everything that can be proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives a new cluster its identifier. Refused when it has one.
    Initialise {
        /// 64 random bits.
        cluster: ClusterId,
    },
    /// The only node's process started: versions 1 and 2. [`Self::StartNode`] is proposed instead.
    NodeStarted {
        /// The node.
        node: NodeId,
        /// Its name.
        name: Name,
        /// Its region label.
        region: Name,
    },
    /// Registers an instance, or changes one.
    PutInstance {
        /// What the operator said.
        spec: InstanceSpec,
        /// The identity for a new instance; ignored for a change.
        identity: InstanceIdentity,
        /// The version that a change expects; none for "must not exist yet".
        expected: Option<u64>,
    },
    /// Removes an instance that no stream uses.
    DeleteInstance {
        /// Its name.
        name: Name,
    },
    /// Creates a stream.
    CreateStream {
        /// What the operator said.
        spec: StreamSpec,
    },
    /// Stops copying and keeps everything.
    PauseStream {
        /// Its name.
        name: Name,
    },
    /// Goes on copying.
    ResumeStream {
        /// Its name.
        name: Name,
    },
    /// Removes a stream and its partitions. Nothing is changed at either instance.
    DeleteStream {
        /// Its name.
        name: Name,
    },
    /// Adds source queues that discovery found; those that exist already are left as they are.
    AddPartitions {
        /// The stream.
        stream: StreamId,
        /// The new queues.
        partitions: Vec<NewPartition>,
    },
    /// Makes a node the owner of a partition.
    Assign {
        /// The partition.
        partition: PartitionId,
        /// The new owner.
        node: NodeId,
        /// Exactly one above the partition's epoch.
        epoch: Epoch,
    },
    /// Progress of many partitions in one entry.
    RecordProgress {
        /// The owner that reports.
        node: NodeId,
        /// Progress by partition; each is accepted or refused by itself.
        progress: Vec<Progress>,
    },
    /// The target lost acknowledged copies: go back to where the last own copy was found.
    Rewind {
        /// The partition.
        partition: PartitionId,
        /// The reporting ownership.
        epoch: Epoch,
        /// Where to go on, of the next life of the target queue; its epoch is set by the state machine.
        checkpoint: Checkpoint,
    },
    /// Stops a partition until an operator decides.
    RaiseFault {
        /// The partition.
        partition: PartitionId,
        /// The reporting ownership.
        epoch: Epoch,
        /// What is wrong.
        fault: Fault,
    },
    /// A decision about whatever fault a partition has: version 1. [`Self::DecideFault`] is proposed instead.
    ResolveFault {
        /// The partition.
        partition: PartitionId,
        /// The decision.
        resolution: Resolution,
    },
    /// Adds or replaces an API token; only its hash is kept.
    PutToken {
        /// The token's name.
        name: Name,
        /// SHA-256 of the token.
        hash: [u8; 32],
    },
    /// An operator's decision about one fault of a partition. Refused when it has another one by now: a skip never
    /// leaves out what nobody has seen.
    DecideFault {
        /// The partition.
        partition: PartitionId,
        /// The fault that was judged.
        raised: RaisedFault,
        /// The decision.
        resolution: Resolution,
    },
    /// A node's process started: every partition that the node owns gets a new epoch, so that whatever the previous
    /// process left behind can be told apart. Refused for a node that was never admitted, unless it is the first.
    StartNode {
        /// The node.
        node: NodeId,
        /// What it says of itself.
        spec: NodeSpec,
        /// This start.
        process: ProcessId,
    },
    /// Lets one more node in, whoever shows the token.
    IssueJoinToken {
        /// SHA-256 of the token.
        hash: [u8; 32],
        /// What it permits.
        token: JoinToken,
    },
    /// A node shows its token and gets its id.
    AdmitNode {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// What the node says of itself.
        spec: NodeSpec,
    },
    /// Asks a node to be a voter or a learner.
    SetRole {
        /// The node.
        node: NodeId,
        /// What it shall be.
        role: MemberRole,
    },
    /// Asks a node to give its partitions away, or to take some again.
    SetDraining {
        /// The node.
        node: NodeId,
        /// Whether it gives them away.
        draining: bool,
    },
    /// Takes a node out of the cluster for good.
    RemoveNode {
        /// The node.
        node: NodeId,
    },
    /// Lets a newer version of the command set be proposed. Refused while a node does not know it.
    RaiseVersion {
        /// The version.
        to: u16,
    },
    /// Asks the owner of a partition to let go of it in favour of another node.
    Move {
        /// The partition.
        partition: PartitionId,
        /// Its epoch.
        epoch: Epoch,
        /// Who shall run it; the owner itself takes an earlier wish back.
        to: NodeId,
    },
    /// The owner let go: it sends nothing any more.
    Release {
        /// The partition.
        partition: PartitionId,
        /// The owner.
        node: NodeId,
        /// Its epoch.
        epoch: Epoch,
        /// How far it came; none when nothing was copied since the last report.
        checkpoint: Option<Checkpoint>,
        /// Whether everything that it sent is answered, so that the target holds exactly what the checkpoint says.
        settled: bool,
    },
    /// A node's process is about to end: its partitions are to go elsewhere, until its next start.
    LeaveNode {
        /// The node.
        node: NodeId,
        /// Its process; refused when a later one has started.
        process: ProcessId,
    },
    /// A node that lost its data comes back: the one of the same name is removed, and the node gets a new id in its
    /// place.
    ReplaceNode {
        /// SHA-256 of a join token, which is used up; none where whoever proposes this has other proof that it is the
        /// same node.
        token: Option<[u8; 32]>,
        /// What the node says of itself.
        spec: NodeSpec,
    },
    /// Adds one to the number of marks: for tests of an upgrade, in no release.
    #[cfg(feature = "next-commands")]
    Mark,
}

impl Command {
    /// The version of the command set that this command came with: it must not be proposed before that is agreed on.
    #[must_use]
    pub fn since(&self) -> u16 {
        match self {
            Self::Initialise { .. }
            | Self::NodeStarted { .. }
            | Self::PutInstance { .. }
            | Self::DeleteInstance { .. }
            | Self::CreateStream { .. }
            | Self::PauseStream { .. }
            | Self::ResumeStream { .. }
            | Self::DeleteStream { .. }
            | Self::AddPartitions { .. }
            | Self::Assign { .. }
            | Self::RecordProgress { .. }
            | Self::Rewind { .. }
            | Self::RaiseFault { .. }
            | Self::ResolveFault { .. }
            | Self::PutToken { .. } => 1,
            Self::DecideFault { .. } => 2,
            Self::StartNode { .. }
            | Self::IssueJoinToken { .. }
            | Self::AdmitNode { .. }
            | Self::SetRole { .. }
            | Self::SetDraining { .. }
            | Self::RemoveNode { .. }
            | Self::RaiseVersion { .. }
            | Self::Move { .. }
            | Self::Release { .. }
            | Self::LeaveNode { .. }
            | Self::ReplaceNode { .. } => 3,
            #[cfg(feature = "next-commands")]
            Self::Mark => CURRENT_VERSION,
        }
    }
}
