//! Nodes: admitted, started, asked to be something else, removed.

use super::{Entry, State, later};
use crate::command::CURRENT_VERSION;
use crate::ids::{NodeId, Timestamp};
use crate::name::Name;
use crate::node::{
    JoinToken, MAXIMUM_ADDRESS_BYTES, MAXIMUM_JOIN_TOKENS, MAXIMUM_NODES, MemberRole, Node, NodeSpec, ProcessId,
};
use crate::outcome::{Outcome, Refusal, TooMany};

impl State {
    /// A start as the first two versions knew it, of the only node of a cluster.
    pub(super) fn node_started(&mut self, id: NodeId, name: &Name, region: &Name, at: Timestamp) -> Outcome {
        let spec = NodeSpec { name: name.clone(), region: region.clone(), address: None, supports: 2 };
        self.started(id, &spec, ProcessId::default(), at);
        Outcome::Done
    }

    /// The first node founds the cluster, every other one was admitted before.
    pub(super) fn start_node(
        &mut self,
        id: NodeId,
        spec: &NodeSpec,
        process: ProcessId,
        entry: Entry,
    ) -> Result<Outcome, Refusal> {
        if !self.nodes.contains_key(&id) && !self.nodes.is_empty() {
            return Err(Refusal::NoSuchNode(id));
        }
        self.verify_spec(spec, Some(id))?;
        let latest = self.nodes.get(&id).filter(|node| node.starts > 0).map(|node| node.process);
        match latest.filter(|_| entry.version >= 4) {
            // Who got no answer asks again, and the first word may have been heard: what it owns by now stays as it is.
            Some(latest) if latest == process => {}
            // The word of a process that is over arrived late: the present one goes on.
            Some(latest) if process.is_before(latest) => return Err(Refusal::OtherProcess(id)),
            _ => self.started(id, spec, process, entry.at),
        }
        Ok(Outcome::Done)
    }

    fn started(&mut self, id: NodeId, spec: &NodeSpec, process: ProcessId, at: Timestamp) {
        self.highest_node = self.highest_node.max(id);
        let before = self.nodes.remove(&id);
        self.end_token(before.as_ref().and_then(|node| node.admitted_by));
        let node = Node {
            role: before.as_ref().map_or(MemberRole::Voter, |node| node.role),
            draining: before.as_ref().is_some_and(|node| node.draining),
            process,
            starts: before.as_ref().map_or(0, |node| node.starts).saturating_add(1),
            started_at: at,
            admitted_by: before.as_ref().and_then(|node| node.admitted_by),
            ..admitted(spec, MemberRole::Voter, at)
        };
        self.nodes.insert(id, node);
        for partition in self.partitions.values_mut().filter(|partition| partition.owner == Some(id)) {
            partition.begin_again();
        }
    }

    pub(super) fn issue_join_token(
        &mut self,
        hash: [u8; 32],
        token: &JoinToken,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let waiting = self.join_tokens.values().filter(|waiting| waiting.expires_at > at).count();
        if waiting >= MAXIMUM_JOIN_TOKENS {
            return Err(Refusal::TooMany { what: TooMany::JoinTokens, maximum: MAXIMUM_JOIN_TOKENS });
        }
        self.join_tokens.retain(|_, waiting| waiting.expires_at > at);
        self.join_tokens.insert(hash, token.clone());
        Ok(Outcome::Done)
    }

    /// Asked again with the same token and name before its first start, a node gets the same answer as long as the
    /// token is good: it may have lost the first.
    pub(super) fn admit_node(&mut self, hash: [u8; 32], spec: &NodeSpec, at: Timestamp) -> Result<Outcome, Refusal> {
        let role = self.good_token(hash, at)?.role;
        if let Some((id, node)) = self.admitted_with(hash) {
            if node.starts > 0 || node.name != spec.name || node.region != spec.region {
                return Err(Refusal::NoSuchJoinToken);
            }
            self.verify_joining(spec, Some(id))?;
            self.node_mut(id)?.address.clone_from(&spec.address);
            return Ok(Outcome::NodeAdmitted(id));
        }
        self.verify_joining(spec, None)?;
        if self.nodes.len() >= MAXIMUM_NODES {
            return Err(Refusal::TooMany { what: TooMany::Nodes, maximum: MAXIMUM_NODES });
        }
        Ok(self.admit(Node { admitted_by: Some(hash), ..admitted(spec, role, at) }))
    }

    /// A token that is good still. It is kept until the node that used it starts, so that its end is known when the
    /// node asks again.
    fn good_token(&self, hash: [u8; 32], at: Timestamp) -> Result<&JoinToken, Refusal> {
        self.join_tokens.get(&hash).filter(|token| token.expires_at > at).ok_or(Refusal::NoSuchJoinToken)
    }

    fn admitted_with(&self, hash: [u8; 32]) -> Option<(NodeId, &Node)> {
        self.nodes.iter().find(|(_, node)| node.admitted_by == Some(hash)).map(|(id, node)| (*id, node))
    }

    fn end_token(&mut self, hash: Option<[u8; 32]>) {
        if let Some(hash) = hash {
            self.join_tokens.remove(&hash);
        }
    }

    /// What the lost one owned keeps its owner until another one is chosen, as when a node is removed. Asked again
    /// before its first start, the node gets the same answer. That the lost one does not run is looked at before this
    /// is proposed.
    pub(super) fn replace_node(
        &mut self,
        token: Option<[u8; 32]>,
        spec: &NodeSpec,
        at: Timestamp,
    ) -> Result<Outcome, Refusal> {
        let lost = self.nodes.iter().find(|(_, node)| node.name == spec.name).map(|(id, node)| (*id, node.clone()));
        let (id, lost) = lost.ok_or_else(|| Refusal::NoNodeOfName(spec.name.clone()))?;
        if let Some(hash) = token {
            self.good_token(hash, at)?;
            if self.admitted_with(hash).is_some_and(|(user, _)| user != id) {
                return Err(Refusal::NoSuchJoinToken);
            }
        }
        self.verify_joining(spec, Some(id))?;
        let admitted = Node { admitted_by: token, ..admitted(spec, lost.role, at) };
        if lost.starts == 0 {
            let admitted_by = token.or(lost.admitted_by);
            self.end_token(lost.admitted_by.filter(|before| Some(*before) != admitted_by));
            self.nodes.insert(id, Node { admitted_by, ..admitted });
            return Ok(Outcome::NodeAdmitted(id));
        }
        self.keep_a_voter(id)?;
        self.forget(id);
        Ok(self.admit(admitted))
    }

    fn admit(&mut self, node: Node) -> Outcome {
        let id = NodeId(self.highest_node.0.saturating_add(1));
        self.highest_node = id;
        self.nodes.insert(id, node);
        Outcome::NodeAdmitted(id)
    }

    fn verify_joining(&self, spec: &NodeSpec, instead_of: Option<NodeId>) -> Result<(), Refusal> {
        self.verify_spec(spec, instead_of)?;
        if spec.address.is_none() {
            return Err(Refusal::InvalidAddress("a node that joins others needs an address".to_owned()));
        }
        if spec.supports < self.agreed_version {
            return Err(Refusal::TooOld { node: spec.name.clone(), knows: spec.supports, needed: self.agreed_version });
        }
        Ok(())
    }

    pub(super) fn set_role(&mut self, id: NodeId, role: MemberRole) -> Result<Outcome, Refusal> {
        if role == MemberRole::Learner {
            self.keep_a_voter(id)?;
        }
        self.node_mut(id)?.role = role;
        Ok(Outcome::Done)
    }

    pub(super) fn set_draining(&mut self, id: NodeId, draining: bool) -> Result<Outcome, Refusal> {
        self.node_mut(id)?.draining = draining;
        Ok(Outcome::Done)
    }

    /// A process that is not the latest any more has nothing to say.
    pub(super) fn leave_node(&mut self, id: NodeId, process: ProcessId) -> Result<Outcome, Refusal> {
        let node = self.node_mut(id)?;
        if node.process != process {
            return Err(Refusal::OtherProcess(id));
        }
        node.leaving = true;
        Ok(Outcome::Done)
    }

    /// Its partitions keep their owner until another one is chosen: it may still be running.
    pub(super) fn remove_node(&mut self, id: NodeId) -> Result<Outcome, Refusal> {
        self.node_mut(id)?;
        self.keep_a_voter(id)?;
        self.forget(id);
        Ok(Outcome::Done)
    }

    fn forget(&mut self, id: NodeId) {
        let gone = self.nodes.remove(&id);
        self.end_token(gone.and_then(|node| node.admitted_by));
        for partition in self.partitions.values_mut().filter(|partition| partition.moving_to == Some(id)) {
            partition.moving_to = None;
        }
    }

    /// A version is agreed on only when every node's build knows it: a node that meets a higher one stops.
    pub(super) fn raise_version(&mut self, to: u16) -> Result<Outcome, Refusal> {
        let behind = self.nodes.values().find(|node| node.supports < to);
        if let Some(node) = behind {
            return Err(Refusal::TooOld { node: node.name.clone(), knows: node.supports, needed: to });
        }
        if to > CURRENT_VERSION {
            return Err(Refusal::NoSuchVersion(to));
        }
        self.agreed_version = self.agreed_version.max(to);
        Ok(Outcome::Done)
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, Refusal> {
        self.nodes.get_mut(&id).ok_or(Refusal::NoSuchNode(id))
    }

    fn keep_a_voter(&self, without: NodeId) -> Result<(), Refusal> {
        let left = self.nodes.iter().any(|(id, node)| *id != without && node.role == MemberRole::Voter);
        if left { Ok(()) } else { Err(Refusal::LastVoter) }
    }

    fn verify_spec(&self, spec: &NodeSpec, own: Option<NodeId>) -> Result<(), Refusal> {
        if let Some((other, _)) = self.nodes.iter().find(|(id, node)| Some(**id) != own && node.name == spec.name) {
            return Err(Refusal::NodeNameTaken { name: spec.name.clone(), node: *other });
        }
        match spec.address.as_deref() {
            Some(address) if address.len() > MAXIMUM_ADDRESS_BYTES || !has_port(address) => {
                Err(Refusal::InvalidAddress(format!("{address:?} is not host:port")))
            }
            _ => Ok(()),
        }
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn admitted(spec: &NodeSpec, role: MemberRole, at: Timestamp) -> Node {
    Node {
        name: spec.name.clone(),
        region: spec.region.clone(),
        address: spec.address.clone(),
        role,
        draining: false,
        leaving: false,
        supports: spec.supports,
        process: ProcessId::default(),
        starts: 0,
        started_at: later(Timestamp::default(), at),
        admitted_by: None,
    }
}
