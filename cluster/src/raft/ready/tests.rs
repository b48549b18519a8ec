//! Three voters over a network made of a list: the same replica, with others who have to say yes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ::raft::eraftpb::{ConfChange, ConfChangeType, Message, MessageType};
use causeway_core::ids::NodeId;
use tempfile::TempDir;

use crate::error::Error;
use crate::raft::outbox::Outbox;
use crate::raft::replica::Replica;
use crate::raft::sample::{Answer, proposal, token};
use crate::raft::settings::Settings;
use crate::status::Role;

#[derive(Clone, Default)]
struct Post(Arc<Mutex<Vec<Message>>>);

impl Outbox for Post {
    fn send(&mut self, message: Message) {
        self.0.lock().unwrap().push(message);
    }
}

struct Network {
    directory: TempDir,
    post: Post,
    replicas: BTreeMap<u64, Replica>,
    cut: Vec<u64>,
    delivered: BTreeMap<&'static str, usize>,
    requests: u128,
}

impl Network {
    fn new() -> Self {
        let mut network = Self {
            directory: tempfile::tempdir().unwrap(),
            post: Post::default(),
            replicas: BTreeMap::new(),
            cut: Vec::new(),
            delivered: BTreeMap::new(),
            requests: 0,
        };
        for id in 1..=3 {
            network.open(id);
        }
        network
    }

    fn open(&mut self, id: u64) {
        let settings = Settings {
            voters: (1..=3).map(NodeId).collect(),
            snapshot_every_entries: 10,
            ..Settings::new(self.directory.path().join(id.to_string()), NodeId(id))
        };
        settings.validate().unwrap();
        self.replicas.remove(&id);
        let mut replica = Replica::open(&settings, Box::new(self.post.clone())).unwrap();
        replica.begin().unwrap();
        self.replicas.insert(id, replica);
    }

    /// Delivers until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let messages = std::mem::take(&mut *self.post.0.lock().unwrap());
            if messages.is_empty() {
                return;
            }
            for message in messages {
                if self.cut.contains(&message.from) || self.cut.contains(&message.to) {
                    continue;
                }
                if message.get_msg_type() == MessageType::MsgSnapshot {
                    *self.delivered.entry("snapshot").or_default() += 1;
                }
                let Some(replica) = self.replicas.get_mut(&message.to) else { continue };
                // A member that was removed, or one that left the term behind, refuses: as good as a lost message.
                let _ = replica.node.step(message);
                replica.turn().unwrap();
                replica.answer();
            }
        }
    }

    fn tick(&mut self, times: usize) {
        for _ in 0..times {
            for replica in self.replicas.values_mut() {
                replica.tick().unwrap();
            }
            self.settle();
        }
    }

    /// The leader among those that are not cut off, after as many elections as it takes.
    fn leader(&mut self) -> u64 {
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

    fn propose(&mut self, at: u64, number: u8) -> Answer {
        self.requests += 1;
        let (proposal, answer) = proposal(self.requests, token(number));
        let replica = self.replicas.get_mut(&at).unwrap();
        replica.propose(proposal);
        replica.turn().unwrap();
        replica.answer();
        self.settle();
        answer
    }

    fn assert_equal(&mut self, members: &[u64]) {
        self.tick(10);
        let first = &self.replicas[&members[0]];
        assert!(first.state.tokens.contains_key(&crate::raft::sample::name("token-1")));
        for id in members {
            assert_eq!(self.replicas[id].state, first.state, "replica {id}");
            assert_eq!(self.replicas[id].applied, first.applied, "replica {id}");
        }
    }
}

#[test]
fn three_voters_elect_one_leader_and_agree() {
    let mut network = Network::new();
    let leader = network.leader();
    let mut answer = network.propose(leader, 1);
    assert!(answer.try_recv().unwrap().is_ok());
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let refused = network.propose(follower, 2).try_recv().unwrap();
    assert!(matches!(refused, Err(Error::NotLeader { leader: Some(node) }) if node.0 == leader));
    network.assert_equal(&[1, 2, 3]);
}

#[test]
fn one_of_three_may_be_started_anew_at_any_time() {
    let mut network = Network::new();
    for number in 1..=9 {
        let leader = network.leader();
        assert!(network.propose(leader, number).try_recv().unwrap().is_ok());
        network.open(u64::from(number % 3) + 1);
    }
    network.leader();
    network.assert_equal(&[1, 2, 3]);
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_its_proposal_is_known_to_be_lost() {
    let mut network = Network::new();
    let old = network.leader();
    network.propose(old, 1);
    network.cut = vec![old];
    let mut lost = network.propose(old, 2);
    assert!(lost.try_recv().is_err(), "answered without a quorum");
    let new = network.leader();
    assert_ne!(new, old);
    network.tick(20);
    assert_ne!(network.replicas[&old].status().role, Role::Leader);
    for number in 3..6 {
        assert!(network.propose(new, number).try_recv().unwrap().is_ok());
    }
    network.cut.clear();
    network.tick(20);
    assert!(matches!(lost.try_recv(), Ok(Err(Error::NotLeader { .. }))));
    network.assert_equal(&[1, 2, 3]);
    assert!(!network.replicas[&old].state.tokens.contains_key(&crate::raft::sample::name("token-2")));
}

#[test]
fn a_follower_that_was_away_too_long_catches_up_by_a_snapshot_and_keeps_it() {
    let mut network = Network::new();
    let leader = network.leader();
    let away = (1..=3).find(|id| *id != leader).unwrap();
    network.cut = vec![away];
    for number in 1..=60 {
        assert!(network.propose(leader, number).try_recv().unwrap().is_ok());
    }
    assert_eq!(network.delivered.get("snapshot"), None);
    network.cut.clear();
    network.tick(20);
    assert!(network.delivered["snapshot"] > 0);
    network.assert_equal(&[1, 2, 3]);
    network.open(away);
    network.leader();
    network.assert_equal(&[1, 2, 3]);
}

#[test]
fn a_change_of_members_is_applied_and_survives_snapshots_and_restarts() {
    let mut network = Network::new();
    let leader = network.leader();
    let removed = (1..=3).find(|id| *id != leader).unwrap();
    let mut change = ConfChange::default();
    change.set_change_type(ConfChangeType::RemoveNode);
    change.node_id = removed;
    let replica = network.replicas.get_mut(&leader).unwrap();
    replica.node.propose_conf_change(Vec::new(), change).unwrap();
    replica.turn().unwrap();
    network.settle();
    network.cut = vec![removed];
    let rest: Vec<u64> = (1..=3).filter(|id| *id != removed).collect();
    for number in 1..=30 {
        let leader = network.leader();
        assert!(network.propose(leader, number).try_recv().unwrap().is_ok());
    }
    for id in &rest {
        network.open(*id);
        let voters: Vec<u64> = network.replicas[id].membership.voters.iter().map(|node| node.0).collect();
        assert_eq!(voters, rest);
    }
    network.leader();
    network.assert_equal(&rest);
}
