//! What this node says of itself, to people, to metrics and to the other nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::transport::Tls;
use causeway_cluster::{Group, RaftStatus};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
use tokio::time::MissedTickBehavior;

use crate::clock::timestamp;
use crate::lease::Lease;
use crate::relay;
use crate::status::node::{Known, LeaseState, NodeFigures, NodeReport, REMOVED};
use crate::telemetry::changes::Changes;

/// Between two looks at what changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where the figures come from.
#[derive(Clone)]
pub(super) struct Reporter {
    pub(super) group: Group,
    pub(super) lease: Lease,
    pub(super) relay: Arc<relay::Figures>,
    /// None without TLS.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) changes: Arc<Changes>,
}

impl Reporter {
    /// Measures everything once.
    pub(super) fn report(&self) -> NodeReport {
        let (status, counted) = (self.group.status(), self.changes.counted());
        let expiry = self.tls.as_ref().map(|tls| tls.expiry());
        let (lease, remaining) = permission(&self.lease);
        let figures = NodeFigures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            leads: status.leader == Some(self.group.me()),
            term: status.term,
            applied_index: status.applied,
            apply_lag_entries: status.committed.saturating_sub(status.applied),
            lease,
            lease_seconds: remaining.map(|remaining| remaining.as_secs_f64()),
            lease_losses: self.lease.losses(),
            takeovers: counted.takeovers,
            moves_in: counted.moves_in,
            relay: self.relay.sample().into(),
            certificate_expires_at: expiry.map(|expiry| timestamp(expiry.certificate)),
            authorities_expire_at: expiry.map(|expiry| timestamp(expiry.authorities)),
        };
        NodeReport { figures, known: self.known(&status) }
    }

    /// What a leader knows of everybody; nothing elsewhere.
    fn known(&self, status: &RaftStatus) -> BTreeMap<NodeId, Known> {
        let Some(nodes) = self.group.liveness() else { return BTreeMap::new() };
        let mut known: BTreeMap<NodeId, Known> = nodes
            .into_iter()
            .map(|(node, liveness)| (node, Known { liveness: Some(liveness.into()), behind_entries: None }))
            .collect();
        for member in &status.members {
            if let Some(progress) = member.progress {
                let behind = status.last_index.saturating_sub(progress.matched);
                known.entry(member.node).or_default().behind_entries = Some(behind);
            }
        }
        known
    }

    /// Whether there is a connection to each other node.
    pub(super) fn connected(&self) -> BTreeMap<NodeId, bool> {
        let peers = self.group.peers().into_iter();
        peers.map(|(node, peer)| (node, peer.state.is_connected())).collect()
    }

    /// Counts what changes, and tells when this node was removed, until it is dropped.
    pub(super) async fn watch(self) {
        let mut told = false;
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let members = self.group.status().members.iter().map(|member| (member.node, member.is_voter())).collect();
            let dropped = self.group.peers().into_iter().map(|(node, peer)| (node, peer.buffered.dropped));
            self.changes.look(self.group.view(), members, dropped);
            if let Some(why) = self.group.removed().filter(|_| !told) {
                told = true;
                tell(&why);
            }
        }
    }
}

/// That this node was removed, which is final.
fn tell(why: &str) {
    tracing::error!(code = %ErrorCode::NoSuchNode, why, "{REMOVED}");
}

/// A node's permission to write, and what is left of it where it has an end.
fn permission(lease: &Lease) -> (LeaseState, Option<Duration>) {
    if lease.is_unlimited() {
        return (LeaseState::Unlimited, None);
    }
    match lease.remaining() {
        Duration::ZERO => (LeaseState::None, None),
        remaining => (LeaseState::Held, Some(remaining)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{BootClock, BootInstant};
    use crate::lease::LeaseKeeper;
    use crate::telemetry::captured::Lines;

    #[test]
    fn a_node_that_was_removed_says_so_with_its_code_and_what_to_do() {
        let lines = Lines::default();
        let _listening = lines.listen();
        tell("node 2 was removed from the cluster");
        let told = lines.about("node 2 was removed from the cluster");
        assert!(told[0].contains("ERROR") && told[0].contains("code=CWY-0115"), "{told:?}");
        assert!(told[0].contains("causeway cluster rejoin --at HOST:PORT"), "{told:?}");
    }

    #[test]
    fn a_lease_is_told_with_what_is_left_of_it() {
        let clock = BootClock::driven_by(|| BootInstant::from_nanos(1_000));
        let mut keeper = LeaseKeeper::new(clock, Duration::ZERO);
        let lease = keeper.lease();
        assert_eq!(permission(&lease), (LeaseState::None, None));
        keeper.renew(BootInstant::from_nanos(3_000));
        let left = Some(Duration::from_nanos(2_000));
        assert_eq!(permission(&lease), (LeaseState::Held, left));
        keeper.revoke();
        assert_eq!(permission(&lease), (LeaseState::None, None));
        assert_eq!(permission(&Lease::unlimited()), (LeaseState::Unlimited, None));
    }
}
