//! Whether this node was removed from its cluster, as far as it can know that.
//!
//! A number is never used again, and the state only grows. So it is certain when this node's own state has given out a
//! number as high as its own and does not name it, and when another node's state has: that one does not let it in and
//! says why. A node that starts, or joins, and has not caught up yet is named by neither, and is not removed: its state
//! has not given out its number yet, and who has lets it in.

use causeway_core::ids::NodeId;
use causeway_core::state::State;

use super::Group;
use crate::transport::{LinkState, PeerStatus, RefusalCode};

impl Group {
    /// Why this node is no member of its cluster any more, in words; none while nothing says so.
    ///
    /// A single node that is behind may still let it in. It counts as removed when nobody does.
    #[must_use]
    pub fn removed(&self) -> Option<String> {
        // A cluster that was restored begins with one node, which leads before the state names it.
        let leads = self.status().leader == Some(self.me());
        let own = if leads { None } else { by_state(self.me(), &self.view()) };
        own.or_else(|| by_peers(self.peers().values()))
    }
}

fn by_state(me: NodeId, view: &State) -> Option<String> {
    let removed = !view.nodes.is_empty() && me <= view.highest_node && !view.nodes.contains_key(&me);
    removed.then(|| format!("node {me} was removed from the cluster"))
}

fn by_peers<'a>(mut peers: impl Iterator<Item = &'a PeerStatus>) -> Option<String> {
    peers
        .try_fold(None, |reason: Option<String>, peer| match &peer.state {
            LinkState::Connected { .. } => Err(()),
            LinkState::Refused(refusal) if refusal.code == RefusalCode::NotAdmitted => {
                Ok(reason.or_else(|| Some(refusal.reason.clone())))
            }
            _ => Ok(reason),
        })
        .unwrap_or_default()
}
