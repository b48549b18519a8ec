//! What applying a command answers. A refusal is an answer, never an error: it is the same on every replica.

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;
use crate::fault::Fault;
use crate::ids::{Epoch, StreamId};
use crate::name::Name;

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            Self::StaleEpoch { .. } | Self::NotARewind => ErrorCode::StaleEpoch,
            Self::NotFaulted(_) | Self::CannotSkip(_) | Self::ProgressBehindFault { .. } => ErrorCode::CannotResolve,
        }
    }
}
