//! The leader's part: every partition has an owner.
//!
//! [`control`] is the loop; [`Controller`] is the actor that owns its life. The decisions are made in
//! [`causeway_core::plan`]; a node that does not lead proposes nothing, because its proposals are refused.
//! Level-triggered: a plan that was carried out in part is finished by the next look.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Conditions, Limits, Liveness, plan};
use causeway_core::state::State;
use futures::StreamExt;
use tokio::time::timeout;

use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::view_changes::view_changes;

/// Changes of the agreed state within this time are planned for once.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a proposal may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a proposal that was not agreed on, before the next look.
const RETRY: Duration = Duration::from_secs(1);

/// Plans whenever the agreed state changes, until the cluster's handle is gone.
pub async fn control<P: Proposer>(me: NodeId, proposer: P) {
    let mut changes = pin!(view_changes(proposer.watch(), PAUSE));
    while changes.next().await.is_some() {
        while !carry_out(me, &proposer).await {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Proposes one plan. Answers whether all of it was carried out or refused, so that only the next change needs another
/// look.
async fn carry_out<P: Proposer>(me: NodeId, proposer: &P) -> bool {
    let view = proposer.view();
    for command in plan(&view, &conditions(me, &view), Limits::default()) {
        match timeout(PATIENCE, proposer.propose(command)).await {
            // What changed in between made the plan stale, and is a change to look at.
            Ok(Ok(Outcome::Refused(refusal))) => tracing::debug!(%refusal, "assignment refused"),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "assignment not agreed on; it is planned again");
                return false;
            }
            Err(_) => {
                tracing::warn!("assignment not answered in time; it is planned again");
                return false;
            }
        }
    }
    true
}

/// The only node of a cluster is up; whoever owned something before is gone.
fn conditions(me: NodeId, view: &State) -> Conditions {
    let owners = view.partitions.values().filter_map(|partition| partition.owner);
    let mut nodes: BTreeMap<_, _> = owners.map(|owner| (owner, Liveness::Down)).collect();
    nodes.insert(me, Liveness::Up);
    Conditions { nodes, bytes_per_second: BTreeMap::new() }
}

/// The actor that runs [`control`].
pub struct Controller<P> {
    me: NodeId,
    proposer: P,
    _lifeline: Lifeline,
}

impl<P: Proposer> Controller<P> {
    /// A controller that begins when it is started.
    #[must_use]
    pub fn new(me: NodeId, proposer: P, lifeline: Lifeline) -> Self {
        Self { me, proposer, _lifeline: lifeline }
    }
}

impl<P: Proposer> Actor for Controller<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let loop_ = control(self.me, self.proposer.clone());
        context.spawn(loop_.into_actor(self).map(|(), _, context| context.stop()));
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::command::{Command, NewPartition};

    use super::*;
    use crate::supervisor::fake_cluster::FakeCluster;
    use crate::supervisor::testing::{ME, OTHER, Replica, queue};

    #[tokio::test(start_paused = true)]
    async fn every_partition_that_appears_gets_this_node_as_owner_also_after_failures() {
        let mut replica = Replica::with_partitions(2);
        replica.assign(replica.partition(1), OTHER);
        let cluster = FakeCluster::new(replica);
        let controlling = tokio::spawn(control(ME, cluster.clone()));
        cluster.fail_next(1);
        cluster.change(|replica| {
            let new = |number| NewPartition { source: queue(number), target: queue(number) };
            let stream = replica.stream();
            replica.apply(Command::AddPartitions { stream, partitions: (0..300).map(new).collect() })
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        let view = cluster.view();
        assert_eq!(view.partitions.len(), 300);
        assert!(view.partitions.values().all(|partition| partition.owner == Some(ME)));
        let calm = cluster.proposals().len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(cluster.proposals().len(), calm, "nothing is proposed when nothing changes");
        assert!(!controlling.is_finished());
    }
}
