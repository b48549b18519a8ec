//! What nodes ask each other, and what they answer. The bytes of [`crate::transport`]'s requests.
//!
//! The order of the variants is part of the form; new ones are added at the end. Two nodes whose builds differ talk as
//! long as the transport's protocol is the same.

use std::fmt;
use std::time::Duration;

use causeway_core::codec;
use causeway_core::command::Command;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use causeway_core::node::{NodeSpec, ProcessId};
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::partition::PartitionId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::error::Error;
use crate::raft::membership::ChangeRefusal;

/// What a node asks another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Agree on this command; for the leader.
    Propose(Command),
    /// A lease for the node that asks; for the leader.
    Lease {
        /// The process that will hold it.
        process: ProcessId,
    },
    /// The process of the node that asks writes nothing any more; for the leader.
    GiveBack {
        /// The process.
        process: ProcessId,
    },
    /// What partitions of the node that asks copy, in bytes per second; for the leader. Those that copy little are left
    /// out.
    Loads(Vec<(PartitionId, u64)>),
    /// A node that belongs to no cluster shows its token; for any member.
    Join {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// What the node says of itself.
        spec: NodeSpec,
    },
    /// A node that lost its data asks for a new id in place of the one of its name; for any member.
    Replace {
        /// SHA-256 of a join token; needed only where no certificate proves the name.
        token: Option<[u8; 32]>,
        /// What the node says of itself.
        spec: NodeSpec,
    },
    /// What the node measures; for any member.
    Figures,
    /// Hand over leadership to this voter, or to the one that lacks least; for the leader.
    HandOver(Option<NodeId>),
    /// The node that asks has started, and may be elsewhere than the state says; for any member, which passes it on to
    /// the leader and no further.
    Introduce {
        /// What the node says of itself.
        spec: NodeSpec,
        /// This start.
        process: ProcessId,
    },
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The command was applied.
    Outcome {
        /// What came of it.
        outcome: Outcome,
        /// A log index at which the view shows its effect.
        applied: u64,
    },
    /// A lease of this length, counted from when it was asked for.
    Lease {
        /// How long.
        length: Duration,
        /// What has to be applied before anything begins under it.
        applied_at_least: u64,
    },
    /// What the node measures, in a form of its own.
    Figures(Vec<u8>),
    /// Heard.
    Done,
    /// The node belongs to the cluster now.
    Joined(Joined),
    /// The state machine refused the node.
    NotJoined(Refusal),
    /// It was not done.
    Failed(Failure),
}

/// What a node that joins is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node's id in it.
    pub node: NodeId,
    /// The other nodes: id, name and address.
    pub others: Vec<(NodeId, Name, String)>,
    /// What the member that let it in gives along; see [`super::Network::welcome`].
    pub welcome: Welcome,
}

/// Bytes that every node of the cluster has to share and that nobody else may see. Their meaning is the node's.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Welcome(pub Vec<u8>);

impl Drop for Welcome {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Welcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Welcome(***)")
    }
}

/// Why a node did not do what it was asked. The same cases as those of [`Error`] that travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// Another node leads.
    NotLeader(Option<NodeId>),
    /// Too much waits.
    Busy,
    /// No answer in time; the outcome is unknown.
    Timeout(Duration),
    /// Lost track of; the outcome is unknown.
    Interrupted,
    /// The group did not confirm in time who leads.
    NotConfirmed(Duration),
    /// Partitions of the node are being given away: ask again.
    NotNow,
    /// Another process of the same node holds the lease.
    TwoProcesses,
    /// The request was not understood, or is not for this node.
    Refused(String),
    /// Members were not changed, or leadership was not handed over.
    Change(ChangeRefusal),
    /// Leadership was offered to this node and not taken in time.
    NotTransferred(NodeId),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotLeader { leader } => Self::NotLeader(leader),
            Error::Busy => Self::Busy,
            Error::Timeout { waited } => Self::Timeout(waited),
            Error::ReadTimeout { waited } => Self::NotConfirmed(waited),
            // A node that ends may have put the command into its log before.
            Error::Interrupted | Error::Stopped | Error::Fatal(_) => Self::Interrupted,
            Error::Change(refusal) => Self::Change(refusal),
            Error::NotTransferred { to } => Self::NotTransferred(to),
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotLeader(leader) => Self::NotLeader { leader },
            Failure::Busy | Failure::NotNow => Self::Busy,
            Failure::Timeout(waited) => Self::Timeout { waited },
            Failure::Interrupted => Self::Interrupted,
            Failure::NotConfirmed(waited) => Self::ReadTimeout { waited },
            Failure::TwoProcesses => Self::TwoProcesses,
            Failure::Refused(reason) => Self::RefusedByPeer { reason },
            Failure::Change(refusal) => Self::Change(refusal),
            Failure::NotTransferred(to) => Self::NotTransferred { to },
        }
    }
}

impl Request {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        codec::encode(self).map_err(|error| Error::Unstorable { reason: error.to_string() })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, codec::Error> {
        codec::decode(bytes)
    }
}

impl Answer {
    /// An answer that has no form is told as a failure, which has one.
    pub(crate) fn encode(&self) -> Vec<u8> {
        codec::encode(self).unwrap_or_else(|error| {
            let failed = Self::Failed(Failure::Refused(error.to_string()));
            codec::encode(&failed).unwrap_or_default()
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let unreadable =
            |error: codec::Error| Error::RefusedByPeer { reason: format!("an unreadable answer: {error}") };
        codec::decode(bytes).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn why_leadership_was_not_handed_over_arrives_as_it_was_said() {
        let refusal = ChangeRefusal::NotCaughtUp { node: NodeId(3), behind: 7, active: false };
        for error in [refusal.into(), ChangeRefusal::NoSuccessor.into(), Error::NotTransferred { to: NodeId(3) }] {
            let answer = Answer::Failed(Error::clone(&error).into());
            let Answer::Failed(failure) = Answer::decode(&answer.encode()).unwrap() else { panic!("{answer:?}") };
            assert_eq!(format!("{:?}", Error::from(failure)), format!("{error:?}"));
        }
    }

    #[test]
    fn what_is_unknown_stays_unknown_on_its_way() {
        for error in [
            Error::Timeout { waited: Duration::from_secs(1) },
            Error::Interrupted,
            Error::Stopped,
            Error::NotLeader { leader: Some(NodeId(3)) },
            Error::Busy,
            Error::TwoProcesses,
        ] {
            let answer = Answer::Failed(error.clone().into());
            let Answer::Failed(failure) = Answer::decode(&answer.encode()).unwrap() else { panic!("{answer:?}") };
            let told = Error::from(failure);
            // A node that stops cannot say whether it is done, so that is the only one which grows more careful.
            assert!(told.outcome_is_unknown() || !error.outcome_is_unknown(), "{error} became {told}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Request::decode(&bytes);
            let _ = Answer::decode(&bytes);
        }
    }
}
