//! What each node of the cluster says of itself, and what the leader knows of all of them, for people and for metrics.
//!
//! A node measures itself whenever it is asked; what the others said last is kept here. Nothing is ever decided by it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

pub use causeway_cluster::REMOVED;
use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::plan::Liveness;
use serde::{Deserialize, Serialize};

use crate::relay;

/// What a leader knows of whether a node lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeLiveness {
    /// It asked for its lease a moment ago.
    Up,
    /// It did not for a while, and may still hold one.
    Silent,
    /// It holds none.
    Down,
}

impl NodeLiveness {
    /// Each of them, the best first.
    pub const ALL: [Self; 3] = [Self::Up, Self::Silent, Self::Down];

    /// As people and metrics write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Silent => "silent",
            Self::Down => "down",
        }
    }
}

impl From<Liveness> for NodeLiveness {
    fn from(known: Liveness) -> Self {
        match known {
            Liveness::Up => Self::Up,
            Liveness::Silent => Self::Silent,
            Liveness::Down => Self::Down,
        }
    }
}

impl From<NodeLiveness> for Liveness {
    fn from(told: NodeLiveness) -> Self {
        match told {
            NodeLiveness::Up => Self::Up,
            NodeLiveness::Silent => Self::Silent,
            NodeLiveness::Down => Self::Down,
        }
    }
}

/// A node's permission to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// It may not write.
    #[default]
    None,
    /// It may write until its lease ends.
    Held,
    /// It needs none: nobody else could be given its partitions.
    Unlimited,
}

/// What a node measures of itself. Counters count since its process started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFigures {
    /// The version of its program.
    pub version: String,
    /// Whether it leads, by its own word.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The last log entry that it has applied.
    pub applied_index: u64,
    /// Log entries that it knows to be committed and has not applied.
    pub apply_lag_entries: u64,
    /// Its permission to write.
    pub lease: LeaseState,
    /// What is left of it; none where it has none or one without an end.
    pub lease_seconds: Option<f64>,
    /// Times that its lease ended because it was not renewed in time.
    pub lease_losses: u64,
    /// Partitions that it was given because their owner was gone.
    pub takeovers: u64,
    /// Partitions that their owner handed to it.
    pub moves_in: u64,
    /// What it does as a relay, and what relays do for it.
    pub relay: RelayFigures,
    /// When its certificate for other nodes ends; none without TLS.
    pub certificate_expires_at: Option<Timestamp>,
    /// When the first of the authorities that it trusts ends; none without TLS.
    pub authorities_expire_at: Option<Timestamp>,
}

/// What a node does as a relay, and what relays do for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayFigures {
    /// Partitions of other nodes that it reads for, now.
    pub served_streams: u64,
    /// Its partitions that other nodes read for, now.
    pub received_streams: u64,
    /// Bytes of records that it relayed, before compression.
    pub raw_bytes: u64,
    /// Bytes that it sent for them.
    pub sent_bytes: u64,
    /// Bytes that it received from relays.
    pub received_bytes: u64,
    /// Messages that it left out because the stream's filter does.
    pub left_out_messages: u64,
    /// Batches that waited until whoever reads them had taken enough of the ones before.
    pub credit_waits: u64,
    /// Times that a relay failed it.
    pub failures: u64,
    /// Times that a relay went on after a failure.
    pub resumes: u64,
    /// Times that it turned to reading a source directly because relays failed.
    pub fallbacks: u64,
}

impl From<relay::Sample> for RelayFigures {
    fn from(sample: relay::Sample) -> Self {
        Self {
            served_streams: sample.served_streams,
            received_streams: sample.received_streams,
            raw_bytes: sample.raw_bytes,
            sent_bytes: sample.wire_bytes,
            received_bytes: sample.received_bytes,
            left_out_messages: sample.left_out,
            credit_waits: sample.credit_waits,
            failures: sample.failures,
            resumes: sample.resumes,
            fallbacks: sample.turned_direct,
        }
    }
}

/// What a leader knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    /// Whether it lives.
    pub liveness: Option<NodeLiveness>,
    /// Log entries that it lacks; none for what is no member.
    pub behind_entries: Option<u64>,
}

/// What a node says when it is asked.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReport {
    /// What it measures of itself.
    pub figures: NodeFigures,
    /// While it leads, what it knows of every node.
    pub known: BTreeMap<NodeId, Known>,
}

/// How a node measures itself.
pub type Measure = Box<dyn Fn() -> NodeReport + Send + Sync>;

/// The reports of all nodes.
pub struct NodeBoard {
    me: NodeId,
    measure: Measure,
    told: RwLock<BTreeMap<NodeId, NodeReport>>,
}

impl NodeBoard {
    /// Knows of this node only. `measure` is called at each look and must not block.
    #[must_use]
    pub fn new(me: NodeId, measure: Measure) -> Self {
        Self { me, measure, told: RwLock::default() }
    }

    /// What this node says now.
    #[must_use]
    pub fn own(&self) -> NodeReport {
        (self.measure)()
    }

    /// What another node said last; none when it said nothing for too long.
    pub fn set(&self, node: NodeId, report: Option<NodeReport>) {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        match report {
            Some(report) => drop(told.insert(node, report)),
            None => drop(told.remove(&node)),
        }
    }

    /// What all nodes say.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeId, NodeReport> {
        let mut all = self.told.read().unwrap_or_else(PoisonError::into_inner).clone();
        all.insert(self.me, self.own());
        all
    }
}

/// What the leader among those who reported knows of each node; nothing where nobody leads. Of two that say they lead,
/// the one with the later term does.
#[must_use]
pub fn known(reports: &BTreeMap<NodeId, NodeReport>) -> BTreeMap<NodeId, Known> {
    let leaders = reports.values().filter(|report| report.figures.leads);
    leaders.max_by_key(|report| report.figures.term).map(|report| report.known.clone()).unwrap_or_default()
}

impl fmt::Debug for NodeBoard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NodeBoard").field("me", &self.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(leads: bool, term: u64, liveness: NodeLiveness) -> NodeReport {
        let known = Known { liveness: Some(liveness), behind_entries: Some(0) };
        let known = if leads { BTreeMap::from([(NodeId(3), known)]) } else { BTreeMap::new() };
        NodeReport { figures: NodeFigures { leads, term, ..NodeFigures::default() }, known }
    }

    #[test]
    fn every_node_shows_what_the_latest_leader_knows_and_forgets_who_is_silent() {
        let board = NodeBoard::new(NodeId(1), Box::new(|| report(false, 4, NodeLiveness::Up)));
        assert!(known(&board.all()).is_empty(), "nobody leads");
        board.set(NodeId(2), Some(report(true, 3, NodeLiveness::Up)));
        board.set(NodeId(4), Some(report(true, 4, NodeLiveness::Down)));
        let liveness = |node| known(&board.all()).get(&node).and_then(|known: &Known| known.liveness);
        assert_eq!(liveness(NodeId(3)), Some(NodeLiveness::Down), "the leader of term 3 does not know yet");
        assert_eq!(liveness(NodeId(9)), None);
        board.set(NodeId(4), None);
        assert_eq!((liveness(NodeId(3)), board.all().len()), (Some(NodeLiveness::Up), 2));
    }

    #[test]
    fn what_another_release_says_is_understood_as_far_as_it_goes() {
        let told = serde_json::json!({ "figures": { "term": 7, "lease": "held", "unheard_of": 1 }, "more": [] });
        let report: NodeReport = serde_json::from_value(told).unwrap();
        assert_eq!((report.figures.term, report.figures.lease), (7, LeaseState::Held));
        assert_eq!(report.figures.relay, RelayFigures::default());
    }
}
