//! Who uses the group: sets it up, proposes, reads, and asks for changes, at any node and without regard to what goes
//! on.

use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition};
use causeway_core::ids::{ClusterId, InstanceIdentity, NodeId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::node::{JoinToken, MemberRole, ProcessId};
use causeway_core::outcome::Outcome;
use causeway_core::partition::QueueId;
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use tokio::sync::oneshot;

use super::duties::{any_change, is_set_up, spec};
use super::node::{Awaited, Call};
use super::residents::Asker;
use super::world::{Happening, World};
use super::{Defect, Violation};
use crate::raft::encode_command;
use crate::raft::membership::{ChangeMember, MemberChange};
use crate::raft::reads::Read;
use crate::raft::replica::Proposal;
use crate::raft::transfer::Transfer;

/// Nodes that are admitted at the beginning.
pub(super) const NODES: u64 = 5;
/// The most that are admitted at all; clients remove some.
const MOST_NODES: u64 = 7;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

impl World {
    /// One thing that a client does.
    pub(super) fn work(&mut self) -> Result<(), Violation> {
        let running: Vec<NodeId> = self.nodes.values().filter(|node| node.life.is_some()).map(|node| node.id).collect();
        let Some(at) = self.random.pick(&running) else { return Ok(()) };
        let Some((life, _)) = self.life(at) else { return Ok(()) };
        let view = life.replica.state();
        let agreed = NodeId(self.random.within(1..self.history.state().highest_node.0 + 1));
        // Where all nodes drain, nobody may be given anything.
        if let Some((node, _)) = view.nodes.iter().find(|(_, node)| node.draining && self.is_calm()) {
            self.propose(at, Command::SetDraining { node: *node, draining: false });
            return Ok(());
        }
        // Whoever lives on the nodes shall get somewhere between two wishes.
        let wishes = !self.is_calm() && (!self.setup.has_residents || self.random.chance(150));
        let draw = self.random.within(if wishes { 0..100 } else { 0..75 });
        match draw {
            _ if !is_set_up(&view) => self.propose(at, next_to_set_up(&view, self.setup.partitions)),
            0..50 => {
                let number = self.random.within(0..40);
                self.propose(at, Command::PutToken { name: name(&format!("token-{number}")), hash: [7; 32] });
            }
            50..75 => self.read(at)?,
            75..80 => {
                let kind = self.random.within(0..4);
                self.change(at, any_change(agreed, kind));
            }
            80..84 => self.hand_over(at, agreed),
            _ => {
                if let Some(command) = self.wish(agreed, &view) {
                    self.propose(at, command);
                }
            }
        }
        Ok(())
    }

    /// What operators ask of the state.
    fn wish(&mut self, node: NodeId, view: &State) -> Option<Command> {
        let roles = [MemberRole::Voter, MemberRole::Voter, MemberRole::Learner];
        Some(match self.random.within(0..20) {
            0..6 => Command::SetRole { node, role: self.random.pick(&roles)? },
            6..10 => Command::SetDraining { node, draining: self.random.chance(400) },
            10..16 => {
                let partitions: Vec<_> = view.partitions.iter().collect();
                let (id, partition) = self.random.pick(&partitions)?;
                Command::Move { partition: id.clone(), epoch: partition.epoch, to: node }
            }
            16..18 if view.nodes.len() > 3 => Command::RemoveNode { node },
            _ if view.highest_node.0 < MOST_NODES => next_to_admit(view),
            _ => return None,
        })
    }

    /// Proposes where the node believes the leader to be.
    pub(super) fn propose(&mut self, at: NodeId, command: Command) {
        self.propose_for(at, command, None);
    }

    /// The same for whoever waits for the answer.
    pub(super) fn propose_for(&mut self, at: NodeId, command: Command, asker: Option<Asker>) {
        let Some((life, _)) = self.life(at) else { return };
        match life.status.leader {
            Some(leader) if leader != at => self.post(at, leader, Happening::Asked(Box::new(command), asker)),
            // Also where none is known: it is to be refused then.
            _ => self.propose_here(at, command, None, false, asker),
        }
    }

    /// Proposes to this replica, in a term or in any; `taking` while a node gets no lease because of it.
    pub(super) fn propose_here(
        &mut self,
        at: NodeId,
        command: Command,
        term: Option<u64>,
        taking: bool,
        asker: Option<Asker>,
    ) {
        let request = self.request();
        let time = Timestamp(i64::try_from(self.now).unwrap());
        let envelope = Envelope { version: CURRENT_VERSION, request, at: time, command };
        let data = encode_command(&envelope).unwrap();
        let (reply, answer) = oneshot::channel();
        self.wait(at, Awaited::Outcome { request, taking, asker, answer });
        self.arrive(at, Call::Propose(Proposal { data, request, term, reply }));
    }

    pub(super) fn change(&mut self, at: NodeId, change: MemberChange) {
        let request = self.request();
        let (reply, answer) = oneshot::channel();
        self.wait(at, Awaited::Outcome { request, taking: false, asker: None, answer });
        self.arrive(at, Call::Change(ChangeMember { change, request, reply }));
    }

    pub(super) fn hand_over(&mut self, at: NodeId, to: NodeId) {
        let (reply, answer) = oneshot::channel();
        self.wait(at, Awaited::Transfer { answer });
        self.arrive(at, Call::Transfer(Transfer { to, reply }));
    }

    fn read(&mut self, at: NodeId) -> Result<(), Violation> {
        let floor = self.history.answered();
        if self.setup.defect == Some(Defect::UnconfirmedRead) {
            let Some(applied) = self.life(at).map(|(life, _)| life.status.applied) else { return Ok(()) };
            return self.history.read(applied, floor, applied);
        }
        let request = self.request();
        let (reply, answer) = oneshot::channel();
        self.wait(at, Awaited::Read { floor, answer, lease: None });
        self.arrive(at, Call::Read(Read { request, reply }));
        Ok(())
    }

    /// Somebody gets an answer who proposed; judged against what was agreed.
    pub(super) fn answered(&mut self, request: u128, outcome: &Outcome) -> Result<(), Violation> {
        let position = self.history.outcome(request, outcome)?;
        self.stats.answered += 1;
        self.judge_durability(position)
    }
}

/// The next thing that a cluster needs before it can work.
fn next_to_set_up(view: &State, partitions: u32) -> Command {
    let stream = view.streams.values().next();
    if view.cluster.is_none() {
        Command::Initialise { cluster: ClusterId(1) }
    } else if view.nodes.is_empty() {
        Command::StartNode { node: NodeId(1), spec: spec(NodeId(1)), process: ProcessId(0) }
    } else if view.highest_node.0 < NODES {
        next_to_admit(view)
    } else if let Some(missing) = ["one", "two"].into_iter().find(|text| !view.instances.contains_key(&name(text))) {
        instance(missing)
    } else if let Some(stream) = stream {
        let queue = |queue| QueueId { broker: "broker".to_owned(), queue };
        let partition = |number| NewPartition { source: queue(number), target: queue(number) };
        Command::AddPartitions { stream: stream.id, partitions: (0..partitions).map(partition).collect() }
    } else {
        let end = |instance: &str| Endpoint { instance: name(instance), topic: "orders".to_owned() };
        let (source, target) = (end("one"), end("two"));
        let (start, run) = (StartPosition::Earliest, RunOptions::default());
        let spec = StreamSpec { name: name("orders"), source, target, start, tag_expression: "*".to_owned(), run };
        Command::CreateStream { spec }
    }
}

/// The next node gets in: its token is issued, then shown.
fn next_to_admit(view: &State) -> Command {
    let id = view.highest_node.0 + 1;
    let hash = [u8::try_from(id).unwrap(); 32];
    if view.join_tokens.contains_key(&hash) {
        return Command::AdmitNode { token: hash, spec: spec(NodeId(id)) };
    }
    let role = if id.is_multiple_of(4) { MemberRole::Learner } else { MemberRole::Voter };
    Command::IssueJoinToken { hash, token: JoinToken { role, expires_at: Timestamp(i64::MAX) } }
}

fn instance(text: &str) -> Command {
    let spec = InstanceSpec {
        name: name(text),
        region: name("qingdao"),
        name_servers: vec!["127.0.0.1:9876".to_owned()],
        credentials: None,
        tls: None,
    };
    let identity = InstanceIdentity(u64::try_from(text.len()).unwrap() + u64::from(text == "one"));
    Command::PutInstance { spec, identity, expected: None }
}
