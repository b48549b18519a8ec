//! `GET /v1/status`: everything that the live table and the status page need, in one answer.

use std::collections::BTreeMap;

use causeway_core::ids::{NodeId, StreamId, Timestamp};
use causeway_core::name::Name;
use causeway_core::stream::DesiredState;
use serde::{Deserialize, Serialize};

use super::error::help;
use super::node::NodeView;
use crate::status::{Condition, RunState};

/// Query of `GET /v1/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusQuery {
    /// Include the history points after this time (0: the whole last hour); none when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_since: Option<i64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The node's wall clock when it answered.
    pub at: Timestamp,
    /// The node that answers.
    pub node: NodeStatus,
    /// What it knows of the Raft group.
    pub raft: RaftStatus,
    /// The nodes of the cluster, as `GET /v1/nodes` shows them.
    #[serde(default)]
    pub nodes: Vec<NodeView>,
    /// Partitions that are on their way from one living node to another.
    #[serde(default)]
    pub moves: usize,
    /// Registered instances, by name.
    pub instances: Vec<InstanceSummary>,
    /// The arrows of the map: one for each pair of regions that a stream connects.
    pub flows: Vec<FlowStatus>,
    /// Streams, by name.
    pub streams: Vec<StreamStatus>,
    /// Streams that were deleted and whose last sends have not ended.
    #[serde(default)]
    pub deleting: Vec<DeletingStream>,
    /// The latest changes of state, newest first; at most 100, since the node's process started.
    pub events: Vec<EventView>,
}

/// A stream that was deleted and whose last sends have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletingStream {
    /// The identifier that it had.
    pub id: StreamId,
    /// So many of its partitions still send.
    pub partitions: usize,
}

/// The node that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// Its region label.
    pub region: Name,
    /// The version of its program.
    pub version: String,
    /// When its process started.
    pub started_at: Timestamp,
}

/// What a node knows of the Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RaftStatus {
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// The leader, as far as this node knows; none where it has not heard one for some election timeouts. Nothing can
    /// be changed then.
    pub leader: Option<NodeId>,
    /// The current term.
    pub term: u64,
    /// The last applied log entry.
    pub applied_index: u64,
    /// Log entries that this node knows to be committed and has not applied.
    #[serde(default)]
    pub apply_lag_entries: u64,
    /// How many nodes have started at least once.
    pub nodes: usize,
    /// Why the node that answers is no member of the cluster any more; none while nothing says so. What it shows of the
    /// cluster is old then.
    #[serde(default)]
    pub removed: Option<String>,
}

/// A registered instance, as the map shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSummary {
    /// Its name.
    pub name: Name,
    /// The region that it stands in.
    pub region: Name,
}

/// All streams from one region to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowStatus {
    /// Where messages come from.
    pub source_region: Name,
    /// Where copies go.
    pub target_region: Name,
    /// How many streams.
    pub streams: usize,
    /// The worst state among those that are not paused; `paused` when all are.
    pub state: RunState,
    /// The largest of the streams' that are not paused; none where one of them is unknown, or all are paused.
    pub rpo_seconds: Option<f64>,
    /// The sum of the streams'; none where it is unknown.
    pub copied_messages_per_second: Option<f64>,
}

/// A state, since when, why, and where to read on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConditionView {
    /// The state.
    pub state: RunState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence; none where the state says it all.
    pub why: Option<String>,
    /// The stable code of the reason.
    pub code: Option<String>,
    /// The documentation page of the code.
    pub help: Option<String>,
}

impl From<Condition> for ConditionView {
    fn from(condition: Condition) -> Self {
        Self {
            state: condition.state,
            since: condition.since,
            why: condition.why,
            code: condition.code.map(|code| code.to_string()),
            help: condition.code.map(help),
        }
    }
}

/// A stream, as the table and the page show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamStatus {
    /// Its name.
    pub name: Name,
    /// Where messages come from.
    pub source: EndpointStatus,
    /// Where copies go.
    pub target: EndpointStatus,
    /// What the operator wants.
    pub desired: DesiredState,
    /// What it does: the worst state of its partitions.
    #[serde(flatten)]
    pub condition: ConditionView,
    /// How many partitions it has.
    pub partitions: usize,
    /// How many of them are in each state.
    pub partition_states: BTreeMap<RunState, usize>,
    /// Live figures.
    pub figures: StreamFigures,
    /// How far a stream in state `catching_up` is; none in any other.
    pub catch_up: Option<CatchUp>,
    /// Points of the last hour, oldest first; empty unless `history_since` was given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryPoint>,
}

/// One end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointStatus {
    /// The instance's name.
    pub instance: Name,
    /// The region that the instance stands in.
    pub region: Name,
    /// The topic.
    pub topic: String,
}

/// Live figures of a stream: sums over its partitions, or the worst of them. Counters are what the node that answers
/// has counted: what the owners of partitions had copied as owners when it started, and everything since. So nodes that
/// started at different times show different counters. A figure that one partition does not know is unknown for the
/// stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StreamFigures {
    /// Messages read from the source.
    pub read_messages: u64,
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
    /// Partitions whose owner reads the source itself.
    #[serde(default)]
    pub direct_partitions: usize,
    /// Partitions that a node near the source reads for their owner, by the name of that node.
    #[serde(default)]
    pub relayed_partitions: BTreeMap<Name, usize>,
    /// Messages read a second, averaged over the last seconds.
    pub read_messages_per_second: Option<f64>,
    /// Messages written a second, averaged over the last seconds.
    pub copied_messages_per_second: Option<f64>,
    /// Bytes written a second, averaged over the last seconds.
    pub copied_bytes_per_second: Option<f64>,
    /// Messages that the source holds and the target does not.
    pub lag_messages: Option<u64>,
    /// How far the target is behind, of the partition that is furthest.
    pub lag_seconds: Option<f64>,
    /// Upper bound of the age of what would be lost if the source were gone now, of the worst partition.
    pub rpo_seconds: Option<f64>,
    /// Age of the oldest partition's last committed checkpoint.
    pub checkpoint_age_seconds: Option<f64>,
}

/// How far a catch-up is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Percent of what there was to copy since the catch-up began, new messages included.
    pub percent: Option<f64>,
    /// Messages that are left.
    pub remaining_messages: Option<u64>,
    /// Seconds until the end at the present pace; none where the backlog does not shrink.
    pub eta_seconds: Option<f64>,
}

/// A point of the last hour; each covers ten seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// When the ten seconds ended.
    pub at: Timestamp,
    /// Messages written a second, averaged over the ten seconds.
    pub copied_messages_per_second: Option<f64>,
    /// Messages that the target was behind at the end.
    pub lag_messages: Option<u64>,
    /// Seconds that the target was behind at the end.
    pub lag_seconds: Option<f64>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// When it was seen.
    pub at: Timestamp,
    /// The stream.
    pub stream: Name,
    /// The state before; none when the stream was seen for the first time.
    pub from: Option<RunState>,
    /// The state after; none when the stream was deleted.
    pub to: Option<RunState>,
    /// Why, in one sentence.
    pub why: Option<String>,
    /// The stable code of the reason.
    pub code: Option<String>,
}
