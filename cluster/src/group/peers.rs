//! Who a member talks to: everybody that the state names, and whoever is still a member of the Raft group: to take a
//! member out needs a majority of the members before, itself among them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use causeway_core::ids::NodeId;
use causeway_core::state::State;
use tokio::sync::watch;

use super::introduction::Moved;
use crate::status::RaftStatus;
use crate::transport::{PeerAddress, Transport};

/// What says who they are and where.
pub(super) struct Knowledge {
    pub(super) views: watch::Receiver<Arc<State>>,
    pub(super) statuses: watch::Receiver<RaftStatus>,
    pub(super) moved: Moved,
}

/// Keeps the transport's peers current. `known` is who there is as long as the state names nobody.
pub(super) async fn follow(transport: Weak<Transport>, knowledge: Knowledge, known: BTreeMap<NodeId, PeerAddress>) {
    let Knowledge { mut views, mut statuses, moved } = knowledge;
    let mut moves = moved.watch();
    let mut before: Option<BTreeMap<NodeId, PeerAddress>> = None;
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let members: Vec<NodeId> = statuses.borrow_and_update().members.iter().map(|member| member.node).collect();
        let named = view.nodes.iter().filter_map(|(node, is)| {
            Some((*node, PeerAddress { name: is.name.clone(), address: is.address.clone()? }))
        });
        let mut peers: BTreeMap<_, _> = if view.nodes.is_empty() { known.clone() } else { named.collect() };
        for (node, at) in before.iter().flatten().filter(|(node, _)| members.contains(node)) {
            peers.entry(*node).or_insert_with(|| at.clone());
        }
        moves.mark_unchanged();
        moved.correct(&view, &mut peers);
        if before.as_ref() != Some(&peers) {
            let Some(transport) = transport.upgrade() else { return };
            transport.set_peers(peers.clone());
            before = Some(peers);
        }
        let gone = tokio::select! {
            changed = views.changed() => changed.is_err(),
            changed = statuses.changed() => changed.is_err(),
            changed = moves.changed() => changed.is_err(),
        };
        if gone {
            return;
        }
    }
}
