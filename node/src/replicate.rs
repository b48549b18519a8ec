//! The data path: how a message moves from a source queue to a target queue, exactly once as far as RocketMQ allows.
//!
//! Reading order: `pipeline` (the loop), `ports` (the seam to both ends), `resume` (what really landed), `sink` (what
//! became of a send), `fetch` and `source` (what may be copied), then the pure steps `filter`, `transform`, `batching`.
//! Whoever runs partitions needs [`run`], [`PartitionJob`], [`PartitionExit`], [`ProgressCell`] and [`StopSignal`].
//! Nothing here knows of Raft or of other nodes: what was agreed comes in with the job, progress goes out by a cell.

pub(crate) mod batching;
#[cfg(test)]
mod batching_tests;
mod boundary;
pub(crate) mod budget;
mod buffers;
mod condition;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod duplicates;
mod durability;
mod exit;
#[cfg(test)]
mod exit_tests;
mod fetch;
#[cfg(test)]
mod fetch_tests;
pub(crate) mod filter;
mod in_flight;
#[cfg(test)]
mod in_flight_tests;
mod late;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
pub(crate) mod memory_sink;
mod pipeline;
#[cfg(test)]
mod pipeline_tests;
pub(crate) mod ports;
mod progress;
#[cfg(test)]
mod relayed_tests;
mod resume;
#[cfg(test)]
mod resume_tests;
mod retry;
pub(crate) mod rocketmq;
pub mod settings;
mod settle;
mod sink;
mod source;
mod start;
mod stop;
mod tail;
mod transform;
pub(crate) mod trouble;
pub(crate) mod vet;
mod watch;
#[cfg(test)]
mod watch_tests;

use std::sync::Arc;

use causeway_core::ids::{InstanceIdentity, RuleVersion};
use causeway_core::partition::{Partition, PartitionId, QueueId};
use causeway_core::provenance::StreamKey;
use causeway_core::stream::StreamSpec;
use causeway_rocketmq::{Client, Queue};
use tokio::sync::Mutex;

pub use budget::ReadAheadBudget;
pub use buffers::Buffers;
pub use exit::PartitionExit;
pub use in_flight::{InFlight, OnItsWay};
pub use progress::ProgressCell;
pub use settings::ReplicateSettings;
pub use stop::StopSignal;

use crate::lease::Tenure;
use crate::relay::RelayedSource;
use crate::relay::source::RelaySource;
use crate::status::PartitionGauge;
use pipeline::Run;
use ports::{Sink, Source};
use rocketmq::{SourceQueue, TargetQueue};

/// The two ends of a run.
pub struct Ends {
    /// Reads the source.
    pub source: Client,
    /// How the source is read through other nodes where it is far away; none to read it directly always.
    pub relayed: Option<RelayedSource>,
    /// Writes to the target. Its reads have to be answered by masters.
    pub target: Client,
}

/// Everything that one run of a partition needs, apart from its ends.
pub struct PartitionJob {
    /// The partition.
    pub id: PartitionId,
    /// The stream, as provenance names it.
    pub stream: StreamKey,
    /// The version of the rules in `spec`.
    pub rule_version: RuleVersion,
    /// What the operator said of the stream.
    pub spec: Arc<StreamSpec>,
    /// What was agreed about the partition; its epoch is this ownership's.
    pub partition: Partition,
    /// How provenance names the source.
    pub source_identity: InstanceIdentity,
    /// How provenance names the target.
    pub target_identity: InstanceIdentity,
    /// Shows what the run does.
    pub gauge: Arc<PartitionGauge>,
    /// Takes the run's progress; a new cell for each run.
    pub progress: Arc<ProgressCell>,
    /// Bytes that all runs of the node read ahead.
    pub budget: Arc<ReadAheadBudget>,
    /// Buffers that all runs of the node share.
    pub buffers: Arc<Buffers>,
    /// One for each target queue of the node: one batch in flight.
    pub target_lock: Arc<Mutex<()>>,
    /// Asks the run to end.
    pub stop: StopSignal,
    /// The run sends only under it. It has to have begun before `partition` was looked up, so that nobody else can
    /// have been given the partition since.
    pub lease: Tenure,
    /// What may still be on its way to the target when the run begins: it decides for how long the run waits before it
    /// reads the tail. When the run has ended, what it left on its way; one cell for all runs of an ownership.
    pub in_flight: Arc<InFlight>,
    /// Sizes and waits.
    pub settings: Arc<ReplicateSettings>,
}

/// Copies one partition until it must stop, and says why.
///
/// Before its first send a partition without a checkpoint waits until its first one is agreed on, so whoever runs it
/// has to carry [`ProgressCell::take_changed`] on and answer with [`ProgressCell::committed`] meanwhile. Dropping the
/// future at any await loses nothing that a later run does not find.
pub async fn run(job: PartitionJob, ends: Ends) -> PartitionExit {
    let from = queue(&job.spec.source.topic, &job.id.source);
    let to = queue(&job.spec.target.topic, &job.partition.target);
    let source = SourceQueue { client: ends.source, queue: from };
    let target = TargetQueue { client: ends.target, queue: to };
    match ends.relayed {
        None => run_between(job, source, target).await,
        Some(relayed) => run_between(job, RelaySource::new(source, relayed), target).await,
    }
}

/// As [`run`], between any two ends.
pub(crate) async fn run_between<S: Source, K: Sink>(job: PartitionJob, source: S, target: K) -> PartitionExit {
    let run = Run {
        id: job.id,
        stream: job.stream,
        rule_version: job.rule_version,
        spec: job.spec,
        partition: job.partition,
        source_identity: job.source_identity,
        target_identity: job.target_identity,
        gauge: job.gauge,
        progress: job.progress,
        budget: job.budget,
        buffers: job.buffers,
        target_lock: job.target_lock,
        stop: job.stop,
        lease: job.lease,
        in_flight: job.in_flight,
        settings: job.settings,
    };
    pipeline::run(run, source, target).await
}

fn queue(topic: &str, queue: &QueueId) -> Queue {
    Queue { topic: Arc::from(topic), broker: Arc::from(queue.broker.as_str()), id: queue.queue }
}
