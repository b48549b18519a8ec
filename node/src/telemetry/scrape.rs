//! Answers `/metrics`: reads the agreed state, the gauges and the totals at the moment somebody asks.
//!
//! What a node does not run it does not report, so a sum over nodes counts everything once.

use std::time::Duration;

use causeway_cluster::RaftStatus;
use causeway_cluster::status::BARRIER_BUCKETS_MICROSECONDS;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use causeway_core::state::State;

use crate::admin::survey::{PartitionSurvey, StreamSurvey, survey};
use crate::status::{PartitionFigures, RunState, StatusBoard};
use crate::telemetry::exposition::Page;
use crate::telemetry::members::{Membership, membership};
use crate::telemetry::names::{self, Metric, class};
use crate::telemetry::process;
use crate::telemetry::rates::{RateHistory, checkpoint_age_seconds, lag_messages, lag_seconds, worst_rpo_seconds};
use crate::telemetry::totals::Totals;

/// Where the figures come from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// The name of this node.
    pub node: &'a Name,
    /// What Raft agreed.
    pub view: &'a State,
    /// What this node's partitions do.
    pub board: &'a StatusBoard,
    /// What the partitions of all nodes do.
    pub everywhere: &'a StatusBoard,
    /// What this node's partitions counted.
    pub history: &'a RateHistory,
    /// Where the Raft group stands; none where it is not known.
    pub raft: Option<&'a RaftStatus>,
    /// Its part in its cluster; none where it is not known.
    pub member: Option<Membership<'a>>,
    /// The time to judge ages by.
    pub now: Timestamp,
}

/// What a scrape asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrapeOptions {
    /// One series for each source queue in place of each series of a stream.
    pub queues: bool,
}

/// Every state, for series that say 0 where nothing is in it.
const STATES: [(RunState, &str); 9] = [
    (RunState::Ready, "ready"),
    (RunState::Starting, "starting"),
    (RunState::CatchingUp, "catching_up"),
    (RunState::Running, "running"),
    (RunState::Pausing, "pausing"),
    (RunState::Paused, "paused"),
    (RunState::Blocked, "blocked"),
    (RunState::Faulted, "faulted"),
    (RunState::Deleting, "deleting"),
];

/// All metrics in the text format.
#[must_use]
pub fn render(sources: &Sources<'_>, options: ScrapeOptions) -> String {
    let mut page = Page::default();
    let node = sources.node.as_str();
    page.count(&names::BUILD_INFORMATION, &[("node", node), ("version", env!("CARGO_PKG_VERSION"))], 1);
    let everywhere = survey(sources.view, sources.everywhere);
    for (stream, everywhere) in survey(sources.view, sources.board).into_iter().zip(&everywhere) {
        let spec = &stream.agreed.spec;
        let labels = [
            ("node", node),
            ("stream", spec.name.as_str()),
            ("source", spec.source.instance.as_str()),
            ("target", spec.target.instance.as_str()),
        ];
        if options.queues {
            queues(&mut page, &labels, &stream, sources.now);
        } else {
            whole(&mut page, &labels, &stream, sources);
        }
        states(&mut page, &labels, everywhere, sources.member.as_ref());
        page.count(&names::SOURCE_GAPS, &labels, sources.history.source_gaps(stream.agreed.id));
    }
    let errors = sources.history.errors();
    for code in ErrorCode::ALL {
        // Also those that never happened: a series that begins at 1 has not grown for whoever asks how much it grew.
        let count = errors.get(code).copied().unwrap_or(0);
        page.count(&names::ERRORS, &[("node", node), ("class", class(*code)), ("code", &code.to_string())], count);
    }
    if let Some(raft) = sources.raft {
        let dropped = sources.member.map(|member| member.counted.dropped_messages);
        replica(&mut page, node, raft, dropped);
    }
    if let Some(member) = &sources.member {
        membership(&mut page, node, member, sources.view, sources.now);
    }
    page.add(&names::PROCESS_CPU, &[("node", node)], process::cpu_seconds());
    if let Some(bytes) = process::resident_bytes() {
        page.count(&names::PROCESS_RESIDENT_MEMORY, &[("node", node)], bytes);
    }
    page.render()
}

fn replica(page: &mut Page, node: &str, raft: &RaftStatus, dropped: Option<u64>) {
    let labels = &[("node", node)];
    for (direction, dropped) in [("received", Some(raft.dropped_messages)), ("sent", dropped)] {
        let labels = [("node", node), ("direction", direction)];
        dropped.into_iter().for_each(|dropped| page.count(&names::DROPPED_MESSAGES, &labels, dropped));
    }
    page.count(&names::RAFT_APPLY_LAG, labels, raft.committed.saturating_sub(raft.applied));
    page.count(&names::RAFT_TERM, labels, raft.term);
    page.count(&names::RAFT_APPLIED_INDEX, labels, raft.applied);
    let bounds = BARRIER_BUCKETS_MICROSECONDS.iter().map(|bound| Some(Duration::from_micros(*bound).as_secs_f64()));
    let buckets: Vec<(Option<f64>, u64)> = bounds.chain([None]).zip(raft.barriers.buckets).collect();
    page.histogram(&names::BARRIER, labels, &buckets, raft.barriers.total.as_secs_f64());
}

fn whole(page: &mut Page, labels: &[(&str, &str)], stream: &StreamSurvey<'_>, sources: &Sources<'_>) {
    let figures: Vec<&PartitionFigures> = stream.partitions.iter().filter_map(|part| part.figures.as_ref()).collect();
    let totals = sources.history.totals(stream.agreed.id).unwrap_or_default();
    counters(page, labels, &totals);
    let rewinds = stream.partitions.iter().map(|part| part.agreed.rewinds).fold(0, u64::saturating_add);
    page.count(&names::REWINDS, labels, rewinds);
    gauges(page, labels, &figures, sources.now);
}

fn queues(page: &mut Page, labels: &[(&str, &str)], stream: &StreamSurvey<'_>, now: Timestamp) {
    for PartitionSurvey { id, agreed, figures, .. } in &stream.partitions {
        let queue = id.source.queue.to_string();
        let values = [id.source.broker.as_str(), queue.as_str()];
        let own = names::QUEUE_LABELS.iter().copied().zip(values);
        let labels: Vec<(&str, &str)> = labels.iter().copied().chain(own).collect();
        page.count(&names::REWINDS, &labels, agreed.rewinds);
        if let Some(figures) = figures {
            counters(page, &labels, &Totals::of(figures));
            gauges(page, &labels, &[figures], now);
        }
    }
}

fn counters(page: &mut Page, labels: &[(&str, &str)], totals: &Totals) {
    let pairs: [(Metric, u64); 8] = [
        (names::STREAM_READ_MESSAGES, totals.read_messages),
        (names::STREAM_WRITTEN_MESSAGES, totals.written_messages),
        (names::STREAM_READ_BYTES, totals.read_bytes),
        (names::STREAM_SLAVE_READ_MESSAGES, totals.slave_read_messages),
        (names::STREAM_WRITTEN_BYTES, totals.written_bytes),
        (names::STREAM_FILTERED_MESSAGES, totals.filtered_messages),
        (names::STREAM_LOOPED_MESSAGES, totals.looped_messages),
        (names::ZOMBIE_WRITES, totals.zombie_writes),
    ];
    for (metric, value) in &pairs {
        page.count(metric, labels, *value);
    }
}

fn gauges(page: &mut Page, labels: &[(&str, &str)], figures: &[&PartitionFigures], now: Timestamp) {
    let lag = lag_messages(figures).map(crate::telemetry::rates::approximate);
    page.add(&names::STREAM_LAG_MESSAGES, labels, lag);
    page.add(&names::STREAM_LAG_SECONDS, labels, lag_seconds(figures, now));
    page.add(&names::STREAM_RPO_SECONDS, labels, worst_rpo_seconds(figures, now));
    page.add(&names::CHECKPOINT_AGE, labels, checkpoint_age_seconds(figures, now));
    let bytes = figures.iter().map(|figures| figures.in_flight_bytes).fold(0, u64::saturating_add);
    page.count(&names::INFLIGHT_BYTES, labels, bytes);
}

/// The state of the whole stream, and how many partitions are in each: a partition counts where its owner is, one
/// without an owner where the leader is.
fn states(page: &mut Page, labels: &[(&str, &str)], stream: &StreamSurvey<'_>, member: Option<&Membership<'_>>) {
    let is_own = |partition: &&PartitionSurvey<'_>| {
        member.is_none_or(|member| partition.agreed.owner.map_or(member.figures.leads, |owner| owner == member.me))
    };
    for (state, word) in STATES {
        let own = stream.partitions.iter().filter(is_own);
        let count = own.filter(|partition| partition.condition.state == state).count();
        let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("state", word)]).collect();
        page.count(&names::PARTITION_STATE, &labels, u64::try_from(count).unwrap_or(u64::MAX));
        page.count(&names::STREAM_STATE, &labels, u64::from(stream.condition.state == state));
    }
}

#[cfg(test)]
#[path = "scrape_tests.rs"]
mod tests;
