//! A cluster for the supervisor's tests: the real state machine, no Raft, failures on request. This node leads; every
//! other one is down.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_cluster::liveness::Signs;
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Conditions, Liveness, MemberChange, Members};
use causeway_core::state::State;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::supervisor::authority::Authority;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::testing::{ME, Replica};

/// Agrees at once on everything.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    inner: Arc<Mutex<Inner>>,
    view: Arc<watch::Sender<Arc<State>>>,
}

/// What was said about nodes that lose partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taking {
    Begun(Vec<NodeId>),
    Ended,
}

#[derive(Clone, Copy)]
enum Fate {
    Answered,
    AnswerLost,
    Lost,
    Late,
}

/// The only term.
const TERM: u64 = 1;

struct Inner {
    replica: Replica,
    proposals: Vec<(Instant, Command)>,
    /// Of the next proposals.
    fates: VecDeque<Fate>,
    /// How long a proposal takes.
    takes: Duration,
    late: Vec<Command>,
    leads: bool,
    taking: Vec<Taking>,
    /// It asks for a lease right before its partitions are taken.
    revives: Option<NodeId>,
    up: BTreeSet<NodeId>,
    /// How often loads were copied.
    copies: usize,
    /// Why no member is changed; then only this node is one.
    refuses_members: Option<&'static str>,
}

impl FakeCluster {
    /// A cluster that agreed on this already.
    pub(crate) fn new(replica: Replica) -> Self {
        let view = Arc::new(watch::Sender::new(Arc::new(replica.state.clone())));
        let inner = Inner {
            replica,
            proposals: Vec::new(),
            fates: VecDeque::new(),
            takes: Duration::ZERO,
            late: Vec::new(),
            leads: true,
            taking: Vec::new(),
            revives: None,
            up: BTreeSet::from([ME]),
            copies: 0,
            refuses_members: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)), view }
    }

    /// Changes what is agreed, as another proposer would.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Replica) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let answer = change(&mut inner.replica);
        self.view.send_replace(Arc::new(inner.replica.state.clone()));
        answer
    }

    /// The next so many proposals are applied, but answered with an error: their outcome is unknown.
    pub(crate) fn fail_next(&self, failures: usize) {
        self.inner.lock().unwrap().fates = VecDeque::from(vec![Fate::AnswerLost; failures]);
    }

    /// The next so many proposals are never applied, and answered with an error.
    pub(crate) fn lose_next(&self, proposals: usize) {
        self.inner.lock().unwrap().fates = VecDeque::from(vec![Fate::Lost; proposals]);
    }

    /// The next proposal is answered with an error, and applied at [`Self::deliver`].
    pub(crate) fn delay_next(&self) {
        self.inner.lock().unwrap().fates = VecDeque::from([Fate::Late]);
    }

    /// What was on its way arrives now.
    pub(crate) fn deliver(&self) -> Vec<Outcome> {
        let late = std::mem::take(&mut self.inner.lock().unwrap().late);
        late.into_iter().map(|command| self.change(|replica| replica.apply(command))).collect()
    }

    /// Proposals take so long from now on.
    pub(crate) fn slow_down(&self, takes: Duration) {
        self.inner.lock().unwrap().takes = takes;
    }

    /// Whether this node leads from now on.
    pub(crate) fn lead(&self, leads: bool) {
        self.inner.lock().unwrap().leads = leads;
    }

    /// A node asks for a lease at the last moment.
    pub(crate) fn revive_when_taken(&self, node: NodeId) {
        self.inner.lock().unwrap().revives = Some(node);
    }

    /// Only this node is a member, and changes are refused for this reason; without one every node is a member.
    pub(crate) fn refuse_members(&self, reason: Option<&'static str>) {
        self.inner.lock().unwrap().refuses_members = reason;
    }

    /// A node asks for leases.
    pub(crate) fn is_up(&self, node: NodeId) {
        self.inner.lock().unwrap().up.insert(node);
    }

    /// What was said about nodes that lose partitions.
    pub(crate) fn taking(&self) -> Vec<Taking> {
        self.inner.lock().unwrap().taking.clone()
    }

    /// How often the loads of all partitions were copied.
    pub(crate) fn copies(&self) -> usize {
        self.inner.lock().unwrap().copies
    }

    /// Everything that was proposed, with the time.
    pub(crate) fn proposals(&self) -> Vec<(Instant, Command)> {
        self.inner.lock().unwrap().proposals.clone()
    }
}

impl Proposer for FakeCluster {
    type Error = &'static str;

    async fn propose(&self, command: Command) -> Result<Outcome, Self::Error> {
        tokio::task::yield_now().await;
        let takes = self.inner.lock().unwrap().takes;
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let fate = {
            let mut inner = self.inner.lock().unwrap();
            inner.proposals.push((Instant::now(), command.clone()));
            inner.fates.pop_front().unwrap_or(Fate::Answered)
        };
        match fate {
            Fate::Answered => return Ok(self.change(|replica| replica.apply(command))),
            Fate::AnswerLost => {
                self.change(|replica| replica.apply(command));
            }
            Fate::Lost => {}
            Fate::Late => self.inner.lock().unwrap().late.push(command),
        }
        Err("the outcome is unknown")
    }

    fn view(&self) -> Arc<State> {
        Arc::clone(&self.view.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.view.subscribe()
    }
}

impl Authority for FakeCluster {
    fn signs(&self) -> Option<(u64, Signs)> {
        let inner = self.inner.lock().unwrap();
        let owners = inner.replica.state.partitions.values().filter_map(|partition| partition.owner);
        let mut nodes: BTreeMap<_, _> = owners.map(|owner| (owner, Liveness::Down)).collect();
        nodes.extend(inner.up.iter().map(|node| (*node, Liveness::Up)));
        inner.leads.then_some((TERM, Signs { nodes, loads: 0 }))
    }

    fn conditions(&self) -> Option<(u64, Conditions)> {
        self.inner.lock().unwrap().copies += 1;
        let (term, Signs { nodes, .. }) = self.signs()?;
        Some((term, Conditions { nodes, bytes_per_second: BTreeMap::new() }))
    }

    fn begin_taking(&self, term: u64, nodes: Vec<NodeId>) {
        assert_eq!(term, TERM);
        let mut inner = self.inner.lock().unwrap();
        let revived = inner.revives.take();
        inner.up.extend(revived);
        inner.taking.push(Taking::Begun(nodes));
    }

    fn end_taking(&self, term: u64) {
        assert_eq!(term, TERM);
        self.inner.lock().unwrap().taking.push(Taking::Ended);
    }

    async fn propose_in(&self, term: u64, command: Command) -> Result<Outcome, Self::Error> {
        assert_eq!(term, TERM);
        self.propose(command).await
    }

    fn members(&self) -> Option<Members> {
        let nodes = self.view().nodes.keys().copied().collect();
        let inner = self.inner.lock().unwrap();
        let voters = if inner.refuses_members.is_some() { BTreeSet::from([ME]) } else { nodes };
        inner.leads.then(|| Members { voters, leader: ME, ..Members::default() })
    }

    async fn change_member(&self, change: MemberChange) -> Result<(), Self::Error> {
        match self.inner.lock().unwrap().refuses_members {
            Some(reason) => Err(reason),
            None => panic!("every node is the member that it was asked to be: {change:?}"),
        }
    }

    async fn hand_over(&self) -> Result<(), Self::Error> {
        panic!("this node is to be a voter")
    }
}
