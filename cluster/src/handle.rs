//! What the rest of a node calls: propose, look, wait, change members, carry messages, stop.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::Addr;
use actix::dev::SendError;
use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::actor::{self, Call, Ended, RaftActor, Running, Stop};
use crate::error::{Error, Fatal};
use crate::raft::membership::{ChangeMember, MemberChange};
use crate::raft::message::{self, Incoming};
use crate::raft::outbox::{Nowhere, Outbox};
use crate::raft::reads::Read;
use crate::raft::replica::Proposal;
use crate::raft::settings::Settings;
use crate::raft::transfer::Transfer;
use crate::raft::{encode_command, request_id};
use crate::status::RaftStatus;

/// Before this version of the command set a cluster had one node, which knew whatever it proposed.
const FIRST_OF_SEVERAL_NODES: u16 = 3;

/// A running replica. Cheap to clone; when the last clone is gone, the replica ends.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

/// A way to a replica that does not keep it alive.
#[derive(Clone)]
pub(crate) struct WeakHandle {
    shared: Weak<Shared>,
}

impl WeakHandle {
    /// The replica, if anything else keeps it.
    pub(crate) fn upgrade(&self) -> Option<Handle> {
        self.shared.upgrade().map(|shared| Handle { shared })
    }
}

struct Shared {
    // One address for all clones: actix gives every clone of an address room of its own in the mailbox.
    address: Addr<RaftActor>,
    view: watch::Receiver<Arc<State>>,
    status: watch::Receiver<RaftStatus>,
    ended: Ended,
    queue: Semaphore,
    incoming: Incoming,
    settings: Settings,
}

/// Opens the data directory, loads the newest snapshot and applies the log behind it. The only voter of its cluster is
/// the leader when this returns; with several voters the replica then begins to look for the others.
///
/// # Errors
/// [`Error::Settings`]; [`Error::Fatal`] when the data directory cannot be used or holds what this version does not
/// know; [`Error::Timeout`] when the only voter does not lead in time.
pub async fn start(settings: Settings) -> Result<Handle, Error> {
    start_with(settings, Box::new(Nowhere)).await
}

/// As [`start`], with a way to the other members. A node that joins waits for their leader after this returned.
///
/// # Errors
/// Those of [`start`].
pub async fn start_with(settings: Settings, outbox: Box<dyn Outbox>) -> Result<Handle, Error> {
    settings.validate()?;
    let (opened, ended) = actor::spawn(settings.clone(), outbox)?;
    let Running { address, view, status, only_voter } = match opened.await {
        Ok(opened) => opened?,
        Err(_) => return Err(reason(ended).await),
    };
    let queue = Semaphore::new(usize::try_from(settings.queue_bytes).unwrap_or(Semaphore::MAX_PERMITS));
    let handle = Handle {
        shared: Arc::new(Shared { address, view, status, ended, queue, incoming: Incoming::new(), settings }),
    };
    if only_voter {
        handle.wait_until_ready().await?;
    }
    Ok(handle)
}

impl Handle {
    /// Proposes a command and waits until it is agreed, durable and applied here: the outcome is visible in
    /// [`Handle::view`] when this returns. Calls at the same time share one disk barrier.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::outcome_is_unknown`] tells whether the command may have been applied nevertheless.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        self.propose_if(None, command).await
    }

    /// As [`Handle::propose`], where this node leads that term; what was decided from what was known in one term must
    /// not enter the log of another.
    ///
    /// # Errors
    /// As [`Handle::propose`]; [`Error::NotLeader`] also when this node leads another term by now.
    pub async fn propose_in(&self, term: u64, command: Command) -> Result<Outcome, Error> {
        self.propose_if(Some(term), command).await
    }

    async fn propose_if(&self, term: Option<u64>, command: Command) -> Result<Outcome, Error> {
        let shared = &self.shared;
        let request = request()?;
        let version = version_for(&command, self.view().agreed_version)?;
        let envelope = Envelope { version, request, at: now(), command };
        let data = encode_command(&envelope)?;
        let maximum = usize::try_from(shared.settings.maximum_command_bytes).unwrap_or(usize::MAX);
        let cost = match u32::try_from(data.len()) {
            Ok(bytes) if data.len() <= maximum => bytes.max(Settings::MINIMUM_PROPOSAL_BYTES),
            _ => return Err(Error::TooLarge { bytes: data.len(), maximum }),
        };
        // Held until the answer: it bounds what waits in the mailbox, in the log and for the disk together.
        let _room = shared.queue.try_acquire_many(cost).map_err(|_| Error::Busy)?;
        let (reply, answer) = oneshot::channel();
        let waited = shared.settings.proposal_timeout;
        self.call(Call::Propose(Proposal { data, request, term, reply }), answer, Error::Timeout { waited }).await
    }

    /// Changes one member and waits until the change is agreed, durable and applied here. Only the leader does that,
    /// one change at a time.
    ///
    /// # Errors
    /// [`Error::Change`] and [`Error::NotLeader`] changed nothing; see [`Error`] for the others.
    pub async fn change_member(&self, change: MemberChange) -> Result<(), Error> {
        let waited = self.shared.settings.proposal_timeout;
        let (reply, answer) = oneshot::channel();
        let change = ChangeMember { change, request: request()?, reply };
        self.call(Call::Change(change), answer, Error::Timeout { waited }).await.map(|_| ())
    }

    /// Hands over leadership to another voter and waits until it leads. Only the leader can do that.
    ///
    /// # Errors
    /// [`Error::Change`], [`Error::NotTransferred`] and [`Error::NotLeader`], which then names who leads instead;
    /// [`Error::Timeout`] when nobody leads for too long.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), Error> {
        let waited = self.shared.settings.proposal_timeout;
        let (reply, answer) = oneshot::channel();
        self.call(Call::Transfer(Transfer { to, reply }), answer, Error::Timeout { waited }).await
    }

    /// Waits until [`Handle::view`] includes everything that was answered anywhere in the cluster before this call.
    /// Works on every member. Answers the log index that the view includes at least.
    ///
    /// # Errors
    /// [`Error::ReadTimeout`] when no leader confirms it in time, [`Error::Busy`] when too many wait already.
    pub async fn read_barrier(&self) -> Result<u64, Error> {
        let waited = self.shared.settings.proposal_timeout;
        let (reply, answer) = oneshot::channel();
        let read = Read { request: request()?, reply };
        self.call(Call::Read(read), answer, Error::ReadTimeout { waited }).await
    }

    /// Takes a message that the [`Outbox`] of the member `peer` was given for this node. When too many wait already, it
    /// is dropped and counted, as a network may do. Never waits.
    ///
    /// # Errors
    /// [`Error::Message`] for bytes that are no message of that member to this node, which are counted;
    /// [`Error::Stopped`] when the replica has ended.
    pub fn receive(&self, peer: NodeId, bytes: &[u8]) -> Result<(), Error> {
        let shared = &self.shared;
        let Some(room) = shared.incoming.room(bytes.len()) else {
            shared.incoming.drop_one();
            return Ok(());
        };
        let decoded = message::decode(bytes, peer, shared.settings.node);
        let message = decoded.inspect_err(|_| shared.incoming.refuse_one())?;
        match shared.address.try_send(Call::Step(Box::new(message), room)) {
            Ok(()) => Ok(()),
            Err(SendError::Full(_)) => {
                shared.incoming.drop_one();
                Ok(())
            }
            Err(SendError::Closed(_)) => Err(Error::Stopped),
        }
    }

    /// The way to a member is broken: what was on it may be lost, and is sent again when the member answers.
    pub fn unreachable(&self, node: NodeId) {
        // It only spares the member a wait, so it need not arrive.
        let _ = self.shared.address.try_send(Call::Unreachable(node));
    }

    /// What became of a message of kind [`crate::MessageKind::Snapshot`]: it reached the node, or it did not.
    pub fn snapshot_sent(&self, node: NodeId, arrived: bool) {
        // Beyond the mailbox's bound on purpose: the leader sends the node nothing before. There is one for each
        // snapshot, and one snapshot for each member at a time.
        self.shared.address.do_send(Call::SnapshotSent(node, arrived));
    }

    /// Sends a call to the replica and waits for its answer.
    async fn call<T>(
        &self,
        call: Call,
        answer: oneshot::Receiver<Result<T, Error>>,
        too_late: Error,
    ) -> Result<T, Error> {
        match self.shared.address.try_send(call) {
            Ok(()) => {}
            Err(SendError::Full(_)) => return Err(Error::Busy),
            Err(SendError::Closed(_)) => return Err(self.ended().await),
        }
        match tokio::time::timeout(self.shared.settings.proposal_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => match self.ended().await {
                // It was on its way when the replica was stopped.
                Error::Stopped => Err(Error::Interrupted),
                reason => Err(reason),
            },
            Err(_) => Err(too_late),
        }
    }

    /// The latest applied state.
    #[must_use]
    pub fn view(&self) -> Arc<State> {
        Arc::clone(&self.shared.view.borrow())
    }

    /// Follows the applied state. Intermediate states may be left out, the latest never.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.shared.view.clone()
    }

    /// Follows what [`Handle::status`] shows, but for the messages that were dropped or refused.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<RaftStatus> {
        self.shared.status.clone()
    }

    /// How long calls wait for their answer.
    pub(crate) fn proposal_timeout(&self) -> Duration {
        self.shared.settings.proposal_timeout
    }

    pub(crate) fn downgrade(&self) -> WeakHandle {
        WeakHandle { shared: Arc::downgrade(&self.shared) }
    }

    /// One look at the replica.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let status = self.shared.status.borrow().clone();
        let incoming = &self.shared.incoming;
        RaftStatus { dropped_messages: incoming.dropped(), refused_messages: incoming.refused(), ..status }
    }

    /// Waits until the replica has ended, and answers why: [`Error::Stopped`] or [`Error::Fatal`].
    pub async fn ended(&self) -> Error {
        reason(self.shared.ended.clone()).await
    }

    /// Finishes the proposals that were made before, closes the data directory and ends the replica.
    ///
    /// # Errors
    /// [`Error::Fatal`] when the replica ended by itself; [`Error::Timeout`] when the disk does not answer.
    pub async fn stop(self) -> Result<(), Error> {
        // Beyond the mailbox's bound on purpose: a full mailbox must not keep a node from stopping.
        self.shared.address.do_send(Stop);
        let waited = self.shared.settings.start_timeout;
        match tokio::time::timeout(waited, self.ended()).await {
            Ok(Error::Stopped) => Ok(()),
            Ok(reason) => Err(reason),
            Err(_) => Err(Error::Timeout { waited }),
        }
    }

    async fn wait_until_ready(&self) -> Result<(), Error> {
        let mut status = self.shared.status.clone();
        let waited: Duration = self.shared.settings.start_timeout;
        match tokio::time::timeout(waited, status.wait_for(|status| status.ready)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(self.ended().await),
            Err(_) => Err(Error::Timeout { waited }),
        }
    }
}

async fn reason(mut ended: Ended) -> Error {
    match ended.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
        Ok(Some(reason)) => reason,
        // The thread is gone without a word: only a panic outside of every guard does that.
        Ok(None) | Err(_) => Fatal::Panicked { reason: "the replica's thread ended".to_owned() }.into(),
    }
}

/// The version that a command is proposed with: every node has to know it.
fn version_for(command: &Command, agreed: u16) -> Result<u16, Error> {
    let version = agreed.clamp(FIRST_OF_SEVERAL_NODES, CURRENT_VERSION);
    refuse_newer(command.since(), version).map(|()| version)
}

fn refuse_newer(needed: u16, agreed: u16) -> Result<(), Error> {
    if needed <= agreed { Ok(()) } else { Err(Error::TooNew { needed, agreed }) }
}

fn request() -> Result<u128, Error> {
    request_id().ok_or_else(|| Error::Unstorable { reason: "no random bits".to_owned() })
}

/// The proposer's wall clock; a clock before 1970 counts as 1970.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod version_tests {
    use causeway_core::ids::NodeId;

    use super::{Command, Error, FIRST_OF_SEVERAL_NODES, version_for};

    #[test]
    fn a_command_is_proposed_with_what_every_node_knows_or_not_at_all() {
        let command = Command::RemoveNode { node: NodeId(2) };
        assert_eq!(version_for(&command, 0).unwrap(), FIRST_OF_SEVERAL_NODES);
        assert_eq!(version_for(&command, u16::MAX).unwrap(), super::CURRENT_VERSION);
        let unknown = super::refuse_newer(4, 3);
        assert!(matches!(unknown, Err(Error::TooNew { needed: 4, agreed: 3 })));
    }
}
