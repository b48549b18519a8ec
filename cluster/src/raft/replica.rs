//! One replica: the Raft node, its stored log, the state that it applied and the proposals that wait.
//!
//! Synchronous and without a clock: whoever owns it says when time passes and when a turn is due. It blocks for the
//! disk, so it lives on a thread of its own. After an error it must not be used again.

use std::sync::Arc;

use ::raft::{RawNode, StateRole};
use causeway_core::ids::NodeId;
use causeway_core::state::State;
use causeway_storage::raft_log::Position;
use causeway_storage::routing::Route;
use causeway_storage::snapshot_file::Membership;
use causeway_storage::{Db, db};

use super::log_store::LogStore;
use super::outbox::Outbox;
use super::proposals::{Proposals, Reply};
use super::settings::Settings;
use super::{logger, snapshot};
use crate::error::{Error, Fatal};
use crate::status::{BarrierStats, RaftStatus, Role};

/// Ticks between two looks at whether the stored routes have to change.
const ROUTES_EVERY_TICKS: u32 = 10;

/// An encoded command on its way into the log.
pub(crate) struct Proposal {
    /// Its form in the log.
    pub(crate) data: Vec<u8>,
    /// The request id inside `data`.
    pub(crate) request: u128,
    /// Where its outcome goes.
    pub(crate) reply: Reply,
}

/// One replica.
pub(crate) struct Replica {
    pub(super) node: RawNode<LogStore>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) state: Arc<State>,
    /// Whether `state` differs from what was last taken by [`Replica::take_view`].
    pub(super) changed: bool,
    pub(super) applied: Position,
    pub(super) membership: Membership,
    pub(super) proposals: Proposals,
    pub(super) barriers: BarrierStats,
    /// The newest snapshot, and what was applied since.
    pub(super) snapshot: Position,
    pub(super) applied_bytes: u64,
    pub(super) snapshot_every_entries: u64,
    pub(super) snapshot_every_bytes: u64,
    /// Whether the routes in `state` may differ from the stored ones.
    pub(super) routes_due: bool,
    ticks: u32,
    accepted: u64,
    maximum_waiting: usize,
}

impl Replica {
    /// Opens the data directory and loads the newest snapshot; the log behind it is applied by the first turns.
    pub(crate) fn open(settings: &Settings, outbox: Box<dyn Outbox>) -> Result<Self, Fatal> {
        let mut db = Db::open(&db::Settings {
            directory: settings.directory.clone(),
            node: settings.node,
            cache_bytes: settings.cache_bytes,
        })?;
        let base;
        (db, base) = snapshot::choose(db, &settings.voters)?;
        let store = LogStore::new(db, (base.position, base.membership.clone()));
        let node = RawNode::new(&settings.raft(base.position.index), store, &logger::logger())
            .map_err(|error| Fatal::Raft { action: "start", reason: error.to_string() })?;
        Ok(Self {
            node,
            outbox,
            state: Arc::new(base.state),
            changed: true,
            applied: base.position,
            membership: base.membership,
            proposals: Proposals::default(),
            barriers: BarrierStats::default(),
            snapshot: base.position,
            applied_bytes: 0,
            snapshot_every_entries: settings.snapshot_every_entries,
            snapshot_every_bytes: settings.snapshot_every_bytes,
            routes_due: true,
            ticks: 0,
            accepted: 0,
            maximum_waiting: settings.queue_length(),
        })
    }

    /// The first turn. The only voter has nobody to wait for and asks for its own vote at once.
    pub(crate) fn begin(&mut self) -> Result<(), Fatal> {
        self.turn()?;
        if self.is_only_voter() {
            self.node.campaign().map_err(|error| Fatal::Raft { action: "campaign", reason: error.to_string() })?;
            self.turn()?;
        }
        Ok(())
    }

    /// Takes a command into the log. It becomes durable with the next turn, together with all others taken before it.
    pub(crate) fn propose(&mut self, proposal: Proposal) {
        let Proposal { data, request, reply } = proposal;
        let refusal = if self.node.raft.state != StateRole::Leader {
            Error::NotLeader { leader: self.leader() }
        } else if self.proposals.len() >= self.maximum_waiting {
            Error::Busy
        } else if let Err(error) = self.node.propose(Vec::new(), data) {
            // The only refusals left: too much is not committed yet, or leadership is being handed over.
            tracing::debug!(%error, "proposal refused");
            Error::Busy
        } else {
            self.accepted = self.accepted.saturating_add(1);
            return self.proposals.wait(self.node.raft.raft_log.last_index(), request, reply);
        };
        // A caller that no longer waits needs no answer.
        let _ = reply.send(Err(refusal));
    }

    /// Does everything that Raft has due. Answers go out with [`Replica::answer`], after the view was taken.
    pub(crate) fn turn(&mut self) -> Result<(), Fatal> {
        while self.node.has_ready() {
            self.process_ready()?;
        }
        if let Some(cluster) = self.state.cluster {
            self.node.mut_store().db_mut().bind_cluster(cluster)?;
        }
        self.snapshot_if_due()
    }

    /// Lets one unit of Raft's time pass.
    pub(crate) fn tick(&mut self) -> Result<(), Fatal> {
        self.node.tick();
        self.proposals.forget_abandoned();
        self.ticks = self.ticks.wrapping_add(1);
        if self.routes_due && self.ticks.is_multiple_of(ROUTES_EVERY_TICKS) {
            self.store_routes()?;
        }
        self.turn()
    }

    /// What a test needs to play another member.
    #[cfg(test)]
    pub(crate) fn node_for_test(&mut self) -> &mut RawNode<LogStore> {
        &mut self.node
    }

    /// The state when it changed since the last call.
    pub(crate) fn take_view(&mut self) -> Option<Arc<State>> {
        std::mem::take(&mut self.changed).then(|| Arc::clone(&self.state))
    }

    /// Gives out the answers that are due.
    pub(crate) fn answer(&mut self) {
        self.proposals.answer();
    }

    /// Answers everybody because the replica ends.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.proposals.fail_all(error);
    }

    /// Whether this node alone decides.
    pub(crate) fn is_only_voter(&self) -> bool {
        self.membership.voters_outgoing.is_empty() && self.membership.voters.as_slice() == [NodeId(self.node.raft.id)]
    }

    pub(super) fn leader(&self) -> Option<NodeId> {
        Some(self.node.raft.leader_id).filter(|id| *id != ::raft::INVALID_ID).map(NodeId)
    }

    /// One look.
    pub(crate) fn status(&self) -> RaftStatus {
        let raft = &self.node.raft;
        let stored = &self.node.store().db().raft;
        RaftStatus {
            role: match raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
                StateRole::Follower => Role::Follower,
            },
            term: raft.term,
            leader: self.leader(),
            ready: raft.state == StateRole::Leader && self.applied.term == raft.term,
            committed: raft.raft_log.committed,
            applied: self.applied.index,
            snapshot: self.snapshot.index,
            last_index: raft.raft_log.last_index(),
            log_entries: stored.entries(),
            log_bytes: stored.bytes(),
            waiting: self.proposals.len(),
            proposals: self.accepted,
            barriers: self.barriers.clone(),
        }
    }

    /// Renews the projection for a look from outside; nobody relies on it, so no barrier.
    fn store_routes(&mut self) -> Result<(), Fatal> {
        let routes: Vec<Route> = self
            .state
            .partitions
            .iter()
            .map(|(partition, is)| Route {
                partition: partition.clone(),
                target: is.target.clone(),
                owner: is.owner,
                epoch: is.epoch,
            })
            .collect();
        self.node.store().db().routing.replace(&routes)?;
        self.routes_due = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
