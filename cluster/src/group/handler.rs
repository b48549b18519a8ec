//! What a node does with what other nodes ask it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::node::ProcessId;
use causeway_core::outcome::{Outcome, Refusal as StateRefusal};
use causeway_core::plan::Liveness;
use causeway_core::state::State;

use super::introduction::Moved;
use super::leadership::Leadership;
use super::reasons::Reasons;
use super::removal::Removal;
use super::rpc::{Answer, Failure, Joined, Request, Welcome};
use super::seldom::Seldom;
use super::{FORWARDING, Figures, StreamServer, Wire, from_transport, successor, unexpected};
use crate::error::Error;
use crate::handle::{Handle, WeakHandle};
use crate::liveness;
use crate::raft::membership::ChangeRefusal;
use crate::transport::streams::{NotServed, StreamSender};
use crate::transport::{Handler, Peer, Refusal, RefusalCode};

/// Answers other nodes. Holds nothing that would keep the node alive.
pub(super) struct GroupHandler {
    pub(super) handle: WeakHandle,
    pub(super) me: NodeId,
    pub(super) leadership: Arc<Leadership>,
    pub(super) wire: Arc<OnceLock<Wire>>,
    /// For nodes that join.
    pub(super) welcome: Welcome,
    /// What this node measures.
    pub(super) figures: Figures,
    pub(super) streams: Arc<OnceLock<Arc<dyn StreamServer>>>,
    pub(super) moved: Moved,
    pub(super) removal: Removal,
    /// Messages that were refused.
    pub(super) refused: Seldom,
}

impl GroupHandler {
    /// Answers a question that node `from` asked.
    pub(super) async fn answer(&self, from: NodeId, request: Request) -> Answer {
        match self.try_answer(from, request).await {
            Ok(answer) => answer,
            Err(error) => Answer::Failed(error.into()),
        }
    }

    async fn try_answer(&self, from: NodeId, request: Request) -> Result<Answer, Error> {
        let handle = self.handle.upgrade().ok_or(Error::Stopped)?;
        match request {
            Request::Propose(command) => {
                let outcome = self.agree(&handle, command).await?;
                Ok(Answer::Outcome { outcome, applied: handle.status().applied })
            }
            Request::Lease { process } => self.lease(&handle, from, process).await,
            Request::GiveBack { process } => {
                self.leadership.give_back(leading(&handle)?, from, process);
                Ok(Answer::Done)
            }
            Request::Loads(loads) => {
                self.leadership.loads(leading(&handle)?, from, loads);
                Ok(Answer::Done)
            }
            Request::Join { token, spec } => self.admit(&handle, Command::AdmitNode { token, spec }).await,
            Request::Replace { token, spec } => self.admit(&handle, Command::ReplaceNode { token, spec }).await,
            Request::Introduce { spec, process } => {
                self.moved.note(from, spec.address.as_ref(), &handle.view());
                let (outcome, applied) =
                    self.pass_on(&handle, Command::StartNode { node: from, spec, process }).await?;
                Ok(Answer::Outcome { outcome, applied })
            }
            Request::Figures => Ok(Answer::Figures((self.figures)())),
            Request::HandOver(to) => {
                let view = handle.view();
                let to = match to.or_else(|| successor(&handle.status(), &view)) {
                    Some(to) => to,
                    None => return leading(&handle).and(Err(ChangeRefusal::NoSuccessor.into())),
                };
                handle.transfer_leader(to).await?;
                Ok(Answer::Done)
            }
        }
    }

    /// A majority has to confirm, behind the arrival of the question, that this node leads: see [`crate::liveness`].
    async fn lease(&self, handle: &Handle, from: NodeId, process: ProcessId) -> Result<Answer, Error> {
        let term = leading(handle)?;
        let confirmed = handle.read_barrier().await?;
        if leading(handle)? != term {
            return Err(Error::NotLeader { leader: handle.status().leader });
        }
        let view = handle.view();
        match view.nodes.get(&from).map(|node| node.process) {
            Some(latest) if latest == process => {}
            Some(_) => return Ok(Answer::Failed(Failure::TwoProcesses)),
            None => {
                let reason = format!("this node, number {from}, does not belong to the cluster");
                return Ok(Answer::Failed(Failure::Refused(reason)));
            }
        }
        let applied_at_least = confirmed.max(handle.status().applied);
        Ok(match self.leadership.ask(term, from, process, applied_at_least) {
            liveness::Answer::Granted { applied_at_least } => {
                Answer::Lease { length: self.leadership.terms().length, applied_at_least }
            }
            liveness::Answer::NotNow => Answer::Failed(Failure::NotNow),
            liveness::Answer::TwoProcesses { .. } => Answer::Failed(Failure::TwoProcesses),
        })
    }

    /// Agrees on a command as the leader. Nobody takes the place of a node that may still write.
    async fn agree(&self, handle: &Handle, command: Command) -> Result<Outcome, Error> {
        let Command::ReplaceNode { spec, .. } = &command else { return handle.propose(command).await };
        let term = leading(handle)?;
        if self.may_run(&handle.view(), term, &spec.name) {
            return Ok(Outcome::Refused(StateRefusal::NodeAlive(spec.name.clone())));
        }
        handle.propose_in(term, command).await
    }

    /// Whether the process of the node of this name may still run, as far as the leader of the term knows: a node that
    /// was let in and never started held no lease.
    fn may_run(&self, view: &State, term: u64, name: &Name) -> bool {
        let Some((id, node)) = view.nodes.iter().find(|(_, node)| node.name == *name) else { return false };
        let connected = || {
            let peers = self.wire.get().map(|wire| wire.transport.peers()).unwrap_or_default();
            peers.get(id).is_some_and(|peer| peer.state.is_connected())
        };
        let down = || self.leadership.signs(term, view).nodes.get(id) == Some(&Liveness::Down);
        *id == self.me || connected() || (node.starts > 0 && !down())
    }

    /// Agrees on a command for a node that knows no leader, at the leader that this one knows.
    async fn pass_on(&self, handle: &Handle, command: Command) -> Result<(Outcome, u64), Error> {
        match self.agree(handle, command.clone()).await {
            Err(Error::NotLeader { leader: Some(leader) }) if leader != self.me => {
                self.forward(handle, leader, command).await
            }
            outcome => Ok((outcome?, handle.status().applied)),
        }
    }

    async fn admit(&self, handle: &Handle, command: Command) -> Result<Answer, Error> {
        // Whoever asks knows none of the nodes, so this one says in full why nobody decides.
        let in_words = |error: Error| match error {
            Error::NotLeader { .. } => Error::RefusedByPeer { reason: self.reasons(handle).explain(&error) },
            other => other,
        };
        let (outcome, applied) = self.pass_on(handle, command).await.map_err(in_words)?;
        let node = match outcome {
            Outcome::NodeAdmitted(node) => node,
            Outcome::Refused(refusal) => return Ok(Answer::NotJoined(refusal)),
            other => return Ok(Answer::Failed(Failure::Refused(format!("an unexpected outcome: {other:?}")))),
        };
        // The state here may be older than the leader's; what it names is enough to find the leader.
        let mut status = handle.watch_status();
        let _seen = tokio::time::timeout(FORWARDING, status.wait_for(|status| status.applied >= applied)).await;
        let view = handle.view();
        let Some(cluster) = view.cluster else {
            return Ok(Answer::Failed(Failure::Refused("the cluster does not know itself yet".to_owned())));
        };
        let others = view.nodes.iter().filter(|(id, _)| **id != node);
        let others = others.filter_map(|(id, is)| Some((*id, is.name.clone(), is.address.clone()?))).collect();
        Ok(Answer::Joined(Joined { cluster, node, others, welcome: self.welcome.clone() }))
    }

    /// Whether a node is heard beyond Raft's messages. A certificate proves a name; which id goes with it, and whether
    /// it still belongs to the cluster, the state says.
    fn belongs(&self, peer: &Peer) -> bool {
        peer.is_member && self.handle.upgrade().is_some_and(|handle| is_known(&handle.view(), peer))
    }

    fn reasons(&self, handle: &Handle) -> Reasons {
        let peers = self.wire.get().map(|wire| wire.transport.peers()).unwrap_or_default();
        let (view, status) = (handle.view(), handle.status());
        let removed = self.removal.look(self.me, &view, &status, &peers);
        Reasons::new(self.me, view, status, peers, removed)
    }

    async fn forward(&self, handle: &Handle, leader: NodeId, command: Command) -> Result<(Outcome, u64), Error> {
        let wire = self.wire.get().ok_or(Error::NotLeader { leader: Some(leader) })?;
        let limit = handle.proposal_timeout().saturating_add(FORWARDING);
        let asked = wire.transport.request(leader, Request::Propose(command).encode()?, limit).await;
        match Answer::decode(&asked.map_err(|error| from_transport(leader, error))?)? {
            Answer::Outcome { outcome, applied } => Ok((outcome, applied)),
            Answer::Failed(failure) => Err(failure.into()),
            other => Err(unexpected(other)),
        }
    }
}

/// Whether the state names a node as it names itself. One that it does not name was removed, never let in, or is not
/// known here yet.
fn is_known(view: &State, peer: &Peer) -> bool {
    view.nodes.get(&peer.identity.node).is_some_and(|node| node.name == peer.identity.name)
}

/// The term that this node leads, with a complete view.
fn leading(handle: &Handle) -> Result<u64, Error> {
    let status = handle.status();
    if status.ready { Ok(status.term) } else { Err(Error::NotLeader { leader: status.leader }) }
}

impl Handler for GroupHandler {
    fn raft(&self, from: NodeId, message: Vec<u8>) {
        let Some(handle) = self.handle.upgrade() else { return };
        if let Err(error) = handle.receive(from, &message)
            && self.refused.now(Instant::now())
        {
            let refused = handle.status().refused_messages;
            tracing::warn!(%from, %error, refused, "a message of another node was refused; further ones are counted");
        }
    }

    async fn request(&self, from: Arc<Peer>, body: Vec<u8>) -> Vec<u8> {
        let answer = match Request::decode(&body) {
            // Whoever connects has proved the name that it gives, where connections are protected at all.
            Ok(Request::Join { spec, .. } | Request::Replace { spec, .. } | Request::Introduce { spec, .. })
                if spec.name != from.identity.name =>
            {
                Answer::Failed(Failure::Refused(format!("{} is not {}", from.identity.name, spec.name)))
            }
            // Without certificates whoever reaches the address may give any name.
            Ok(Request::Replace { token: None, .. }) if from.certificate_expires_at.is_none() => {
                Answer::NotJoined(StateRefusal::NoSuchJoinToken)
            }
            Ok(request @ (Request::Join { .. } | Request::Replace { .. })) => {
                self.answer(from.identity.node, request).await
            }
            Ok(request) if self.belongs(&from) => self.answer(from.identity.node, request).await,
            Ok(_) => Answer::Failed(Failure::Refused("only nodes of the cluster may ask this".to_owned())),
            Err(error) => Answer::Failed(Failure::Refused(format!("the question cannot be read: {error}"))),
        };
        answer.encode()
    }

    async fn serve_stream(&self, from: Arc<Peer>, opening: Bytes, sender: StreamSender) -> Result<(), NotServed> {
        if !self.belongs(&from) {
            return Err(NotServed::Stranger);
        }
        match self.streams.get() {
            Some(server) => server.serve(from, opening, sender).await,
            None => Err(NotServed::Anybody),
        }
    }

    fn unreachable(&self, to: NodeId) {
        if let Some(handle) = self.handle.upgrade() {
            handle.unreachable(to);
        }
    }

    /// A node that was removed is told so. Where the state is older than the node that asks, it is let in: Raft decides
    /// what its messages do, and nothing else of it is heard before the state names it.
    fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        let Some(handle) = self.handle.upgrade() else { return Ok(()) };
        let view = handle.view();
        let (id, name, status) = (peer.identity.node, &peer.identity.name, handle.status());
        if !peer.is_member || view.nodes.is_empty() {
            return Ok(());
        }
        match view.nodes.get(&id) {
            Some(node) if node.name == *name => Ok(()),
            Some(node) => {
                let reason = format!("node {id} is {0}, not {name}: set node.name back to {0}", node.name);
                Err(Refusal::new(RefusalCode::OtherName, reason))
            }
            // It takes part until the group has agreed that it does not.
            None if status.members.iter().any(|member| member.node == id) => Ok(()),
            None if id <= view.highest_node => {
                let reason = format!("{name}, as node {id}, was removed from the cluster");
                Err(Refusal::new(RefusalCode::Removed, reason))
            }
            // Whoever was let in was let in by this node.
            None if status.ready => {
                let reason = format!("{name}, as node {id}, was never let into the cluster");
                Err(Refusal::new(RefusalCode::NotAdmitted, reason))
            }
            None => Ok(()),
        }
    }
}
