//! One member of the cluster as the rest of a node sees it: the replica, the way to the other nodes, and what nodes ask
//! each other.
//!
//! ```text
//!   propose, lease, loads --> Group --this node leads--> replica, leadership
//!                               |---another one leads---> request --> handler of that node's group
//!   Raft's messages: replica --> outbox --> transport ==> transport --> handler --> replica
//! ```
//!
//! A node that is alone has no transport; everything else is the same. Parts: `group/rpc.rs` (the questions and
//! answers), `group/ask.rs`, `group/outbox.rs`, `group/handler.rs` (what is answered to whom), `group/leadership.rs`
//! and `group/members.rs` (what a leader knows), `group/introduction.rs` (a node that starts), `group/backup.rs`,
//! `group/reasons.rs` (why nothing is agreed on, in words), `group/removal.rs` (whether this node was removed),
//! [`join`].

mod ask;
mod backup;
mod handler;
mod introduction;
pub mod join;
pub(crate) mod leadership;
mod members;
mod outbox;
mod peers;
mod reasons;
mod removal;
mod rpc;
mod seldom;
mod streams;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::node::ProcessId;
use causeway_core::outcome::Outcome;
use causeway_core::partition::PartitionId;
use causeway_core::plan::{Conditions, Liveness, MemberChange, Members};
use causeway_core::state::State;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::{BootClock, BootInstant};
use crate::error::Error;
use crate::handle::{Handle, WeakHandle, start_with};
use crate::liveness::{LeaseTerms, Signs};
use crate::raft::membership::ChangeRefusal;
use crate::raft::settings::Settings;
use crate::status::{RaftStatus, Role};
use crate::transport::{self, Identity, PeerAddress, PeerStatus, Security, Transport, TurnedAway};
use ask::{from_transport, unexpected};
pub use backup::Backup;
use handler::GroupHandler;
use introduction::Moved;
use leadership::Leadership;
use members::{members, successor};
use outbox::WireOutbox;
pub use reasons::Reasons;
use removal::Removal;
pub use removal::{COMES_BACK, REMOVED};
use rpc::{Answer, Request};
pub use rpc::{Joined, Welcome};
use seldom::Seldom;
pub use streams::StreamServer;
use threads::Threads;

/// What a forwarded question may take longer than at the leader itself.
const FORWARDING: Duration = Duration::from_secs(1);

/// How long a forwarded proposal's effect may take to be seen here, once it is known.
pub(crate) const CATCH_UP: Duration = Duration::from_secs(5);

/// Between two warnings of refused messages.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// How other nodes reach this one.
#[derive(Clone)]
pub struct Network {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How connections are protected.
    pub security: Security,
    /// Who this node is.
    pub identity: Identity,
    /// Other nodes to talk to as long as the state names none: what a node that joined was told.
    pub others: Vec<(NodeId, Name, String)>,
    /// Given along to every node that is let in through this one: only to whoever showed a join token, or a certificate
    /// of the name whose place it takes, over the same connection.
    pub welcome: Welcome,
    /// What this node measures, for [`Group::figures_of`] of the others. Asked often, so it must not block.
    pub figures: Figures,
    /// How connections behave.
    pub settings: transport::Settings,
}

/// Answers what a node measures, in a form of its own.
pub type Figures = Arc<dyn Fn() -> Vec<u8> + Send + Sync>;

/// A lease that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// When it ends, by this machine's boot clock.
    pub until: BootInstant,
    /// What this node has to have applied before anything begins under a lease that follows a break.
    pub applied_at_least: u64,
}

/// The way to other nodes and back.
struct Wire {
    transport: Arc<Transport>,
    handle: WeakHandle,
}

/// A running member. Cheap to clone; [`Group::stop`] ends it.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
}

struct Shared {
    handle: Handle,
    me: NodeId,
    process: ProcessId,
    clock: BootClock,
    leadership: Arc<Leadership>,
    wire: Arc<OnceLock<Wire>>,
    threads: Threads,
    streams: Arc<OnceLock<Arc<dyn StreamServer>>>,
    moved: Moved,
    removal: Removal,
}

impl Group {
    /// Opens the data directory and begins to take part. What other nodes send is taken from [`Group::connect`] on.
    ///
    /// # Errors
    /// Those of [`crate::start`].
    pub async fn start(settings: Settings, process: ProcessId) -> Result<Self, Error> {
        let me = settings.node;
        let wire = Arc::new(OnceLock::new());
        let handle = start_with(settings, Box::new(WireOutbox { wire: Arc::clone(&wire) })).await?;
        let threads = Threads::start()?;
        let clock = BootClock::system();
        let leadership = Arc::new(Leadership::new(LeaseTerms::default(), clock.clone()));
        let (streams, moved, removal) = (Arc::default(), Moved::default(), Removal::default());
        let shared = Shared { handle, me, process, clock, leadership, wire, threads, streams, moved, removal };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Listens to other nodes, and talks to those that the state names. Once.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub async fn connect(&self, network: Network) -> Result<SocketAddr, Error> {
        let Network { listen, security, identity, others, welcome, figures, settings } = network;
        let shared = &self.shared;
        let handler = GroupHandler { welcome, figures, ..shared.handler() };
        let (nodes, bulk) = (&shared.threads.nodes, shared.threads.bulk.clone());
        let binding =
            async move { Transport::bind(settings, security, identity, listen, Arc::new(handler), bulk).await };
        let bound = nodes.spawn(binding).await.map_err(|_| Error::Stopped)?;
        let transport = Arc::new(bound?);
        let address = transport.address();
        let known = others.into_iter().map(|(node, name, address)| (node, PeerAddress { name, address })).collect();
        let knowledge = peers::Knowledge {
            views: shared.handle.watch(),
            statuses: shared.handle.watch_status(),
            moved: shared.moved.clone(),
        };
        let following = peers::follow(Arc::downgrade(&transport), knowledge, known);
        let wire = Wire { transport, handle: shared.handle.downgrade() };
        if shared.wire.set(wire).is_err() {
            return Err(Error::Stopped);
        }
        nodes.spawn(following);
        Ok(address)
    }

    /// This node.
    #[must_use]
    pub fn me(&self) -> NodeId {
        self.shared.me
    }

    /// Agrees on a command, wherever the leader is, and waits until its effect is visible in [`Group::view`].
    ///
    /// # Errors
    /// Those of [`Handle::propose`]; [`Error::NotLeader`] also while the leader cannot be reached, and
    /// [`Error::Timeout`] also when its effect is not visible here in time: then it was agreed on.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        let leader = match self.shared.handle.propose(command.clone()).await {
            Err(Error::NotLeader { leader: Some(leader) }) if leader != self.shared.me => leader,
            outcome => return outcome,
        };
        let limit = self.shared.handle.proposal_timeout().saturating_add(FORWARDING);
        match self.ask_who_leads(leader, &Request::Propose(command), limit).await? {
            Answer::Outcome { outcome, applied } => {
                // Whoever proposed looks at the view next, and takes what is not there for not agreed on.
                if self.wait_for(applied, CATCH_UP).await {
                    Ok(outcome)
                } else {
                    Err(Error::Timeout { waited: CATCH_UP })
                }
            }
            other => Err(unexpected(other)),
        }
    }

    /// Agrees on a command that was decided on what this node knew as the leader of a term.
    ///
    /// # Errors
    /// Those of [`Handle::propose_in`].
    pub async fn propose_in(&self, term: u64, command: Command) -> Result<Outcome, Error> {
        self.shared.handle.propose_in(term, command).await
    }

    /// Asks for a lease. It counts from when this was called.
    ///
    /// # Errors
    /// [`Error::Busy`] while partitions of this node are being given away, [`Error::TwoProcesses`], and whatever keeps
    /// the leader from answering.
    pub async fn lease(&self) -> Result<Granted, Error> {
        let asked = self.shared.clock.now();
        let process = self.shared.process;
        let answer = self.ask_leader(Request::Lease { process }).await?;
        match answer {
            Answer::Lease { length, applied_at_least } => {
                Ok(Granted { until: asked.saturating_add(length), applied_at_least })
            }
            other => Err(unexpected(other)),
        }
    }

    /// Says that this process writes nothing any more, so that nobody waits for the end of its lease.
    ///
    /// # Errors
    /// Whatever keeps the leader from hearing it; then its lease is waited for.
    pub async fn give_back_lease(&self) -> Result<(), Error> {
        let process = self.shared.process;
        self.ask_leader(Request::GiveBack { process }).await.map(|_| ())
    }

    /// Tells the leader what partitions of this node copy, in bytes per second.
    ///
    /// # Errors
    /// Whatever keeps the leader from hearing it.
    pub async fn report_loads(&self, loads: Vec<(PartitionId, u64)>) -> Result<(), Error> {
        self.ask_leader(Request::Loads(loads)).await.map(|_| ())
    }

    /// What another node measures.
    ///
    /// # Errors
    /// Whatever keeps it from answering within `limit`.
    pub async fn figures_of(&self, node: NodeId, limit: Duration) -> Result<Vec<u8>, Error> {
        match self.ask(node, &Request::Figures, limit).await? {
            Answer::Figures(figures) => Ok(figures),
            other => Err(unexpected(other)),
        }
    }

    /// What may be assumed of every node, with the term that it was learned in; none while this node does not lead.
    #[must_use]
    pub fn signs(&self) -> Option<(u64, Signs)> {
        let status = self.shared.handle.status();
        let view = self.view();
        status.ready.then(|| (status.term, self.shared.leadership.signs(status.term, &view)))
    }

    /// The same for people: without nodes that this leader had no time to hear yet. None while this node does not lead.
    #[must_use]
    pub fn liveness(&self) -> Option<BTreeMap<NodeId, Liveness>> {
        let status = self.shared.handle.status();
        status.ready.then(|| self.shared.leadership.shown(status.term, &self.view()))
    }

    /// The same as [`Group::signs`] with the loads of all partitions, which are copied.
    #[must_use]
    pub fn conditions(&self) -> Option<(u64, Conditions)> {
        let status = self.shared.handle.status();
        let view = self.view();
        status.ready.then(|| (status.term, self.shared.leadership.conditions(status.term, &view)))
    }

    /// Who takes part, as the leader sees it; none while this node does not lead.
    #[must_use]
    pub fn members(&self) -> Option<Members> {
        let status = self.status();
        status.ready.then(|| members(self.shared.me, &status))
    }

    /// From now on it is being agreed that these nodes lose partitions: they get no lease in this term until
    /// [`Group::end_taking`].
    pub fn begin_taking(&self, term: u64, nodes: impl IntoIterator<Item = NodeId>) {
        self.shared.leadership.begin_taking(term, nodes);
    }

    /// Everything that was proposed in this term is applied, or never will be.
    pub fn end_taking(&self, term: u64) {
        self.shared.leadership.end_taking(term);
    }

    /// Waits until this node has applied a log index; answers whether it has.
    pub async fn wait_for(&self, applied: u64, limit: Duration) -> bool {
        let mut status = self.shared.handle.watch_status();
        let reached = status.wait_for(|status| status.applied >= applied);
        timeout(limit, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// One look at the way to each other node; empty for a node that is alone.
    #[must_use]
    pub fn peers(&self) -> BTreeMap<NodeId, PeerStatus> {
        self.shared.wire.get().map(|wire| wire.transport.peers()).unwrap_or_default()
    }

    /// What an error is explained with: what this node knows of the others now.
    #[must_use]
    pub fn reasons(&self) -> Reasons {
        Reasons::new(self.me(), self.view(), self.status(), self.peers(), self.removed())
    }

    /// The newest connections of other nodes that were not let in.
    #[must_use]
    pub fn turned_away(&self) -> Vec<TurnedAway> {
        self.shared.wire.get().map(|wire| wire.transport.turned_away()).unwrap_or_default()
    }

    /// How long leases are.
    #[must_use]
    pub fn lease_terms(&self) -> LeaseTerms {
        self.shared.leadership.terms()
    }

    /// See [`Handle::change_member`].
    ///
    /// # Errors
    /// Those of [`Handle::change_member`].
    pub async fn change_member(&self, change: MemberChange) -> Result<(), Error> {
        self.shared.handle.change_member(change).await
    }

    /// Has leadership handed over, wherever the leader is: to this voter, or to the one that lacks least.
    ///
    /// # Errors
    /// Those of [`Handle::transfer_leader`], and whatever keeps the leader from hearing it.
    pub async fn transfer_leader(&self, to: Option<NodeId>) -> Result<(), Error> {
        self.ask_leader_within(Request::HandOver(to), self.shared.handle.proposal_timeout()).await.map(|_| ())
    }

    /// See [`Handle::read_barrier`].
    ///
    /// # Errors
    /// Those of [`Handle::read_barrier`].
    pub async fn read_barrier(&self) -> Result<u64, Error> {
        self.shared.handle.read_barrier().await
    }

    /// The latest applied state.
    #[must_use]
    pub fn view(&self) -> Arc<State> {
        self.shared.handle.view()
    }

    /// Follows the applied state. Intermediate states may be left out, the latest never.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.shared.handle.watch()
    }

    /// One look at the replica.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        self.shared.handle.status()
    }

    /// Follows the replica's status. Intermediate looks may be left out, the latest never.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<RaftStatus> {
        self.shared.handle.watch_status()
    }

    /// Waits until the replica has ended, and answers why.
    pub async fn ended(&self) -> Error {
        self.shared.handle.ended().await
    }

    /// Ends connections and replica, and closes the data directory. A leader hands over first where somebody can take
    /// over at once, so that nobody waits for an election.
    ///
    /// # Errors
    /// Those of [`Handle::stop`].
    pub async fn stop(&self) -> Result<(), Error> {
        if self.status().role == Role::Leader
            && let Err(error) = self.hand_over().await
        {
            tracing::debug!(%error, "leadership was not handed over; the others elect");
        }
        if let Some(wire) = self.shared.wire.get() {
            let transport = Arc::clone(&wire.transport);
            // Ends with the threads at the latest.
            let _ended = self.shared.threads.nodes.spawn(async move { transport.shutdown().await }).await;
        }
        self.shared.handle.clone().stop().await
    }

    /// Hands over leadership to the voter that lacks least and is to stay one.
    ///
    /// # Errors
    /// Those of [`Handle::transfer_leader`]; [`ChangeRefusal::NoSuccessor`] when no voter is there that could lead.
    pub async fn hand_over(&self) -> Result<(), Error> {
        let status = self.status();
        let to = successor(&status, &self.view()).ok_or(ChangeRefusal::NoSuccessor)?;
        self.shared.handle.transfer_leader(to).await
    }
}

impl Shared {
    fn handler(&self) -> GroupHandler {
        GroupHandler {
            handle: self.handle.downgrade(),
            me: self.me,
            leadership: Arc::clone(&self.leadership),
            wire: Arc::clone(&self.wire),
            streams: Arc::clone(&self.streams),
            welcome: Welcome::default(),
            figures: Arc::new(Vec::new),
            moved: self.moved.clone(),
            removal: self.removal.clone(),
            refused: Seldom::new(BETWEEN_WARNINGS),
        }
    }
}
