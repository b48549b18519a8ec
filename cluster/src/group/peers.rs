//! Who a member talks to.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use causeway_core::ids::NodeId;
use causeway_core::state::State;
use tokio::sync::watch;

use crate::transport::{PeerAddress, Transport};

/// Keeps the transport's peers those that the state names.
pub(super) async fn follow(
    transport: Weak<Transport>,
    mut views: watch::Receiver<Arc<State>>,
    known: BTreeMap<NodeId, PeerAddress>,
) {
    let mut before = None;
    loop {
        let view = Arc::clone(&views.borrow_and_update());
        let named = view.nodes.iter().filter_map(|(node, is)| {
            Some((*node, PeerAddress { name: is.name.clone(), address: is.address.clone()? }))
        });
        let peers: BTreeMap<_, _> = if view.nodes.is_empty() { known.clone() } else { named.collect() };
        if before.as_ref() != Some(&peers) {
            let Some(transport) = transport.upgrade() else { return };
            transport.set_peers(peers.clone());
            before = Some(peers);
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}
