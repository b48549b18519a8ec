//! Gives a partition to the node that it is wanted on, as soon as its run has ended here.
//!
//! The proposal says what the next owner may rely on: how far the partition came, and whether anything is still on its
//! way. It is made again until it is agreed on, refused, or no longer wanted; what may be started meanwhile is decided
//! in [`letting_go`](crate::supervisor::letting_go).

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use causeway_core::command::Command;
use causeway_core::node::Predecessor;
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;
use tokio::time::{error::Elapsed, timeout};

use super::{PATIENCE, PartitionSupervisor, Subject};
use crate::replicate::{InFlight, OnItsWay};
use crate::supervisor::proposer::Proposer;

/// The pause after a proposal that was not answered, or has to be made otherwise.
const RETRY: Duration = Duration::from_secs(1);

impl<P: Proposer> PartitionSupervisor<P> {
    /// What may be on its way to the target of a partition. What this process knows holds for its next ownership too,
    /// if there is none between them.
    pub(super) fn in_flight(&mut self, id: &PartitionId, partition: &Partition) -> Arc<InFlight> {
        let me = self.equipment.me;
        let memory = self.memory.entry(id.clone()).or_default();
        let known = memory.in_flight.take().filter(|(epoch, _)| {
            let follows = epoch.next() == partition.epoch && partition.predecessor == Predecessor::Ended(me);
            *epoch == partition.epoch || follows
        });
        let in_flight = known.map_or_else(|| Arc::new(InFlight::after(partition.predecessor)), |(_, sends)| sends);
        memory.in_flight = Some((partition.epoch, Arc::clone(&in_flight)));
        in_flight
    }

    /// Lets go of a partition that does not run here.
    pub(super) fn release(&mut self, view: &State, id: &PartitionId, context: &mut Context<Self>) {
        let Some(partition) = view.partitions.get(id) else { return };
        let settled = self.in_flight(id, partition).now() == OnItsWay::Nothing;
        let epoch = partition.epoch;
        // One that waits for a decision takes no progress: the decision is measured against what is agreed.
        let progress = &self.equipment.progress;
        let checkpoint = if partition.fault.is_none() { progress.not_agreed_on(id, epoch) } else { None };
        let node = self.equipment.me;
        self.let_go(view, id, Command::Release { partition: id.clone(), node, epoch, checkpoint, settled }, context);
    }

    /// Begins the next ownership of a partition that stays, so that an earlier proposal to let go of it is refused.
    pub(super) fn renew(&mut self, view: &State, id: &PartitionId, context: &mut Context<Self>) {
        let Some(partition) = view.partitions.get(id) else { return };
        let (node, epoch) = (self.equipment.me, partition.epoch.next());
        self.let_go(view, id, Command::Assign { partition: id.clone(), node, epoch }, context);
    }

    /// Bounded: one proposal for each partition at a time.
    fn let_go(&mut self, view: &State, id: &PartitionId, command: Command, context: &mut Context<Self>) {
        let Some(subject) = Subject::about(view, id) else { return };
        self.running.letting_go.proposed(id, subject.epoch);
        let proposer = self.equipment.proposer.clone();
        let proposal = async move { timeout(PATIENCE, proposer.propose(command)).await };
        let proposal = proposal.into_actor(self);
        context.spawn(proposal.map(move |answer, supervisor, context| supervisor.let_go_of(subject, answer, context)));
    }

    /// What was proposed about an ownership is answered, or will not be.
    fn let_go_of(
        &mut self,
        subject: Subject,
        answer: Result<Result<Outcome, P::Error>, Elapsed>,
        context: &mut Context<Self>,
    ) {
        let Subject { stream, partition, epoch } = subject;
        let letting_go = &mut self.running.letting_go;
        let pause = match answer {
            Ok(Ok(Outcome::Refused(refusal))) => {
                tracing::info!(%stream, %partition, %epoch, %refusal, "partition is not let go of");
                // What a newer view shows decides, and it shows why that was refused.
                let is_shown = matches!(refusal, Refusal::NotMoving(_) | Refusal::StaleEpoch { .. });
                if matches!(refusal, Refusal::ProgressGoesBack(_)) {
                    // More is agreed on already.
                    self.equipment.progress.forget(&partition, epoch);
                }
                Some(RETRY).filter(|_| !is_shown)
            }
            Ok(Ok(_)) => {
                tracing::info!(%stream, %partition, %epoch, "this ownership of the partition is over");
                letting_go.may_be_agreed(&partition, epoch);
                self.equipment.progress.forget(&partition, epoch);
                None
            }
            Ok(Err(error)) => {
                tracing::warn!(%stream, %partition, %epoch, %error, "proposal not agreed on; it is made again");
                letting_go.may_be_agreed(&partition, epoch);
                Some(RETRY)
            }
            Err(_) => {
                tracing::warn!(%stream, %partition, %epoch, "proposal not answered in time; it is made again");
                letting_go.may_be_agreed(&partition, epoch);
                Some(RETRY)
            }
        };
        let go_on = move |supervisor: &mut Self, context: &mut Context<Self>| {
            supervisor.running.letting_go.go_on(&partition, epoch);
            supervisor.reconcile(context);
        };
        match pause {
            Some(pause) => {
                context.run_later(pause, go_on);
            }
            None => go_on(self, context),
        }
    }
}
