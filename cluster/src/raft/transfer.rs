//! Handing over leadership on purpose: to a voter that has the whole log, so that the group is without a leader for
//! one message only.

use ::raft::StateRole;
use causeway_core::ids::NodeId;
use tokio::sync::oneshot;

use super::disk::Disk;
use super::membership::ChangeRefusal;
use super::replica::Replica;
use crate::error::Error;

/// A hand-over that is asked for.
pub(crate) struct Transfer {
    /// Who is to lead.
    pub(crate) to: NodeId,
    /// Where it is told that it does.
    pub(crate) reply: oneshot::Sender<Result<(), Error>>,
}

impl<D: Disk> Replica<D> {
    /// Begins to hand over leadership; Raft gives up by itself after one election timeout.
    pub(crate) fn transfer_leader(&mut self, transfer: Transfer) {
        match self.may_transfer(transfer.to) {
            Ok(()) if transfer.to == self.id() => drop(transfer.reply.send(Ok(()))),
            Ok(()) => {
                self.node.transfer_leader(transfer.to.0);
                self.transfer = Some(transfer);
            }
            // A caller that no longer waits needs no answer.
            Err(refusal) => drop(transfer.reply.send(Err(refusal))),
        }
    }

    fn may_transfer(&self, to: NodeId) -> Result<(), Error> {
        if self.node.raft.state != StateRole::Leader {
            return Err(Error::NotLeader { leader: self.leader() });
        }
        if self.transfer.is_some() {
            return Err(ChangeRefusal::TransferInProgress.into());
        }
        // With a change in the log the new leader might be one that the change removes.
        if self.change_in_progress() {
            return Err(ChangeRefusal::InProgress.into());
        }
        if !self.membership.voters.contains(&to) {
            return Err(ChangeRefusal::NotVoter { node: to }.into());
        }
        if to == self.id() { Ok(()) } else { Ok(self.verify_caught_up(to)?) }
    }

    /// Tells the waiting caller what became of the hand-over, once that is known.
    pub(super) fn settle_transfer(&mut self) {
        let Some(Transfer { to, .. }) = self.transfer else { return };
        let (leader, raft) = (self.leader(), &self.node.raft);
        let result = match leader {
            Some(leader) if leader == to => Ok(()),
            Some(_) if raft.state == StateRole::Leader => {
                if raft.lead_transferee == Some(to.0) {
                    return;
                }
                Err(Error::NotTransferred { to })
            }
            Some(_) => Err(Error::NotLeader { leader }),
            None => return,
        };
        if let Some(transfer) = self.transfer.take() {
            let _ = transfer.reply.send(result);
        }
    }
}
