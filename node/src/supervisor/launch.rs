//! From "start this partition" to a running pipeline: everything that a run needs, and the clients it copies between.
//!
//! A client that cannot be made is an outage of its end of the stream, so it ends the run like any other outage and is
//! tried again after a rest.

use std::sync::Arc;

use causeway_core::ids::ClusterId;
use causeway_core::instance::Instance;
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::provenance::StreamKey;
use causeway_core::state::State;
use causeway_core::stream::Stream;
use tokio::sync::Mutex;
use tracing::Instrument as _;

use crate::connect::{Instances, Purpose};
use crate::lease::Tenure;
use crate::relay::{Place, RelayedSource, Relaying};
use crate::replicate::{
    self, Buffers, Ends, InFlight, PartitionExit, PartitionJob, ProgressCell, ReadAheadBudget, ReplicateSettings,
    StopSignal,
};
use crate::status::{PartitionGauge, ReadPath};

/// What was agreed about a partition when its run began.
#[derive(Debug, Clone)]
pub struct Agreed {
    /// The Causeway cluster.
    pub cluster: ClusterId,
    /// The partition.
    pub id: PartitionId,
    /// Its ownership and progress.
    pub partition: Partition,
    /// Its stream.
    pub stream: Stream,
    /// Where messages come from.
    pub source: Instance,
    /// Where copies go.
    pub target: Instance,
}

impl Agreed {
    /// Everything agreed about a partition; none where a part of it is missing.
    #[must_use]
    pub fn about(view: &State, id: &PartitionId) -> Option<Self> {
        let partition = view.partitions.get(id)?.clone();
        let stream = view.stream_by_id(id.stream)?.clone();
        let source = view.instances.get(&stream.spec.source.instance)?.clone();
        let target = view.instances.get(&stream.spec.target.instance)?.clone();
        Some(Self { cluster: view.cluster?, id: id.clone(), partition, stream, source, target })
    }
}

/// What a run shares with the rest of the node.
#[derive(Clone)]
pub struct Shared {
    /// Makes clients.
    pub instances: Arc<Instances>,
    /// Bytes that all runs together may read ahead.
    pub budget: Arc<ReadAheadBudget>,
    /// Buffers that all runs use in turn.
    pub buffers: Arc<Buffers>,
    /// How messages are copied.
    pub settings: Arc<ReplicateSettings>,
    /// How sources in other regions are read; none for a node that is alone.
    pub relaying: Option<Relaying>,
}

/// A run that is about to begin.
pub struct Launch {
    /// What was agreed.
    pub agreed: Agreed,
    /// What it shares with the node.
    pub shared: Shared,
    /// Its live figures.
    pub gauge: Arc<PartitionGauge>,
    /// Where it leaves its progress.
    pub progress: Arc<ProgressCell>,
    /// Held while a batch is on its way to the target queue.
    pub target_lock: Arc<Mutex<()>>,
    /// Asks it to end.
    pub stop: StopSignal,
    /// It sends only under this. It was taken before `agreed` was looked up.
    pub lease: Tenure,
    /// What may still be on its way to the target, and what the run leaves there.
    pub in_flight: Arc<InFlight>,
}

/// Connects and copies until the end.
pub async fn launch(launch: Launch) -> PartitionExit {
    let Agreed { id, partition, stream, source, target, .. } = &launch.agreed;
    let shared = &launch.shared;
    let reads = Purpose::Source(stream.spec.run.slave_reads);
    let source_client = match shared.instances.connect(&source.spec.name, reads).await {
        Ok(client) => client,
        Err(error) => return PartitionExit::SourceLost { code: error.code(), why: error.to_string() },
    };
    let target_client = match shared.instances.connect(&target.spec.name, Purpose::Target).await {
        Ok(client) => client,
        Err(error) => return PartitionExit::SinkLost { code: error.code(), why: error.to_string() },
    };
    let relayed = shared.relaying.clone().map(|relaying| RelayedSource {
        relaying,
        place: Place {
            instance: source.spec.name.clone(),
            version: source.version,
            topic: stream.spec.source.topic.clone(),
            queue: id.source.clone(),
            slave_reads: stream.spec.run.slave_reads,
        },
        partition: id.clone(),
        gauge: Arc::clone(&launch.gauge),
        tag_expression: stream.spec.tag_expression.clone(),
        target: target.identity,
        pull_messages: shared.settings.pull_messages,
    });
    if relayed.is_none() {
        launch.gauge.set_read_path(ReadPath::Direct);
    }
    // On the run as a whole, so that every line that anything below writes tells whose it is.
    let whose = tracing::error_span!("copy", stream = %stream.spec.name, partition = %id, epoch = %partition.epoch);
    let ends = Ends { source: source_client, relayed, target: target_client };
    replicate::run(job(launch), ends).instrument(whose).await
}

/// What a launch asks of the data path.
pub(crate) fn job(launch: Launch) -> PartitionJob {
    let Launch { agreed, shared, gauge, progress, target_lock, stop, lease, in_flight } = launch;
    let Agreed { cluster, id, partition, stream, source, target } = agreed;
    PartitionJob {
        id,
        stream: StreamKey { cluster, stream: stream.id, generation: partition.generation },
        rule_version: stream.rule_version,
        spec: Arc::new(stream.spec),
        partition,
        source_identity: source.identity,
        target_identity: target.identity,
        gauge,
        progress,
        budget: shared.budget,
        buffers: shared.buffers,
        target_lock,
        stop,
        lease,
        in_flight,
        settings: shared.settings,
    }
}
