//! What applying a command answers. A refusal is an answer, never an error: it is the same on every replica.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;
use crate::fault::Fault;
use crate::ids::{Epoch, NodeId, StreamId};
use crate::name::Name;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; nothing more to say.
    Done,
    /// A stream was created under this identifier.
    StreamCreated(StreamId),
    /// The version that an instance or stream has now.
    Changed(u64),
    /// Progress: how many reports were refused because another ownership is current or they would go back.
    Recorded {
        /// Refused reports.
        refused: usize,
    },
    /// The partition's new epoch.
    NewEpoch(Epoch),
    /// A node belongs to the cluster now, under this id.
    NodeAdmitted(NodeId),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Every reason to refuse a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The cluster was initialised before.
    #[error("the cluster is initialised already")]
    AlreadyInitialised,
    /// An instance of that name exists.
    #[error("instance {0} exists already")]
    InstanceExists(Name),
    /// No instance of that name.
    #[error("there is no instance {0}")]
    NoSuchInstance(Name),
    /// The instance is an end of a stream.
    #[error("instance {instance} is used by stream {stream}")]
    InstanceInUse {
        /// The instance.
        instance: Name,
        /// One of the streams.
        stream: Name,
    },
    /// Somebody changed it in between.
    #[error("the version is {current}, not {expected}: it was changed in between")]
    VersionConflict {
        /// What the proposer expected.
        expected: u64,
        /// What it is.
        current: u64,
    },
    /// A stream of that name exists.
    #[error("stream {0} exists already")]
    StreamExists(Name),
    /// No stream of that name.
    #[error("there is no stream {0}")]
    NoSuchStream(Name),
    /// Source and target are one topic of one instance.
    #[error("source and target are the same topic of the same instance: every copy would be copied again")]
    SameTopic,
    /// No such partition.
    #[error("there is no partition {0}")]
    NoSuchPartition(String),
    /// Another ownership is current.
    #[error("epoch {proposed} is not the current epoch {current}")]
    StaleEpoch {
        /// What the proposer holds.
        proposed: Epoch,
        /// What is current.
        current: Epoch,
    },
    /// The partition is not faulted.
    #[error("partition {0} is not faulted")]
    NotFaulted(String),
    /// The fault cannot be skipped.
    #[error("this fault cannot be skipped: {0}")]
    CannotSkip(Fault),
    /// What was copied before the fault is not agreed on yet, so skipping could pass over it.
    #[error("progress is agreed on up to offset {agreed} only, before the fault at {fault}: retry first, then skip")]
    ProgressBehindFault {
        /// The first offset that is not agreed to be durable.
        agreed: i64,
        /// Where the fault begins.
        fault: i64,
    },
    /// A rewind would go forward or leave its incarnation.
    #[error("a rewind has to go back in the same source incarnation")]
    NotARewind,
    /// The partition has another fault than the one that was judged.
    #[error("it is another fault by now: {0}")]
    FaultChanged(Fault),
    /// Another instance has the identity.
    #[error("instance {0} has this identity; two RocketMQ clusters never share one")]
    IdentityTaken(Name),
    /// Another stream copies the same messages between the same topics.
    #[error("stream {0} copies between these topics already: every message that both take would be stored twice")]
    CopiedAlready(Name),
    /// No node of that id belongs to the cluster.
    #[error("node {0} does not belong to the cluster")]
    NoSuchNode(NodeId),
    /// Another node has the name.
    #[error(
        "node {node} is called {name} already, and every node needs a name of its own; if that is this very node \
         before it lost its data, `causeway cluster rejoin --at HOST:PORT --config FILE` brings it back under a new \
         number"
    )]
    NodeNameTaken {
        /// The name.
        name: Name,
        /// Who has it.
        node: NodeId,
    },
    /// Not `host:port`.
    #[error("the node's address cannot be used: {0}")]
    InvalidAddress(String),
    /// The join token is unknown, used, or over.
    #[error("this join token is not valid: it was used before, it has expired, or it was never issued here")]
    NoSuchJoinToken,
    /// A bound of the cluster is reached.
    #[error("there are {maximum} {what} already, and more are not possible")]
    TooMany {
        /// Of what.
        what: TooMany,
        /// The bound.
        maximum: usize,
    },
    /// A node's build does not know a version of the command set.
    #[error("node {node} knows version {knows} of the command set, and version {needed} is needed")]
    TooOld {
        /// The node.
        node: Name,
        /// What it knows.
        knows: u16,
        /// What is needed.
        needed: u16,
    },
    /// No build knows it yet.
    #[error("there is no version {0} of the command set")]
    NoSuchVersion(u16),
    /// Nobody would be left to decide.
    #[error("it is the last voter of the cluster: make another node a voter first")]
    LastVoter,
    /// Nobody asked for the partition to be moved.
    #[error("partition {0} is not asked to move")]
    NotMoving(String),
    /// A later process of the node has started.
    #[error(
        "another process of node {0} has started since: if this one is the latest, its data directory is an old copy, \
         which must not come back; `causeway cluster rejoin` lets the node in anew"
    )]
    OtherProcess(NodeId),
    /// There is no node of this name whose place could be taken.
    #[error(
        "no node is called {0}: it was removed, or never let in; draw a join token on a node of the cluster (`causeway \
         cluster token`) and give it to the same command, which then lets it in as a new node"
    )]
    NoNodeOfName(Name),
    /// The report is older than what is agreed on.
    #[error("the progress of partition {0} does not go back")]
    ProgressGoesBack(String),
    /// A node whose place was asked for may still run. The leader finds this, before anything is proposed.
    #[error(
        "{0} is not gone: it is connected, or it holds a lease or held one a moment ago; stop its process, wait until it \
         is shown as down, and ask again"
    )]
    NodeAlive(Name),
}

/// What there may be only so many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TooMany {
    /// Nodes of the cluster.
    Nodes,
    /// Join tokens that wait to be used.
    JoinTokens,
}

impl fmt::Display for TooMany {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nodes => "nodes",
            Self::JoinTokens => "join tokens",
        })
    }
}

impl Refusal {
    /// The stable code that operators see.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::AlreadyInitialised => ErrorCode::AlreadyInitialised,
            Self::IdentityTaken(_) => ErrorCode::InvalidRequest,
            Self::CopiedAlready(_) => ErrorCode::CopiedAlready,
            Self::InstanceExists(_) | Self::StreamExists(_) => ErrorCode::NameTaken,
            Self::NoSuchInstance(_) => ErrorCode::NoSuchInstance,
            Self::InstanceInUse { .. } => ErrorCode::InstanceInUse,
            Self::VersionConflict { .. } | Self::FaultChanged(_) => ErrorCode::VersionConflict,
            Self::NoSuchStream(_) => ErrorCode::NoSuchStream,
            Self::SameTopic => ErrorCode::SameTopic,
            Self::NoSuchPartition(_) => ErrorCode::NoSuchPartition,
            Self::StaleEpoch { .. }
            | Self::NotARewind
            | Self::NotMoving(_)
            | Self::OtherProcess(_)
            | Self::ProgressGoesBack(_) => ErrorCode::StaleEpoch,
            Self::NoSuchNode(_) | Self::NoNodeOfName(_) => ErrorCode::NoSuchNode,
            Self::NodeNameTaken { .. } => ErrorCode::NameTaken,
            Self::InvalidAddress(_) | Self::TooMany { .. } | Self::NoSuchVersion(_) => ErrorCode::InvalidRequest,
            Self::NoSuchJoinToken => ErrorCode::NoSuchJoinToken,
            Self::TooOld { .. } => ErrorCode::NodeTooOld,
            Self::LastVoter => ErrorCode::LastVoter,
            Self::NodeAlive(_) => ErrorCode::NodeAlive,
            Self::NotFaulted(_) | Self::CannotSkip(_) | Self::ProgressBehindFault { .. } => ErrorCode::CannotResolve,
        }
    }
}
