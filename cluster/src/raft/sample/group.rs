//! A group of replicas over a network made of a list, for scripted tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ::raft::eraftpb::{Message, MessageType};
use causeway_core::ids::NodeId;
use protobuf::Message as _;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{Answer, name, proposal, token};
use crate::error::Error;
use crate::raft::membership::{ChangeMember, MemberChange};
use crate::raft::message::{MessageKind, decode};
use crate::raft::outbox::Outbox;
use crate::raft::reads::Read;
use crate::raft::replica::Replica;
use crate::raft::settings::{Settings, Start};
use crate::raft::transfer::Transfer;
use crate::status::MemberState;

/// A message on its way: to whom, of which kind, what.
type Letter = (u64, MessageKind, Vec<u8>);

fn open(bytes: &[u8], to: u64) -> Message {
    let from = Message::parse_from_bytes(bytes).unwrap().from;
    decode(bytes, NodeId(from), NodeId(to)).unwrap()
}

#[derive(Clone, Default)]
struct Post(Arc<Mutex<Vec<Letter>>>);

impl Outbox for Post {
    fn send(&mut self, to: NodeId, kind: MessageKind, bytes: Vec<u8>) {
        self.0.lock().unwrap().push((to.0, kind, bytes));
    }
}

/// Nodes 1 to 3 found the group, all others join it.
pub(crate) struct Group {
    directory: TempDir,
    post: Post,
    pub(crate) replicas: BTreeMap<u64, Replica>,
    /// Nodes that nothing reaches and that reach nobody.
    pub(crate) cut: Vec<u64>,
    /// Snapshots that were delivered.
    pub(crate) snapshots: usize,
    requests: u128,
}

impl Group {
    pub(crate) fn new() -> Self {
        let mut group = Self {
            directory: tempfile::tempdir().unwrap(),
            post: Post::default(),
            replicas: BTreeMap::new(),
            cut: Vec::new(),
            snapshots: 0,
            requests: 0,
        };
        for id in 1..=3 {
            group.open(id);
        }
        group
    }

    /// Starts a node, anew when it runs.
    pub(crate) fn open(&mut self, id: u64) {
        let founders: Vec<NodeId> = (1..=3).map(NodeId).collect();
        let start = if id <= 3 { Start::Found { voters: founders } } else { Start::Join };
        let settings = Settings {
            start,
            snapshot_every_entries: 10,
            ..Settings::new(self.directory.path().join(id.to_string()), NodeId(id))
        };
        settings.validate().unwrap();
        self.replicas.remove(&id);
        let mut replica = Replica::open(&settings, Box::new(self.post.clone())).unwrap();
        replica.begin().unwrap();
        self.replicas.insert(id, replica);
    }

    pub(crate) fn replica(&mut self, id: u64) -> &mut Replica {
        self.replicas.get_mut(&id).unwrap()
    }

    /// Delivers until nobody has anything to say.
    pub(crate) fn settle(&mut self) {
        loop {
            let letters = std::mem::take(&mut *self.post.0.lock().unwrap());
            if letters.is_empty() {
                return;
            }
            for letter in letters {
                self.deliver(letter);
            }
        }
    }

    /// Takes the last message of a kind to a node from the network; everything else that is on its way is lost.
    pub(crate) fn take(&mut self, to: u64, kind: MessageType) -> Message {
        let letters = std::mem::take(&mut *self.post.0.lock().unwrap());
        let to_node = letters.iter().filter(|letter| letter.0 == to).map(|(_, _, bytes)| bytes);
        let mut decoded = to_node.map(|bytes| open(bytes, to));
        decoded.rfind(|message| message.get_msg_type() == kind).unwrap()
    }

    /// Gives a message to a node; what the node says stays on the network.
    pub(crate) fn give(&mut self, to: u64, message: Message) {
        let replica = self.replica(to);
        replica.step(message).unwrap();
        replica.turn().unwrap();
        replica.answer();
    }

    /// Has a node read; what it asks others stays on the network.
    pub(crate) fn ask(&mut self, at: u64) -> oneshot::Receiver<Result<u64, Error>> {
        let (reply, answer) = oneshot::channel();
        let request = self.request();
        let replica = self.replica(at);
        replica.read(Read { request, reply });
        replica.turn().unwrap();
        answer
    }

    fn deliver(&mut self, (to, kind, bytes): Letter) {
        let message = open(&bytes, to);
        let from = message.from;
        assert_eq!(kind == MessageKind::Snapshot, message.get_msg_type() == MessageType::MsgSnapshot);
        let arrives = !self.cut.contains(&from) && !self.cut.contains(&to) && self.replicas.contains_key(&to);
        if kind == MessageKind::Snapshot {
            self.snapshots += usize::from(arrives);
            if let Some(sender) = self.replicas.get_mut(&from) {
                sender.snapshot_sent(NodeId(to), arrives);
            }
        }
        if arrives {
            let replica = self.replica(to);
            replica.step(message).unwrap();
            replica.turn().unwrap();
            replica.answer();
        }
    }

    pub(crate) fn tick(&mut self, times: usize) {
        for _ in 0..times {
            for replica in self.replicas.values_mut() {
                replica.tick().unwrap();
                replica.answer();
            }
            self.settle();
        }
    }

    /// The leader among those that are not cut off, after as many elections as it takes.
    pub(crate) fn leader(&mut self) -> u64 {
        for _ in 0..500 {
            self.tick(1);
            let leads =
                |(id, replica): (&u64, &Replica)| (replica.status().ready && !self.cut.contains(id)).then_some(*id);
            if let Some(id) = self.replicas.iter().find_map(leads) {
                return id;
            }
        }
        panic!("nobody was elected");
    }

    fn request(&mut self) -> u128 {
        self.requests += 1;
        self.requests
    }

    /// Asks one replica for something and lets the group settle.
    fn call(&mut self, at: u64, call: impl FnOnce(&mut Replica)) {
        let replica = self.replica(at);
        call(replica);
        replica.turn().unwrap();
        replica.answer();
        self.settle();
    }

    pub(crate) fn propose(&mut self, at: u64, number: u8) -> Answer {
        let (proposal, answer) = proposal(self.request(), token(number));
        self.call(at, |replica| replica.propose(proposal));
        answer
    }

    /// Has commands agreed on.
    pub(crate) fn agree(&mut self, numbers: std::ops::RangeInclusive<u8>) {
        for number in numbers {
            let leader = self.leader();
            assert!(self.propose(leader, number).try_recv().unwrap().is_ok());
        }
    }

    pub(crate) fn change(&mut self, at: u64, change: MemberChange) -> Answer {
        let (reply, answer) = oneshot::channel();
        let request = self.request();
        self.call(at, |replica| replica.change_member(ChangeMember { change, request, reply }));
        answer
    }

    /// Has a change agreed on.
    pub(crate) fn changed(&mut self, change: MemberChange) {
        let leader = self.leader();
        let answer = self.change(leader, change).try_recv();
        assert!(matches!(answer, Ok(Ok(_))), "{change:?}: {answer:?}");
    }

    pub(crate) fn transfer(&mut self, at: u64, to: u64) -> oneshot::Receiver<Result<(), Error>> {
        let (reply, answer) = oneshot::channel();
        self.call(at, |replica| replica.transfer_leader(Transfer { to: NodeId(to), reply }));
        answer
    }

    pub(crate) fn read(&mut self, at: u64) -> oneshot::Receiver<Result<u64, Error>> {
        let (reply, answer) = oneshot::channel();
        let request = self.request();
        self.call(at, |replica| replica.read(Read { request, reply }));
        answer
    }

    /// What a node takes each member for.
    pub(crate) fn roles(&self, at: u64) -> Vec<(u64, MemberState)> {
        self.replicas[&at].status().members.iter().map(|member| (member.node.0, member.role)).collect()
    }

    pub(crate) fn assert_equal(&mut self, nodes: &[u64]) {
        self.tick(10);
        let first = &self.replicas[&nodes[0]];
        assert!(first.state.tokens.contains_key(&name("token-1")));
        for id in nodes {
            assert_eq!(self.replicas[id].state, first.state, "replica {id}");
            assert_eq!(self.replicas[id].applied, first.applied, "replica {id}");
            assert_eq!(self.replicas[id].membership, first.membership, "replica {id}");
        }
    }
}
