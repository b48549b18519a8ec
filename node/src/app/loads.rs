//! Tells the leader what the partitions of this node copy, so that it can spread the work by bytes and not by count.

use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::Group;
use causeway_core::partition::PartitionId;
use tokio::time::MissedTickBehavior;

use crate::status::StatusBoard;
use crate::telemetry::RateHistory;

/// Between two reports.
const INTERVAL: Duration = Duration::from_secs(5);

/// What copies less is not worth a word: the leader counts every partition as a small load anyway.
const LEAST_BYTES_PER_SECOND: f64 = 4096.0;

/// How many partitions one report names, the busiest first. Bounds its size to a few hundred KiB.
const MAXIMUM_PARTITIONS: usize = 4_096;

/// Reports until it is dropped. A report that is lost is followed by the next.
pub(super) async fn report(cluster: Group, board: Arc<StatusBoard>, rates: Arc<RateHistory>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let running = board.partitions().into_iter().filter(|(_, figures)| figures.runs).map(|(id, _)| id);
        let loads = busiest(running.filter_map(|id| {
            let bytes = rates.partition_rates(&id)?.written_bytes;
            Some((id, bytes))
        }));
        if let Err(error) = cluster.report_loads(loads).await {
            tracing::debug!(%error, "loads were not reported");
        }
    }
}

fn busiest(rates: impl Iterator<Item = (PartitionId, f64)>) -> Vec<(PartitionId, u64)> {
    let busy = rates.filter(|(_, bytes)| *bytes >= LEAST_BYTES_PER_SECOND);
    let mut loads: Vec<_> = busy.map(|(id, bytes)| (id, whole(bytes))).collect();
    loads.sort_by(|(left_id, left), (right_id, right)| right.cmp(left).then_with(|| left_id.cmp(right_id)));
    loads.truncate(MAXIMUM_PARTITIONS);
    loads
}

/// A rate without its fraction.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::StreamId;
    use causeway_core::partition::QueueId;

    use super::*;

    fn partition(queue: u32) -> PartitionId {
        PartitionId { stream: StreamId(1), source: QueueId { broker: "a".to_owned(), queue } }
    }

    #[test]
    fn the_busiest_are_told_first_and_the_quiet_ones_not_at_all() {
        let rates = [(1, 5_000.7), (2, 100.0), (3, 9_000.0)];
        let told = busiest(rates.into_iter().map(|(queue, bytes)| (partition(queue), bytes)));
        assert_eq!(told, [(partition(3), 9_000), (partition(1), 5_000)]);
        let many = (0..5_000).map(|queue| (partition(queue), f64::from(queue) + 4_096.0));
        let told = busiest(many);
        assert_eq!(told.len(), MAXIMUM_PARTITIONS);
        assert_eq!(told[0].1, 9_095);
    }
}
