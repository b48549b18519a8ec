//! Whether this node was removed from its cluster, as far as it can know that.
//!
//! A number is never used again, and the state only grows. So it is certain when this node's own state has given out a
//! number as high as its own and does not name it, and when another node's state has: that one does not let it in and
//! says why. A node that starts, or joins, and has not caught up yet is named by neither, and is not removed: its state
//! has not given out its number yet, and who has lets it in.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use causeway_core::ids::NodeId;
use causeway_core::state::State;

use super::Group;
use crate::status::RaftStatus;
use crate::transport::{LinkState, PeerStatus, RefusalCode};

macro_rules! comes_back {
    () => {
        "To bring it back, stop it. Draw a join token on another node: causeway cluster token. \
         Then, with the token: causeway cluster rejoin --at HOST:PORT --config FILE"
    };
}

/// How a node comes back that was removed, or whose place another one took. A token is of use in either case: without
/// certificates `rejoin` needs one, and a name that nobody has is let in as a new node. Each sentence fits a line.
pub const COMES_BACK: &str = comes_back!();

/// What a node says that is no member of its cluster any more, and how it comes back.
pub const REMOVED: &str = concat!("this node is no member of its cluster any more: it copies nothing. ", comes_back!());

/// What was found out. A removal is final for a number, so once it is found, it stays, whoever is out of reach then.
#[derive(Debug, Clone, Default)]
pub(super) struct Removal(Arc<OnceLock<String>>);

impl Removal {
    /// Why this node is no member of its cluster any more, in words; none while nothing says so.
    pub(super) fn look(
        &self,
        me: NodeId,
        view: &State,
        status: &RaftStatus,
        peers: &BTreeMap<NodeId, PeerStatus>,
    ) -> Option<String> {
        if let Some(found) = self.0.get() {
            return Some(found.clone());
        }
        let found = by_state(me, view, status).or_else(|| by_peers(peers.values()))?;
        Some(self.0.get_or_init(|| found).clone())
    }
}

impl Group {
    /// Why this node is no member of its cluster any more, in words; none while nothing says so.
    ///
    /// A single node that is behind may still let it in. It counts as removed when nobody does.
    #[must_use]
    pub fn removed(&self) -> Option<String> {
        self.shared.removal.look(self.me(), &self.view(), &self.status(), &self.peers())
    }
}

fn by_state(me: NodeId, view: &State, status: &RaftStatus) -> Option<String> {
    // A cluster that was restored begins with one node, which decides before the state names it.
    let mut voters = status.members.iter().filter(|member| member.is_voter());
    let decides =
        status.leader == Some(me) || voters.next().is_some_and(|one| one.node == me) && voters.next().is_none();
    let removed = !view.nodes.is_empty() && me <= view.highest_node && !view.nodes.contains_key(&me);
    (removed && !decides).then(|| format!("node {me} was removed from the cluster"))
}

fn by_peers<'a>(mut peers: impl Iterator<Item = &'a PeerStatus>) -> Option<String> {
    peers
        .try_fold(None, |reason: Option<String>, peer| match &peer.state {
            LinkState::Connected { .. } => Err(()),
            LinkState::Refused(refusal) if refusal.code == RefusalCode::Removed => {
                Ok(reason.or_else(|| Some(refusal.reason.clone())))
            }
            _ => Ok(reason),
        })
        .unwrap_or_default()
}
