//! What other nodes' partitions do, so that every node can show the whole cluster.
//!
//! Each node asks each other one, once a second. What was told is shown until the node has told nothing for a while;
//! nothing is ever decided by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::{Figures, Group};
use causeway_core::ids::NodeId;
use causeway_core::partition::PartitionId;
use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior};

use crate::status::{self, PartitionFigures, StatusBoard};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long old figures are better than none.
const STALE: Duration = Duration::from_secs(10);

/// What this node tells. The names of figures travel with them, so nodes of two releases understand each other.
pub(super) fn told(board: Arc<StatusBoard>) -> Figures {
    Arc::new(move || {
        let figures: Vec<_> = board.partitions().into_iter().collect();
        serde_json::to_vec(&figures).unwrap_or_default()
    })
}

/// Asks until it is dropped.
pub(super) async fn ask(cluster: Group, overview: Arc<StatusBoard>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard: BTreeMap<NodeId, Instant> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let others: Vec<_> = cluster.peers().into_keys().collect();
        let asked = others.iter().map(|node| async { (*node, cluster.figures_of(*node, PATIENCE).await) });
        for (node, answer) in join_all(asked).await {
            match answer.map(|bytes| read(&bytes)) {
                Ok(Some(figures)) => {
                    overview.set_neighbour(node, Some(figures));
                    heard.insert(node, Instant::now());
                }
                Ok(None) => tracing::debug!(%node, "its figures are not understood"),
                Err(error) => tracing::debug!(%node, %error, "its figures are not known"),
            }
        }
        heard.retain(|node, at| {
            let keep = at.elapsed() < STALE && others.contains(node);
            if !keep {
                overview.set_neighbour(*node, None);
            }
            keep
        });
    }
}

fn read(bytes: &[u8]) -> Option<status::Figures> {
    let figures: Vec<(PartitionId, PartitionFigures)> = serde_json::from_slice(bytes).ok()?;
    Some(figures.into_iter().collect())
}
