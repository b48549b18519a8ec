//! The leader's part: every partition has an owner, and every node is the member that it was asked to be.
//!
//! [`control`] is the loop; [`Controller`] is the actor that owns its life. The decisions are made in
//! [`causeway_core::plan`]; a node that does not lead decides nothing. Level-triggered: a plan that was carried out in
//! part is finished by the next look. Time alone changes what may be assumed of a node, so there is a look at least
//! every [`INTERVAL`].
//!
//! Partitions are moved only to even out loads when nothing has changed for a while ([`Calm`]).
//!
//! A partition is taken from a node only while that node gets no lease: what is known of it is looked at again behind
//! [`Authority::begin_taking`], everything is proposed into the log of the term in which it was known, and the node
//! gets a lease again only when each of these proposals is applied or never will be.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use causeway_cluster::liveness::Signs;
use causeway_core::command::{CURRENT_VERSION, Command};
use causeway_core::ids::NodeId;
use causeway_core::node::MemberRole;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Limits, Liveness, Members, next_member_change, plan};
use causeway_core::state::State;
use futures::StreamExt;
use futures::future::join_all;
use tokio::time::{Instant, timeout};

use crate::supervisor::authority::Authority;
use crate::supervisor::calm::Calm;
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::reluctance::{Reluctance, Step};
use crate::supervisor::view_changes::view_changes;

/// Changes of the agreed state within this time are planned for once.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks when the agreed state does not change. A partition of a node that is gone waits for so long more.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a proposal may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause after a proposal that was not agreed on, before the next look.
const RETRY: Duration = Duration::from_secs(1);

/// Plans whenever the agreed state changes and while time passes, until the cluster's handle is gone.
pub async fn control<A: Authority>(authority: A) {
    let mut changes = pin!(view_changes(authority.watch(), PAUSE));
    let mut memory = Memory::default();
    loop {
        if !look(&authority, &mut memory).await {
            tokio::time::sleep(RETRY).await;
        }
        match timeout(INTERVAL, changes.next()).await {
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return,
        }
    }
}

/// What one look leaves to the next.
#[derive(Default)]
struct Memory {
    /// The term in which it is not certain yet what became of an assignment.
    unsettled: Option<u64>,
    calm: Calm,
    reluctance: Reluctance,
    /// What the last plan was made from, if there was nothing to do.
    at_rest: Option<Grounds>,
}

/// What tells whether a plan would be made from the same as before: then it would be the same. Looked at far more often
/// than a plan is made, so it holds no loads, only whether they are those of before.
#[derive(PartialEq)]
struct Grounds {
    term: u64,
    view: ByIdentity,
    signs: Signs,
    limits: Limits,
}

/// A view, equal only to itself: the next one is another.
struct ByIdentity(Arc<State>);

impl PartialEq for ByIdentity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// One look. Answers whether everything that it found to do was agreed on or refused.
async fn look<A: Authority>(authority: &A, memory: &mut Memory) -> bool {
    let Some((term, signs)) = authority.signs() else {
        memory.reluctance.forget();
        return true;
    };
    if memory.unsettled == Some(term) {
        if !barrier(authority, term).await {
            return false;
        }
        authority.end_taking(term);
    }
    memory.unsettled = None;
    let view = authority.view();
    let balances = memory.calm.look(term, &view, &signs.nodes, Instant::now());
    let limits = Limits { balances, ..Limits::default() };
    let mut grounds = Grounds { term, view: ByIdentity(view), signs, limits };
    let rests = memory.at_rest.as_ref() == Some(&grounds);
    let done = if rests { Placing::Rests } else { place(authority, &mut grounds).await };
    memory.at_rest = (done == Placing::Rests).then_some(grounds);
    if done == Placing::Unsettled {
        memory.unsettled = Some(term);
    }
    reconcile_members(authority, &mut memory.reluctance).await;
    raise_version(authority, term).await;
    matches!(done, Placing::Rests | Placing::Done)
}

/// What became of one plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placing {
    /// There was nothing to do.
    Rests,
    /// Everything was agreed on or refused, or the plan was stale.
    Done,
    /// The next look plans again.
    Failed,
    /// The same, and a partition may be taken from a node at any time until a later entry is agreed on.
    Unsettled,
}

/// Makes one plan and proposes it.
async fn place<A: Authority>(authority: &A, grounds: &mut Grounds) -> Placing {
    let &mut Grounds { term, view: ByIdentity(ref view), ref mut signs, limits } = grounds;
    // Another term is another look.
    let Some((_, conditions)) = authority.conditions().filter(|(now, _)| *now == term) else { return Placing::Done };
    // What the plan is made from; the loads are these or newer ones.
    signs.nodes.clone_from(&conditions.nodes);
    let commands = plan(view, &conditions, limits);
    if commands.is_empty() {
        return Placing::Rests;
    }
    let losers = losers(view, &commands);
    if losers.is_empty() {
        return if carry_out(authority, term, commands).await { Placing::Done } else { Placing::Failed };
    }
    authority.begin_taking(term, losers.iter().copied().collect());
    let still_down = authority.signs().is_some_and(|(now, signs)| {
        now == term && losers.iter().all(|node| signs.nodes.get(node) == Some(&Liveness::Down))
    });
    if still_down && !carry_out(authority, term, commands).await {
        return Placing::Unsettled;
    }
    // A lease that was asked for meanwhile makes the plan stale.
    authority.end_taking(term);
    Placing::Done
}

/// Who loses a partition without having let go of it.
fn losers(view: &State, commands: &[Command]) -> BTreeSet<NodeId> {
    let loser = |command: &Command| match command {
        Command::Assign { partition, node, .. } => view.partitions.get(partition)?.owner.filter(|owner| owner != node),
        _ => None,
    };
    commands.iter().filter_map(loser).collect()
}

/// Proposes all of them at once, so that they share disk barriers and ways between regions. Answers whether all of them
/// were agreed on or refused.
async fn carry_out<A: Authority>(authority: &A, term: u64, commands: Vec<Command>) -> bool {
    let proposals = commands.into_iter().map(|command| timeout(PATIENCE, authority.propose_in(term, command)));
    let answers = join_all(proposals).await;
    let failed = answers.iter().filter(|answer| !matches!(answer, Ok(Ok(_)))).count();
    for answer in &answers {
        // What changed in between made the plan stale, and is a change to look at.
        if let Ok(Ok(Outcome::Refused(refusal))) = answer {
            tracing::debug!(%refusal, "assignment refused");
        }
    }
    if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().ok()?.as_ref().err()) {
        tracing::warn!(%error, failed, "assignments not agreed on; they are planned again");
    } else if failed > 0 {
        tracing::warn!(failed, "assignments not answered in time; they are planned again");
    }
    failed == 0
}

/// An entry behind everything that was proposed in the term. To agree on a version that is agreed on changes nothing.
async fn barrier<A: Authority>(authority: &A, term: u64) -> bool {
    let command = Command::RaiseVersion { to: authority.view().agreed_version };
    matches!(timeout(PATIENCE, authority.propose_in(term, command)).await, Ok(Ok(_)))
}

/// One step towards the members that the state asks for.
async fn reconcile_members<A: Authority>(authority: &A, reluctance: &mut Reluctance) {
    let Some(members) = authority.members() else { return };
    let view = authority.view();
    if let Some(change) = next_member_change(&view, &members) {
        match timeout(PATIENCE, authority.change_member(change)).await {
            Ok(Ok(())) => {
                reluctance.done(Step::Change(change));
                tracing::info!(?change, "member changed");
            }
            Ok(Err(error)) => reluctance.refused(Step::Change(change), &error),
            Err(_) => tracing::warn!(?change, "a change of members was not answered in time"),
        }
    } else if is_to_hand_over(&view, &members) {
        match timeout(PATIENCE, authority.hand_over()).await {
            Ok(Ok(())) => {
                reluctance.done(Step::HandOver);
                tracing::info!("leadership handed over: this node is to be no voter");
            }
            Ok(Err(error)) => reluctance.refused(Step::HandOver, &error),
            Err(_) => tracing::warn!("leadership was not handed over in time"),
        }
    } else {
        reluctance.rests(|step| match step {
            Step::Change(change) => members.changing || change.is_wanted(&view, &members),
            Step::HandOver => false,
        });
    }
}

/// Whether another node has to lead before this one is the member that it was asked to be.
fn is_to_hand_over(view: &State, members: &Members) -> bool {
    !view.nodes.is_empty()
        && members.voters.len() > 1
        && view.nodes.get(&members.leader).map(|node| node.role) != Some(MemberRole::Voter)
}

/// Lets newer commands be proposed once every node knows them.
async fn raise_version<A: Authority>(authority: &A, term: u64) {
    let view = authority.view();
    let known = view.nodes.values().map(|node| node.supports).min().unwrap_or_default().min(CURRENT_VERSION);
    if known <= view.agreed_version {
        return;
    }
    match timeout(PATIENCE, authority.propose_in(term, Command::RaiseVersion { to: known })).await {
        Ok(Ok(Outcome::Refused(refusal))) => tracing::debug!(%refusal, "version not raised"),
        Ok(Ok(_)) => tracing::info!(version = known, "every node knows this version of the command set"),
        Ok(Err(error)) => tracing::debug!(%error, "version not raised yet"),
        Err(_) => tracing::warn!("a raised version was not answered in time"),
    }
}

/// The actor that runs [`control`].
pub struct Controller<A> {
    authority: A,
    _lifeline: Lifeline,
}

impl<A: Authority> Controller<A> {
    /// A controller that begins when it is started.
    #[must_use]
    pub fn new(authority: A, lifeline: Lifeline) -> Self {
        Self { authority, _lifeline: lifeline }
    }
}

impl<A: Authority> Actor for Controller<A> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let loop_ = control(self.authority.clone());
        context.spawn(loop_.into_actor(self).map(|(), _, context| context.stop()));
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::command::NewPartition;

    use super::*;
    use crate::supervisor::calm::CALM;
    use crate::supervisor::fake_cluster::{FakeCluster, Taking};
    use crate::supervisor::proposer::Proposer;
    use crate::supervisor::testing::{ME, OTHER, Replica, queue};
    use crate::telemetry::captured::Lines;

    #[tokio::test(start_paused = true)]
    async fn a_change_of_members_that_stays_refused_is_told_once_with_its_reason() {
        let lines = Lines::default();
        let _listening = lines.listen();
        let mut replica = Replica::with_partitions(0);
        replica.node_started(OTHER);
        let cluster = FakeCluster::new(replica);
        cluster.refuse_members(Some("only 1 of the 2 voters were heard from lately"));
        let controlling = tokio::spawn(control(cluster.clone()));
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert!(lines.about("WARN").is_empty());
        tokio::time::sleep(Duration::from_secs(100)).await;
        let told = lines.about("WARN");
        assert!(told.len() == 1 && told[0].contains("only 1 of the 2 voters"), "{told:?}");
        cluster.refuse_members(None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lines.about("that was refused is made").len(), 1);
        cluster.refuse_members(Some("too few were heard from lately"));
        tokio::time::sleep(Duration::from_secs(40)).await;
        cluster.lead(false);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((lines.about("WARN").len(), lines.about("that was refused is made").len()), (2, 1));
        assert!(!controlling.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn every_partition_that_appears_gets_this_node_as_owner_also_after_failures() {
        let mut replica = Replica::with_partitions(2);
        replica.assign(replica.partition(1), OTHER);
        let cluster = FakeCluster::new(replica);
        let controlling = tokio::spawn(control(cluster.clone()));
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
        tokio::time::sleep(CALM).await;
        let copies = cluster.copies();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(cluster.proposals().len(), calm, "nothing is proposed when nothing changes");
        assert_eq!(cluster.copies(), copies, "nor looked at closely");
        assert!(!controlling.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_partitions_gets_no_lease_until_the_loss_is_certain() {
        let mut replica = Replica::with_partitions(1);
        replica.assign(replica.partition(0), OTHER);
        let cluster = FakeCluster::new(replica);
        cluster.fail_next(1);
        let mut memory = Memory::default();
        assert!(!look(&cluster, &mut memory).await, "the outcome is unknown");
        assert_eq!(cluster.taking(), [Taking::Begun(vec![OTHER])], "it is not certain yet");
        cluster.fail_next(1);
        assert!(!look(&cluster, &mut memory).await);
        assert_eq!(cluster.taking().len(), 1);
        assert!(look(&cluster, &mut memory).await);
        assert_eq!((memory.unsettled, &cluster.taking()[1..]), (None, &[Taking::Ended][..]));
        let kinds: Vec<_> = cluster.proposals().into_iter().map(|(_, command)| command).collect();
        assert!(
            matches!(
                &kinds[..],
                [Command::Assign { node: ME, .. }, Command::RaiseVersion { .. }, Command::RaiseVersion { .. }]
            ),
            "a later entry tells that the first was applied: {kinds:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_asked_for_a_lease_meanwhile_keeps_its_partitions() {
        let mut replica = Replica::with_partitions(1);
        let id = replica.partition(0);
        replica.assign(id.clone(), OTHER);
        let cluster = FakeCluster::new(replica);
        cluster.revive_when_taken(OTHER);
        assert!(look(&cluster, &mut Memory::default()).await);
        assert!(cluster.proposals().is_empty());
        assert_eq!(cluster.taking(), [Taking::Begun(vec![OTHER]), Taking::Ended]);
        assert_eq!(cluster.view().partitions[&id].owner, Some(OTHER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_comes_gets_partitions_when_it_has_been_calm_for_a_while() {
        let mut replica = Replica::with_partitions(8);
        replica.node_started(OTHER);
        let cluster = FakeCluster::new(replica);
        cluster.is_up(OTHER);
        let controlling = tokio::spawn(control(cluster.clone()));
        tokio::time::sleep(CALM - Duration::from_secs(1)).await;
        assert!(cluster.proposals().is_empty());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let kinds: Vec<_> = cluster.proposals().into_iter().map(|(_, command)| command).collect();
        assert!(!kinds.is_empty());
        assert!(kinds.iter().all(|command| matches!(command, Command::Move { to: OTHER, .. })), "{kinds:?}");
        assert!(!controlling.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_lead_decides_nothing() {
        let cluster = FakeCluster::new(Replica::with_partitions(3));
        cluster.change(|replica| replica.add_partitions(3..6));
        cluster.lead(false);
        let controlling = tokio::spawn(control(cluster.clone()));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(cluster.proposals().is_empty());
        cluster.lead(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.proposals().len(), 3, "the next look does");
        assert!(!controlling.is_finished());
    }
}
