//! What other nodes and their partitions do, so that every node can show the whole cluster.
//!
//! Each node asks each other one, once a second. What was told is shown until the node has told nothing for a while;
//! nothing is ever decided by it.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_cluster::{Figures, Group};
use causeway_core::ids::NodeId;
use causeway_core::partition::PartitionId;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior};

use crate::status::node::{NodeBoard, NodeReport};
use crate::status::{PartitionFigures, StatusBoard};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long old figures are better than none.
const STALE: Duration = Duration::from_secs(10);

/// What a node tells. The names of figures travel with them, so nodes of two releases understand each other.
#[derive(Serialize, Deserialize)]
struct Told {
    node: NodeReport,
    partitions: Vec<(PartitionId, PartitionFigures)>,
}

/// What this node tells. Whoever answers other nodes keeps none alive, so it holds the board of nodes weakly.
pub(super) fn told(board: Arc<StatusBoard>, nodes: Weak<NodeBoard>) -> Figures {
    Arc::new(move || {
        let Some(nodes) = nodes.upgrade() else { return Vec::new() };
        let told = Told { node: nodes.own(), partitions: board.partitions().into_iter().collect() };
        serde_json::to_vec(&told).unwrap_or_default()
    })
}

/// Asks until it is dropped.
pub(super) async fn ask(cluster: Group, overview: Arc<StatusBoard>, nodes: Arc<NodeBoard>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard: BTreeMap<NodeId, Instant> = BTreeMap::new();
    loop {
        ticks.tick().await;
        let others: Vec<_> = cluster.peers().into_keys().collect();
        let asked = others.iter().map(|node| async { (*node, cluster.figures_of(*node, PATIENCE).await) });
        for (node, answer) in join_all(asked).await {
            match answer.map(|bytes| serde_json::from_slice::<Told>(&bytes)) {
                Ok(Ok(told)) => {
                    overview.set_neighbour(node, Some(told.partitions.into_iter().collect()));
                    nodes.set(node, Some(told.node));
                    heard.insert(node, Instant::now());
                }
                Ok(Err(error)) => tracing::debug!(%node, %error, "its figures are not understood"),
                Err(error) => tracing::debug!(%node, %error, "its figures are not known"),
            }
        }
        heard.retain(|node, at| {
            let keep = at.elapsed() < STALE && others.contains(node);
            if !keep {
                overview.set_neighbour(*node, None);
                nodes.set(*node, None);
            }
            keep
        });
    }
}
