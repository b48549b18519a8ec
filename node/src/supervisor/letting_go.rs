//! What became of the proposals to let go of partitions.
//!
//! ```text
//!            +-- refused --> as if it was never proposed
//! proposed --+-- agreed ---> another node's, as soon as the view shows it
//!            '-- no answer -> in doubt: proposed again, or the ownership is renewed
//! ```
//!
//! Pure. A proposal without an answer may still be agreed on, whenever it arrives. So a partition is not started again
//! under the epoch that it was let go of under, even when nobody wants it elsewhere any more: a later wish, and that
//! old proposal, would give it away while it runs. Under the next epoch the old proposal is refused.

use std::collections::BTreeMap;

use causeway_core::ids::{Epoch, NodeId};
use causeway_core::partition::PartitionId;
use causeway_core::state::State;

/// How far letting go of one partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing was proposed that could still be agreed on.
    Held,
    /// A proposal is under way, or the pause after one.
    Waits,
    /// An earlier proposal may still be agreed on; none is under way.
    InDoubt,
}

/// The partitions that are being let go of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LettingGo {
    partitions: BTreeMap<PartitionId, Proposed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proposed {
    /// The ownership that it is about.
    epoch: Epoch,
    waits: bool,
    in_doubt: bool,
}

impl LettingGo {
    /// How far it is for this ownership.
    #[must_use]
    pub fn stage(&self, id: &PartitionId, epoch: Epoch) -> Stage {
        match self.partitions.get(id).filter(|proposed| proposed.epoch == epoch) {
            Some(Proposed { waits: true, .. }) => Stage::Waits,
            Some(Proposed { in_doubt: true, .. }) => Stage::InDoubt,
            _ => Stage::Held,
        }
    }

    /// Something is proposed about this ownership.
    pub fn proposed(&mut self, id: &PartitionId, epoch: Epoch) {
        let in_doubt = self.stage(id, epoch) == Stage::InDoubt;
        self.partitions.insert(id.clone(), Proposed { epoch, waits: true, in_doubt });
    }

    /// It is agreed on, or may be. Nothing more is proposed before [`Self::go_on`].
    pub fn may_be_agreed(&mut self, id: &PartitionId, epoch: Epoch) {
        if let Some(proposed) = self.about(id, epoch) {
            proposed.in_doubt = true;
        }
    }

    /// It was answered, and the pause after it is over.
    pub fn go_on(&mut self, id: &PartitionId, epoch: Epoch) {
        if let Some(proposed) = self.about(id, epoch) {
            proposed.waits = false;
        }
    }

    /// Forgets ownerships that are over: whatever was proposed about them is refused.
    pub fn keep_current(&mut self, me: NodeId, view: &State) {
        self.partitions.retain(|id, proposed| {
            let partition = view.partitions.get(id);
            let is_current = partition.is_some_and(|known| known.owner == Some(me) && known.epoch == proposed.epoch);
            is_current && (proposed.waits || proposed.in_doubt)
        });
    }

    fn about(&mut self, id: &PartitionId, epoch: Epoch) -> Option<&mut Proposed> {
        self.partitions.get_mut(id).filter(|proposed| proposed.epoch == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::testing::{ME, Replica};

    #[test]
    fn a_refusal_leaves_no_doubt_and_does_not_end_an_earlier_one() {
        let replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        let mut letting_go = LettingGo::default();
        letting_go.proposed(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::Waits);
        assert_eq!(letting_go.stage(&id, Epoch(2)), Stage::Held, "another ownership");
        letting_go.go_on(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::Held);

        letting_go.proposed(&id, Epoch(1));
        letting_go.may_be_agreed(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::Waits);
        letting_go.go_on(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::InDoubt);
        letting_go.proposed(&id, Epoch(1));
        letting_go.go_on(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::InDoubt, "the first one may still arrive");
    }

    #[test]
    fn an_ownership_that_is_over_is_forgotten_and_late_answers_are_about_it_alone() {
        let mut replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        let mut letting_go = LettingGo::default();
        letting_go.proposed(&id, Epoch(1));
        letting_go.may_be_agreed(&id, Epoch(1));
        letting_go.keep_current(ME, &replica.state);
        assert_eq!(letting_go.stage(&id, Epoch(1)), Stage::Waits);
        replica.node_started(ME);
        letting_go.keep_current(ME, &replica.state);
        assert_eq!(letting_go, LettingGo::default());
        letting_go.proposed(&id, Epoch(2));
        letting_go.may_be_agreed(&id, Epoch(1));
        letting_go.go_on(&id, Epoch(1));
        assert_eq!(letting_go.stage(&id, Epoch(2)), Stage::Waits);
    }
}
