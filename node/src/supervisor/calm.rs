//! When partitions may be moved only to even out what nodes carry.
//!
//! Such a move costs its partition a pause, so it has to rest on loads that mean something, and must not meet a
//! partition that has just begun to settle: it would begin anew elsewhere. Both take a while after any change of who
//! leads (a new leader knows no loads), of who is up, and of who owns what: until its new owner has told it nobody
//! knows the load of a partition, and at first a backlog that is caught up passes for one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::plan::Liveness;
use causeway_core::state::State;
use tokio::time::Instant;

/// How long nothing may have changed. Nodes tell their loads every five seconds.
pub const CALM: Duration = Duration::from_secs(15);

/// Since when nothing has changed.
#[derive(Debug, Default)]
pub struct Calm {
    since: Option<(Instant, Seen)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    term: u64,
    up: BTreeSet<NodeId>,
    /// How many ownerships there were: it rises with each that begins.
    ownerships: u64,
    moving: usize,
}

impl Calm {
    /// One look. Answers whether nothing has changed for [`CALM`] and no partition is on its way.
    pub fn look(&mut self, term: u64, view: &State, nodes: &BTreeMap<NodeId, Liveness>, now: Instant) -> bool {
        let up = nodes.iter().filter(|(_, liveness)| **liveness == Liveness::Up).map(|(node, _)| *node);
        let epochs = view.partitions.values().map(|partition| partition.epoch.0);
        let seen = Seen {
            term,
            up: up.collect(),
            ownerships: epochs.fold(0, u64::wrapping_add),
            moving: view.partitions.values().filter(|partition| partition.moving_to.is_some()).count(),
        };
        let is_at_rest = seen.moving == 0;
        match &self.since {
            Some((since, before)) if *before == seen => is_at_rest && now.saturating_duration_since(*since) >= CALM,
            _ => {
                self.since = Some((now, seen));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::testing::{ME, OTHER, Replica};

    fn nodes(up: &[NodeId]) -> BTreeMap<NodeId, Liveness> {
        up.iter().map(|node| (*node, Liveness::Up)).collect()
    }

    #[test]
    fn every_change_of_leader_nodes_and_owners_begins_the_wait_anew() {
        let mut replica = Replica::with_partitions(2);
        let mut calm = Calm::default();
        let mut now = Instant::now();
        let mut waits_anew = |what: &str, term: u64, state: &State, up: &[NodeId]| {
            assert!(!calm.look(term, state, &nodes(up), now), "{what}");
            now += CALM - Duration::from_millis(1);
            assert!(!calm.look(term, state, &nodes(up), now), "{what}");
            now += Duration::from_millis(1);
            assert!(calm.look(term, state, &nodes(up), now), "{what}");
        };
        waits_anew("the first look", 1, &replica.state, &[ME]);
        waits_anew("another leader", 2, &replica.state, &[ME]);
        waits_anew("a node comes", 2, &replica.state, &[ME, OTHER]);
        replica.assign(replica.partition(0), OTHER);
        waits_anew("a new owner", 2, &replica.state, &[ME, OTHER]);
        replica.node_started(ME);
        waits_anew("a node starts", 2, &replica.state, &[ME, OTHER]);
        waits_anew("a node goes", 2, &replica.state, &[ME]);
    }
}
