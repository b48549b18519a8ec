//! One replica: the Raft node, its stored log, the state that it applied and the proposals that wait.
//!
//! Synchronous and without a clock: whoever owns it says when time passes and when a turn is due. It blocks for the
//! disk, so it lives on a thread of its own. After an error it must not be used again.

use std::sync::Arc;

use ::raft::eraftpb::{Message, MessageType};
use ::raft::{RawNode, SnapshotStatus, StateRole};
use causeway_core::ids::NodeId;
use causeway_core::state::State;
use causeway_storage::raft_log::Position;
use causeway_storage::routing::Route;
use causeway_storage::snapshot_file::Membership;
use causeway_storage::{Db, db};

use super::disk::Disk;
use super::log_store::LogStore;
use super::membership::Heard;
use super::outbox::Outbox;
use super::proposals::{Proposals, Reply};
use super::reads::{Read, Reads};
use super::settings::Settings;
use super::transfer::Transfer;
use super::{logger, snapshot};
use crate::error::{Error, Fatal};
use crate::status::{BarrierStats, RaftStatus, Role};

/// Ticks between two looks at whether the stored routes have to change.
const ROUTES_EVERY_TICKS: u64 = 10;

/// A leader that was not heard for so many election timeouts is not known to lead any more. Voters ask for votes within
/// two, so this shows on learners only, which never do.
const SILENT_ELECTIONS: u64 = 3;

/// An encoded command on its way into the log.
pub(crate) struct Proposal {
    /// Its form in the log.
    pub(crate) data: Vec<u8>,
    /// The request id inside `data`.
    pub(crate) request: u128,
    /// The only term in whose log it may enter; none where any will do.
    pub(crate) term: Option<u64>,
    /// Where its outcome goes.
    pub(crate) reply: Reply,
}

/// One replica.
pub(crate) struct Replica<D: Disk = Db> {
    pub(super) node: RawNode<LogStore<D>>,
    pub(super) outbox: Box<dyn Outbox>,
    pub(super) state: Arc<State>,
    /// Whether `state` differs from what was last taken by [`Replica::take_view`].
    pub(super) changed: bool,
    pub(super) applied: Position,
    pub(super) membership: Membership,
    pub(super) proposals: Proposals,
    pub(super) reads: Reads,
    pub(super) transfer: Option<Transfer>,
    pub(super) heard: Heard,
    /// When the leader was last heard as such, in ticks of this replica.
    leader_heard: u64,
    pub(super) barriers: BarrierStats,
    /// The newest snapshot, and what was applied since.
    pub(super) snapshot: Position,
    pub(super) applied_bytes: u64,
    pub(super) snapshot_every_entries: u64,
    pub(super) snapshot_every_bytes: u64,
    /// Whether the routes in `state` may differ from the stored ones.
    pub(super) routes_due: bool,
    /// Units of Raft's time since the start.
    pub(super) ticks: u64,
    pub(super) election_ticks: u64,
    heartbeat_ticks: u64,
    accepted: u64,
    maximum_waiting: usize,
}

impl Replica {
    /// Opens the data directory and loads what it holds.
    pub(crate) fn open(settings: &Settings, outbox: Box<dyn Outbox>) -> Result<Self, Fatal> {
        let disk = Db::open(&db::Settings {
            directory: settings.directory.clone(),
            node: settings.node,
            cache_bytes: settings.cache_bytes,
        })?;
        Self::load(settings, disk, outbox)
    }
}

impl<D: Disk> Replica<D> {
    /// Loads the newest snapshot; the log behind it is applied by the first turns.
    pub(crate) fn load(settings: &Settings, disk: D, outbox: Box<dyn Outbox>) -> Result<Self, Fatal> {
        let (disk, base) = snapshot::choose(disk, &settings.start)?;
        let store = LogStore::new(disk, (base.position, base.membership.clone()));
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
            reads: Reads::default(),
            transfer: None,
            heard: Heard::default(),
            leader_heard: 0,
            barriers: BarrierStats::default(),
            snapshot: base.position,
            applied_bytes: 0,
            snapshot_every_entries: settings.snapshot_every_entries,
            snapshot_every_bytes: settings.snapshot_every_bytes,
            routes_due: true,
            ticks: 0,
            election_ticks: settings.election_ticks.into(),
            heartbeat_ticks: settings.heartbeat_ticks.into(),
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
        let Proposal { data, request, term, reply } = proposal;
        let other_term = term.is_some_and(|term| term != self.node.raft.term);
        let refusal = if self.node.raft.state != StateRole::Leader || other_term {
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

    /// Takes a message of another member. What it makes Raft do is done with the next turn, together with all others.
    ///
    /// # Errors
    /// Everything that a turn can answer, and damage when the leader knows that this node confirmed more than its log
    /// holds: what its disk has lost besides, a vote perhaps, nobody can say.
    pub(crate) fn step(&mut self, mut message: Message) -> Result<(), Fatal> {
        if !self.verify_confirmed(&message)? {
            return Ok(());
        }
        // A snapshot and entries behind it cannot be written in one step, and nobody campaigns on what is not on disk.
        if self.node.snap().is_some() || message.get_msg_type() == MessageType::MsgTimeoutNow {
            self.turn()?;
        }
        let from = message.from;
        if self.node.raft.prs().get(from).is_some() {
            self.heard.note(from, self.ticks);
        }
        if message.get_msg_type() == MessageType::MsgReadIndex {
            if self.node.raft.state != StateRole::Leader {
                // raft-rs would pass it on in the name of whoever asks, which no member may do: see `message.rs`. It is
                // asked again.
                return Ok(());
            }
            for question in message.mut_entries() {
                question.data = self.reads.tell_apart(&question.data).into();
            }
        }
        let says_leader = matches!(
            message.get_msg_type(),
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
        );
        if let Err(error) = self.node.step(message) {
            // An answer of somebody who is no member here, or not any more.
            tracing::debug!(%error, from, "message left out");
        } else if says_leader && from == self.node.raft.leader_id {
            self.leader_heard = self.ticks;
        }
        Ok(())
    }

    /// A heartbeat never names more than its receiver has confirmed to the leader of that term to be durable. Answers
    /// whether the message may be taken: one of a node that has no vote proves nothing.
    fn verify_confirmed(&self, message: &Message) -> Result<bool, Fatal> {
        let last = self.node.raft.raft_log.last_index();
        let is_heartbeat = message.get_msg_type() == MessageType::MsgHeartbeat;
        if !is_heartbeat || message.term < self.node.raft.term || message.commit <= last {
            return Ok(true);
        }
        if !self.node.raft.prs().conf().voters().contains(message.from) {
            return Ok(false);
        }
        let reason = format!("it ends at entry {last}, and this node confirmed entry {} before", message.commit);
        Err(causeway_storage::Error::Corrupt { place: "the log".to_owned(), reason }.into())
    }

    /// Closes the data directory and moves its database aside. Answers the error to report.
    pub(crate) fn quarantine(self, reason: &str) -> Fatal {
        self.node.raft.r.raft_log.store.into_disk().quarantine(reason).into()
    }

    /// The way to a member is broken: appends on their way to it may be lost.
    pub(crate) fn unreachable(&mut self, node: NodeId) {
        self.node.report_unreachable(node.0);
    }

    /// What became of a snapshot that was sent.
    pub(crate) fn snapshot_sent(&mut self, node: NodeId, arrived: bool) {
        self.node.report_snapshot(node.0, if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
    }

    /// Takes a caller that waits until the view is known to be current.
    pub(crate) fn read(&mut self, read: Read) {
        self.reads.wait(read);
    }

    /// Does everything that Raft has due. Answers go out with [`Replica::answer`], after the view was taken.
    pub(crate) fn turn(&mut self) -> Result<(), Fatal> {
        self.begin_read();
        while self.node.has_ready() {
            self.process_ready()?;
            self.begin_read();
        }
        self.reads.applied(self.applied.index);
        if let Some(cluster) = self.state.cluster {
            self.node.mut_store().disk_mut().bind_cluster(cluster)?;
        }
        self.snapshot_if_due()
    }

    /// Lets one unit of Raft's time pass.
    pub(crate) fn tick(&mut self) -> Result<(), Fatal> {
        self.node.tick();
        self.proposals.forget_abandoned();
        self.reads.forget_abandoned();
        self.ticks = self.ticks.saturating_add(1);
        if let Some(context) = self.reads.overdue(self.ticks, self.heartbeat_ticks) {
            self.node.read_index(context);
        }
        if self.routes_due && self.ticks.is_multiple_of(ROUTES_EVERY_TICKS) {
            self.store_routes()?;
        }
        self.turn()
    }

    /// The state when it changed since the last call.
    pub(crate) fn take_view(&mut self) -> Option<Arc<State>> {
        std::mem::take(&mut self.changed).then(|| Arc::clone(&self.state))
    }

    /// Gives out the answers that are due.
    pub(crate) fn answer(&mut self) {
        self.proposals.answer();
        self.reads.answer();
        self.settle_transfer();
    }

    /// Answers everybody because the replica ends.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.proposals.fail_all(error);
        self.reads.fail_all(error);
        if let Some(Transfer { reply, .. }) = self.transfer.take() {
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// Whether this node alone decides.
    pub(crate) fn is_only_voter(&self) -> bool {
        self.membership.voters_outgoing.is_empty() && self.membership.voters.as_slice() == [self.id()]
    }

    pub(super) fn id(&self) -> NodeId {
        NodeId(self.node.raft.id)
    }

    fn begin_read(&mut self) {
        if let Some(context) = self.reads.begin(self.ticks) {
            self.node.read_index(context);
        }
    }

    /// Who leads; none also where a leader is silent for too long. Raft itself would name it for ever on a learner.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let leader = Some(self.node.raft.leader_id).filter(|id| *id != ::raft::INVALID_ID).map(NodeId)?;
        let silent = self.ticks.saturating_sub(self.leader_heard);
        let known = leader == self.id() || silent <= self.election_ticks.saturating_mul(SILENT_ELECTIONS);
        known.then_some(leader)
    }

    /// One look.
    pub(crate) fn status(&self) -> RaftStatus {
        let raft = &self.node.raft;
        let stored = self.node.store().disk();
        RaftStatus {
            role: match raft.state {
                StateRole::Leader => Role::Leader,
                StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
                StateRole::Follower => Role::Follower,
            },
            term: raft.term,
            leader: self.leader(),
            ready: raft.state == StateRole::Leader && self.applied.term == raft.term,
            member: self.membership.contains(self.id()),
            members: self.members(),
            committed: raft.raft_log.committed,
            applied: self.applied.index,
            snapshot: self.snapshot.index,
            last_index: raft.raft_log.last_index(),
            log_entries: stored.entries(),
            log_bytes: stored.bytes(),
            waiting: self.proposals.len(),
            waiting_reads: self.reads.len(),
            dropped_messages: 0,
            refused_messages: 0,
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
        self.node.mut_store().disk_mut().replace_routes(&routes)?;
        self.routes_due = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
