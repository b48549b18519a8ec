//! How a cluster learns that a node's process has started, and where it is now.
//!
//! Other nodes look for a node where the state says that it is. When it has moved since, nobody reaches it, so it hears
//! of no leader and could not tell anybody. But it reaches them: whoever it is connected to passes its start on to the
//! leader, once, and looks for it at its new address from then on, so that there is a leader even if its vote is needed
//! for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::node::NodeSpec;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use tokio::sync::watch;

use super::ask::unexpected;
use super::rpc::{Answer, Request};
use super::{CATCH_UP, FORWARDING, Group};
use crate::error::Error;
use crate::transport::PeerAddress;

/// Where nodes said that they are, until the state says it.
#[derive(Debug, Clone)]
pub(super) struct Moved(Arc<watch::Sender<BTreeMap<NodeId, Place>>>);

/// Where one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    address: String,
    /// How often the node had started, as far as was agreed on then: every later start says where it is itself.
    starts: u64,
}

impl Default for Moved {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl Moved {
    /// A node of the state says where it is.
    pub(super) fn note(&self, node: NodeId, address: Option<&String>, view: &State) {
        let (Some(address), Some(known)) = (address, view.nodes.get(&node)) else { return };
        let place = Place { address: address.clone(), starts: known.starts };
        let current = known.address.as_ref() == Some(address);
        self.0.send_if_modified(|places| {
            places.retain(|node, place| view.nodes.get(node).is_some_and(|is| is.starts == place.starts));
            if current {
                // It is back where the state has it, perhaps before anybody could agree on another place.
                return places.remove(&node).is_some();
            }
            if places.get(&node) == Some(&place) {
                return false;
            }
            tracing::info!(%node, address = place.address, "a node says that it has moved");
            places.insert(node, place);
            true
        });
    }

    /// Told when somebody says it.
    pub(super) fn watch(&self) -> watch::Receiver<BTreeMap<NodeId, Place>> {
        self.0.subscribe()
    }

    /// Corrects the addresses of nodes that the state names.
    pub(super) fn correct(&self, view: &State, peers: &mut BTreeMap<NodeId, PeerAddress>) {
        for (node, place) in &*self.0.borrow() {
            let stands = view.nodes.get(node).is_some_and(|is| is.starts == place.starts);
            if let Some(peer) = peers.get_mut(node).filter(|_| stands) {
                peer.address.clone_from(&place.address);
            }
        }
    }
}

impl Group {
    /// Has the cluster agree that this process of this node has started, and what the node says of itself. Without a
    /// leader that this node reaches, every node that it is connected to is asked to pass it on.
    ///
    /// # Errors
    /// Those of [`Group::propose`]; [`Error::NotLeader`] when no connected node knows a leader either.
    pub async fn introduce(&self, spec: NodeSpec) -> Result<Outcome, Error> {
        let (node, process) = (self.shared.me, self.shared.process);
        let alone = match self.propose(Command::StartNode { node, spec: spec.clone(), process }).await {
            Err(error @ Error::NotLeader { .. }) => error,
            answered => return answered,
        };
        let request = Request::Introduce { spec, process };
        let limit = self.shared.handle.proposal_timeout().saturating_add(FORWARDING.saturating_mul(2));
        let connected =
            |(node, peer): (NodeId, crate::transport::PeerStatus)| peer.state.is_connected().then_some(node);
        for peer in self.peers().into_iter().filter_map(connected) {
            match self.ask(peer, &request, limit).await {
                Ok(Answer::Outcome { outcome, applied }) => {
                    self.wait_for(applied, CATCH_UP).await;
                    return Ok(outcome);
                }
                Ok(other) => return Err(unexpected(other)),
                Err(error) => tracing::debug!(%peer, %error, "it did not pass on the start of this node"),
            }
        }
        Err(alone)
    }
}
