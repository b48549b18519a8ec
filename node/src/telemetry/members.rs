//! Reads a node's part in its cluster off for metrics: what it owns, its lease, what it knows of the others, the relay.

use std::collections::BTreeMap;

use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::state::State;

use crate::status::node::{Known, LeaseState, NodeFigures, NodeLiveness};
use crate::telemetry::changes::Counted;
use crate::telemetry::exposition::Page;
use crate::telemetry::names::{self, Metric};

/// A node's part in its cluster.
#[derive(Debug, Clone, Copy)]
pub struct Membership<'a> {
    /// Which node it is.
    pub me: NodeId,
    /// What it measures of itself.
    pub figures: &'a NodeFigures,
    /// While it leads, what it knows of every node.
    pub known: &'a BTreeMap<NodeId, Known>,
    /// Whether it has a connection to each other node.
    pub connected: &'a BTreeMap<NodeId, bool>,
    /// What changed since its process started.
    pub counted: Counted,
}

/// Adds everything but what the replica itself tells.
pub(super) fn membership(page: &mut Page, node: &str, member: &Membership<'_>, view: &State, now: Timestamp) {
    let labels = [("node", node)];
    let Membership { me, figures, counted, .. } = member;
    let of_node = || view.partitions.values().filter(|partition| partition.owner == Some(*me));
    let leaving = of_node().filter(|partition| partition.moving_to.is_some()).count();
    page.count(&names::RAFT_LEADER, &labels, u64::from(figures.leads));
    page.count(&names::MEMBER_CHANGES, &labels, counted.member_changes);
    page.count(&names::OWNED_PARTITIONS, &labels, number(of_node().count()));
    page.count(&names::LEAVING_PARTITIONS, &labels, number(leaving));
    page.count(&names::TAKEOVERS, &labels, counted.takeovers);
    page.count(&names::MOVES_IN, &labels, counted.moves_in);
    page.count(&names::LEASE_HELD, &labels, u64::from(figures.lease != LeaseState::None));
    page.add(&names::LEASE_REMAINING, &labels, figures.lease_seconds);
    page.count(&names::LEASE_LOSSES, &labels, figures.lease_losses);
    for (certificate, end) in [("node", figures.certificate_expires_at), ("authorities", figures.authorities_expire_at)]
    {
        let labels = [("node", node), ("certificate", certificate)];
        page.add(&names::CERTIFICATE_REMAINING, &labels, end.map(|end| seconds_until(end, now)));
    }
    others(page, node, member, view);
    relay(page, &labels, figures);
}

fn others(page: &mut Page, node: &str, member: &Membership<'_>, view: &State) {
    for (id, connected) in member.connected {
        let Some(peer) = view.nodes.get(id) else { continue };
        let labels = [("node", node), ("peer", peer.name.as_str())];
        page.count(&names::PEER_CONNECTED, &labels, u64::from(*connected));
    }
    for (id, known) in member.known {
        let Some(peer) = view.nodes.get(id) else { continue };
        let role = peer.role.to_string();
        for liveness in NodeLiveness::ALL.into_iter().filter(|_| known.liveness.is_some()) {
            let labels = [
                ("node", node),
                ("peer", peer.name.as_str()),
                ("region", peer.region.as_str()),
                ("role", role.as_str()),
                ("liveness", liveness.word()),
            ];
            page.count(&names::NODE_LIVENESS, &labels, u64::from(known.liveness == Some(liveness)));
        }
        if let Some(behind) = known.behind_entries {
            page.count(&names::NODE_BEHIND, &[("node", node), ("peer", peer.name.as_str())], behind);
        }
    }
}

fn relay(page: &mut Page, labels: &[(&str, &str)], figures: &NodeFigures) {
    let relay = &figures.relay;
    let pairs: [(Metric, u64); 10] = [
        (names::RELAY_SERVED_STREAMS, relay.served_streams),
        (names::RELAY_RECEIVED_STREAMS, relay.received_streams),
        (names::RELAY_RAW_BYTES, relay.raw_bytes),
        (names::RELAY_SENT_BYTES, relay.sent_bytes),
        (names::RELAY_RECEIVED_BYTES, relay.received_bytes),
        (names::RELAY_LEFT_OUT, relay.left_out_messages),
        (names::RELAY_CREDIT_WAITS, relay.credit_waits),
        (names::RELAY_FAILURES, relay.failures),
        (names::RELAY_RESUMES, relay.resumes),
        (names::RELAY_FALLBACKS, relay.fallbacks),
    ];
    for (metric, value) in &pairs {
        page.count(metric, labels, *value);
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Negative behind the end.
fn seconds_until(end: Timestamp, now: Timestamp) -> f64 {
    let milliseconds = end.0.saturating_sub(now.0);
    let seconds = std::time::Duration::from_millis(milliseconds.unsigned_abs()).as_secs_f64();
    if milliseconds < 0 { -seconds } else { seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_has_ended_has_less_than_nothing_left() {
        assert_eq!(seconds_until(Timestamp(5_500), Timestamp(1_000)).to_bits(), 4.5_f64.to_bits());
        assert_eq!(seconds_until(Timestamp(1_000), Timestamp(5_500)).to_bits(), (-4.5_f64).to_bits());
    }
}
