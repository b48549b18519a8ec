//! Before a node's process ends, its partitions go to other nodes one by one, each without waiting for a lease: a
//! restart stops none of them for longer than a planned move does.

use std::time::Duration;

use causeway_cluster::Group;
use causeway_core::command::Command;
use causeway_core::node::ProcessId;
use causeway_core::outcome::Outcome;
use tokio::time::{Instant, sleep, timeout};

/// How long the others may take to agree that this node leaves.
const AGREEMENT: Duration = Duration::from_secs(2);

/// How long none of its partitions may have left before the rest is given up: then nobody takes them.
const STANDSTILL: Duration = Duration::from_secs(3);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Returns when this node owns nothing any more, when nobody takes what it owns, or when `patience` is over.
pub(super) async fn leave(cluster: &Group, process: ProcessId, patience: Duration) {
    let node = cluster.me();
    let somebody = cluster.peers().values().any(|peer| peer.state.is_connected());
    if !somebody {
        return;
    }
    match timeout(AGREEMENT, cluster.propose(Command::LeaveNode { node, process })).await {
        Ok(Ok(Outcome::Refused(refusal))) => return tracing::info!(%refusal, "its partitions are not given away"),
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return tracing::info!(%error, "its partitions are not given away; the others wait"),
        Err(_) => return tracing::info!("its partitions are not given away in time; the others wait"),
    }
    let owned = || cluster.view().partitions.values().filter(|partition| partition.owner == Some(node)).count();
    let (deadline, mut fewest, mut since) = (Instant::now() + patience, usize::MAX, Instant::now());
    loop {
        let left = owned();
        if left == 0 {
            return tracing::info!("its partitions run on other nodes");
        }
        if left < fewest {
            (fewest, since) = (left, Instant::now());
        }
        if since.elapsed() >= STANDSTILL || Instant::now() >= deadline {
            return tracing::info!(left, "nobody takes its last partitions in time");
        }
        sleep(LOOK).await;
    }
}
