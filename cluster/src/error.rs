//! Why the cluster did not answer as asked, by what the caller can do about it.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;

use crate::raft::membership::ChangeRefusal;
use crate::raft::message::MessageFault;
use crate::raft::settings::SettingsFault;

/// Why a call failed. Cheap to clone: many waiting proposals may get the same one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Another node decides; nothing was changed by this call.
    #[error("this node is not the leader, {}", leader.map_or_else(|| "and none is known".to_owned(), |node| format!("node {node} is")))]
    NotLeader {
        /// The leader, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Too much is waiting already; nothing was changed. Try again later.
    #[error("too many proposals are waiting")]
    Busy,
    /// The command is larger than the settings allow; nothing was changed. Split it.
    #[error("the command has {bytes} bytes, the maximum is {maximum}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        maximum: usize,
    },
    /// The command cannot be stored and read back; nothing was changed. A defect of Causeway.
    #[error("the command has no stored form: {reason}")]
    Unstorable {
        /// Why.
        reason: String,
    },
    /// No answer came in time. **The outcome is unknown**: it may still be applied.
    #[error("no answer within {waited:?}; the command may still be applied")]
    Timeout {
        /// How long the call waited.
        waited: Duration,
    },
    /// The node stopped following the command. **The outcome is unknown**: it may have been applied.
    #[error("the command was lost track of; it may have been applied")]
    Interrupted,
    /// The group did not confirm in time that the view is current. Nothing was changed.
    #[error("the group did not confirm within {waited:?} that the view is current")]
    ReadTimeout {
        /// How long the call waited.
        waited: Duration,
    },
    /// Members were not changed, or leadership was not handed over; nothing was changed by this call.
    #[error(transparent)]
    Change(#[from] ChangeRefusal),
    /// Leadership was offered and not taken in time; this node leads on.
    #[error("node {to} did not take over leadership in time")]
    NotTransferred {
        /// Who was to lead.
        to: NodeId,
    },
    /// A message of another member was refused.
    #[error(transparent)]
    Message(#[from] MessageFault),
    /// A node of the cluster does not know the command yet; nothing was changed. Upgrade every node.
    #[error("the command needs version {needed} of the command set, and the nodes have agreed on {agreed}")]
    TooNew {
        /// The version that it came with.
        needed: u16,
        /// The newest that may be proposed.
        agreed: u16,
    },
    /// Another process of this node holds its lease; nothing was changed.
    #[error("another living process is this node: two processes must not run on copies of one data directory")]
    TwoProcesses,
    /// Another node did not do it, in its own words; nothing was changed.
    #[error("another node refused: {reason}")]
    RefusedByPeer {
        /// Its words.
        reason: String,
    },
    /// Other nodes cannot be listened to; nothing was started.
    #[error(transparent)]
    Transport(#[from] crate::transport::Error),
    /// The node was stopped; nothing was changed by this call.
    #[error("the node's replica was stopped")]
    Stopped,
    /// The settings have faults; nothing was started.
    #[error("the settings have {} faults", faults.len())]
    Settings {
        /// All of them.
        faults: Vec<SettingsFault>,
    },
    /// The replica ended for good. **The outcome** of proposals that were waiting **is unknown**.
    #[error(transparent)]
    Fatal(Arc<Fatal>),
}

/// What ends a replica. The process has to be started again, most often after an operator did something.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The data directory or the disk.
    #[error(transparent)]
    Storage(#[from] causeway_storage::Error),
    /// A newer Causeway wrote this. To skip it would make this node's state differ from the others'.
    #[error(
        "{place} was written by a newer Causeway: it has command version {found}, this one knows up to {supported}"
    )]
    UnknownVersion {
        /// The log entry or snapshot.
        place: String,
        /// Its version.
        found: u16,
        /// The newest known.
        supported: u16,
    },
    /// A log entry or snapshot of a known version that is nevertheless not understood: a defect, or a forged one.
    #[error("{place} cannot be understood: {reason}")]
    Undecodable {
        /// The log entry or snapshot.
        place: String,
        /// Why.
        reason: String,
    },
    /// No readable snapshot reaches the log.
    #[error("no readable snapshot reaches the log, which begins behind entry {compacted}")]
    NoSnapshot {
        /// The last position that is no longer in the log.
        compacted: u64,
    },
    /// raft-rs refused something that it must not refuse.
    #[error("the Raft library refused to {action}: {reason}")]
    Raft {
        /// What was asked.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// The replica panicked: raft-rs does so when its storage fails or its invariants are broken.
    #[error("the replica panicked: {reason}")]
    Panicked {
        /// The panic's message.
        reason: String,
    },
    /// The operating system gave no thread or timer.
    #[error("the replica's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}

impl Error {
    /// Whether the command may have been applied, or still be, although no outcome came back.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Interrupted | Self::Fatal(_))
    }

    /// Whether the same may work a moment later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::Busy
            | Self::Timeout { .. }
            | Self::ReadTimeout { .. }
            | Self::Interrupted
            | Self::NotTransferred { .. }
            | Self::TwoProcesses
            | Self::RefusedByPeer { .. }
            | Self::Transport(_) => true,
            Self::TooLarge { .. }
            | Self::Unstorable { .. }
            | Self::Change(_)
            | Self::Message(_)
            | Self::TooNew { .. }
            | Self::Stopped
            | Self::Settings { .. }
            | Self::Fatal(_) => false,
        }
    }

    /// The stable code that operators see.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader { .. } | Self::Busy | Self::Interrupted | Self::Stopped | Self::NotTransferred { .. } => {
                ErrorCode::Unavailable
            }
            Self::Change(refusal) => refusal.code(),
            Self::Message(_) => ErrorCode::InvalidRequest,
            Self::TooLarge { .. } => ErrorCode::RequestTooLarge,
            Self::Timeout { .. } | Self::ReadTimeout { .. } => ErrorCode::TimedOut,
            Self::Settings { .. } => ErrorCode::InvalidConfiguration,
            Self::Unstorable { .. } => ErrorCode::Internal,
            Self::TooNew { .. } => ErrorCode::NodeTooOld,
            Self::TwoProcesses => ErrorCode::DataDirectory,
            Self::RefusedByPeer { .. } => ErrorCode::Unavailable,
            Self::Transport(error) => code_of(error),
            Self::Fatal(fatal) => fatal.code(),
        }
    }
}

pub(crate) fn code_of(error: &crate::transport::Error) -> ErrorCode {
    use crate::transport::Error as Transport;
    match error {
        Transport::Settings { .. } => ErrorCode::InvalidConfiguration,
        Transport::PlainBeyondLoopback { .. } => ErrorCode::UnsafeBind,
        Transport::Bind { .. } => ErrorCode::AddressUnusable,
        Transport::Random { .. } => ErrorCode::Internal,
        Transport::Timeout { .. } => ErrorCode::TimedOut,
        Transport::NotSent(connection) | Transport::Interrupted(connection) if connection.is_of_tls() => {
            ErrorCode::TlsFailed
        }
        _ => ErrorCode::Unreachable,
    }
}

impl Fatal {
    /// The stable code that operators see.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        use causeway_storage::Error as Storage;
        match self {
            Self::Storage(
                Storage::InUse { .. }
                | Storage::WrongNode { .. }
                | Storage::WrongCluster { .. }
                | Storage::Wiped { .. },
            ) => ErrorCode::DataDirectory,
            Self::Storage(Storage::NewerFormat { .. }) | Self::UnknownVersion { .. } => ErrorCode::WrittenByNewer,
            Self::Storage(_) | Self::NoSnapshot { .. } => ErrorCode::StorageFailed,
            Self::Undecodable { .. } | Self::Raft { .. } | Self::Panicked { .. } | Self::Thread(_) => {
                ErrorCode::Internal
            }
        }
    }
}

impl From<Fatal> for Error {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(Arc::new(fatal))
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::error_code::ErrorCode;

    use super::Fatal;

    #[test]
    fn what_a_newer_version_wrote_has_a_code_of_its_own() {
        let newer = causeway_storage::Error::NewerFormat { path: "data".into(), found: 2, supported: 1 };
        let unknown = Fatal::UnknownVersion { place: "log entry 3".into(), found: 2, supported: 1 };
        for fatal in [Fatal::Storage(newer), unknown] {
            assert_eq!(fatal.code(), ErrorCode::WrittenByNewer);
            assert!(fatal.to_string().contains("written by a newer Causeway"), "{fatal}");
        }
        assert_eq!(Fatal::Storage(causeway_storage::Error::BarrierBroken).code(), ErrorCode::StorageFailed);
    }
}
