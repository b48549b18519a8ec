//! Nodes and ownership between nodes, command by command.

#![allow(clippy::unwrap_used, clippy::panic)] // A helper of a test fails the test.

use causeway_core::checkpoint::Checkpoint;
use causeway_core::codec;
use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition, Progress};
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::{Epoch, Incarnation, InstanceIdentity, NodeId, RuleVersion, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::node::{JoinToken, MemberRole, NodeSpec, Predecessor, ProcessId};
use causeway_core::outcome::{Outcome, Refusal, TooMany};
use causeway_core::partition::{PartitionId, QueueId};
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn spec(text: &str) -> NodeSpec {
    let address = Some(format!("{text}.example:7501"));
    NodeSpec { name: name(text), region: name("hohhot"), address, supports: CURRENT_VERSION }
}

#[derive(Default)]
struct Replica {
    state: State,
    index: u64,
    now: i64,
}

impl Replica {
    /// A cluster that node 1 founded.
    fn founded() -> Self {
        let mut replica = Self::default();
        replica.start(1, spec("one"));
        replica
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let before = self.state.clone();
        let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(self.now), command };
        let outcome = self.state.apply(self.index, &envelope);
        if matches!(outcome, Outcome::Refused(_)) {
            assert_eq!(before, self.state, "a refusal changes nothing");
        }
        let stored = self.state.to_snapshot().unwrap();
        assert_eq!(State::from_snapshot(CURRENT_VERSION, &stored).unwrap(), self.state);
        outcome
    }

    fn start(&mut self, node: u64, spec: NodeSpec) -> Outcome {
        self.apply(Command::StartNode { node: NodeId(node), spec, process: ProcessId(u128::from(self.index)) })
    }

    fn issue(&mut self, token: u8, role: MemberRole) -> Outcome {
        let token = ([token; 32], JoinToken { role, expires_at: Timestamp(self.now + 100) });
        self.apply(Command::IssueJoinToken { hash: token.0, token: token.1 })
    }

    fn admit(&mut self, token: u8, spec: NodeSpec) -> Outcome {
        self.apply(Command::AdmitNode { token: [token; 32], spec })
    }

    /// Node 2 joins and starts, and node 1 owns the only partition.
    fn with_two_nodes() -> (Self, PartitionId) {
        let mut replica = Self::founded();
        replica.issue(2, MemberRole::Voter);
        replica.admit(2, spec("two"));
        replica.start(2, spec("two"));
        for (text, identity) in [("qingdao", 1), ("hohhot", 2)] {
            let spec = InstanceSpec {
                name: name(text),
                region: name(text),
                name_servers: vec!["127.0.0.1:9876".into()],
                credentials: None,
                tls: None,
            };
            replica.apply(Command::PutInstance { spec, identity: InstanceIdentity(identity), expected: None });
        }
        let end = |instance: &str| Endpoint { instance: name(instance), topic: "orders".into() };
        let spec = StreamSpec {
            name: name("orders"),
            source: end("qingdao"),
            target: end("hohhot"),
            start: StartPosition::Earliest,
            tag_expression: "*".into(),
            run: RunOptions::default(),
        };
        let Outcome::StreamCreated(stream) = replica.apply(Command::CreateStream { spec }) else { panic!("no stream") };
        let source = QueueId { broker: "broker-a".into(), queue: 0 };
        let partitions = vec![NewPartition { source: source.clone(), target: source.clone() }];
        replica.apply(Command::AddPartitions { stream, partitions });
        let partition = PartitionId { stream, source };
        replica.apply(Command::Assign { partition: partition.clone(), node: NodeId(1), epoch: Epoch(1) });
        (replica, partition)
    }

    fn predecessor(&self, partition: &PartitionId) -> Predecessor {
        self.state.partitions.get(partition).unwrap().predecessor
    }
}

fn checkpoint(epoch: u64, source_next: i64) -> Checkpoint {
    Checkpoint {
        epoch: Epoch(epoch),
        rule_version: RuleVersion(0),
        source_next,
        target_next: source_next,
        source_incarnation: Incarnation(0),
        target_incarnation: Incarnation(0),
        fingerprint: None,
        last_copy: None,
    }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}

#[test]
fn a_token_lets_one_node_in_once_and_an_answer_that_was_lost_is_given_again() {
    let mut replica = Replica::founded();
    assert_eq!(replica.admit(7, spec("two")), refused(Refusal::NoSuchJoinToken));
    replica.issue(7, MemberRole::Learner);
    assert_eq!(replica.admit(7, spec("two")), Outcome::NodeAdmitted(NodeId(2)));
    assert_eq!(replica.admit(7, spec("two")), Outcome::NodeAdmitted(NodeId(2)));
    assert_eq!(replica.admit(7, spec("three")), refused(Refusal::NoSuchJoinToken));
    assert_eq!(replica.start(2, spec("two")), Outcome::Done);
    assert_eq!(replica.admit(7, spec("two")), refused(Refusal::NoSuchJoinToken), "it has started with its id");
    assert_eq!(replica.state.nodes[&NodeId(2)].role, MemberRole::Learner);
    assert_eq!(replica.start(3, spec("three")), refused(Refusal::NoSuchNode(NodeId(3))));
}

#[test]
fn a_used_token_ends_when_it_was_to_end_and_with_the_node_that_it_let_in() {
    let mut replica = Replica::founded();
    replica.issue(7, MemberRole::Voter);
    assert_eq!(replica.admit(7, spec("two")), Outcome::NodeAdmitted(NodeId(2)));
    let nowhere = NodeSpec { address: None, ..spec("two") };
    assert!(matches!(replica.admit(7, nowhere), Outcome::Refused(Refusal::InvalidAddress(_))));
    replica.now += 99;
    assert_eq!(replica.admit(7, spec("two")), Outcome::NodeAdmitted(NodeId(2)));
    replica.now += 1;
    assert_eq!(replica.admit(7, spec("two")), refused(Refusal::NoSuchJoinToken), "its time is over");
    replica.issue(8, MemberRole::Voter);
    assert_eq!(replica.admit(8, spec("three")), Outcome::NodeAdmitted(NodeId(3)));
    assert_eq!(replica.apply(Command::RemoveNode { node: NodeId(3) }), Outcome::Done);
    assert_eq!(replica.admit(8, spec("three")), refused(Refusal::NoSuchJoinToken), "it let one node in");
}

#[test]
fn a_token_ends_and_only_so_many_wait() {
    let mut replica = Replica::founded();
    replica.issue(7, MemberRole::Voter);
    replica.now += 100;
    assert_eq!(replica.admit(7, spec("two")), refused(Refusal::NoSuchJoinToken));
    for token in 100..164 {
        assert_eq!(replica.issue(token, MemberRole::Voter), Outcome::Done);
    }
    assert_eq!(
        replica.issue(200, MemberRole::Voter),
        refused(Refusal::TooMany { what: TooMany::JoinTokens, maximum: 64 })
    );
    replica.now += 100;
    assert_eq!(replica.issue(200, MemberRole::Voter), Outcome::Done);
    assert_eq!(replica.state.join_tokens.len(), 1, "those that ended are forgotten");
}

#[test]
fn an_id_is_never_given_out_again_and_a_name_belongs_to_one_node() {
    let mut replica = Replica::founded();
    replica.issue(2, MemberRole::Voter);
    assert_eq!(replica.admit(2, spec("one")), refused(Refusal::NodeNameTaken { name: name("one"), node: NodeId(1) }));
    assert_eq!(replica.admit(2, spec("two")), Outcome::NodeAdmitted(NodeId(2)));
    assert_eq!(replica.apply(Command::RemoveNode { node: NodeId(2) }), Outcome::Done);
    assert_eq!(replica.apply(Command::RemoveNode { node: NodeId(2) }), refused(Refusal::NoSuchNode(NodeId(2))));
    replica.issue(3, MemberRole::Voter);
    assert_eq!(replica.admit(3, spec("two")), Outcome::NodeAdmitted(NodeId(3)));
    assert_eq!(replica.start(2, spec("old")), refused(Refusal::NoSuchNode(NodeId(2))));
}

#[test]
fn an_address_is_a_host_and_a_port() {
    let mut replica = Replica::founded();
    replica.issue(2, MemberRole::Voter);
    let with = |address: Option<&str>| NodeSpec { address: address.map(str::to_owned), ..spec("two") };
    let long = format!("{}:7501", "x".repeat(300));
    for bad in [None, Some(""), Some("host"), Some(":7501"), Some("host:0"), Some("host:x"), Some("a b:1"), Some(&long)]
    {
        let outcome = replica.admit(2, with(bad));
        assert!(matches!(outcome, Outcome::Refused(Refusal::InvalidAddress(_))), "{bad:?}: {outcome:?}");
    }
    assert_eq!(replica.admit(2, with(Some("[fd00::1]:7501"))), Outcome::NodeAdmitted(NodeId(2)));
}

#[test]
fn a_voter_stays() {
    let mut replica = Replica::founded();
    let demote = Command::SetRole { node: NodeId(1), role: MemberRole::Learner };
    assert_eq!(replica.apply(demote.clone()), refused(Refusal::LastVoter));
    assert_eq!(replica.apply(Command::RemoveNode { node: NodeId(1) }), refused(Refusal::LastVoter));
    replica.issue(2, MemberRole::Learner);
    replica.admit(2, spec("two"));
    assert_eq!(replica.apply(demote.clone()), refused(Refusal::LastVoter));
    replica.apply(Command::SetRole { node: NodeId(2), role: MemberRole::Voter });
    assert_eq!(replica.apply(demote), Outcome::Done);
}

#[test]
fn a_version_is_raised_only_when_every_node_knows_it() {
    let mut replica = Replica::founded();
    replica.issue(2, MemberRole::Voter);
    replica.issue(3, MemberRole::Voter);
    let old = |supports| NodeSpec { supports, ..spec("two") };
    assert_eq!(
        replica.admit(2, old(2)),
        refused(Refusal::TooOld { node: name("two"), knows: 2, needed: CURRENT_VERSION })
    );
    assert_eq!(replica.admit(2, old(CURRENT_VERSION)), Outcome::NodeAdmitted(NodeId(2)));
    let next = CURRENT_VERSION + 1;
    let raise = Command::RaiseVersion { to: next };
    let behind = |node| refused(Refusal::TooOld { node: name(node), knows: CURRENT_VERSION, needed: next });
    assert_eq!(replica.apply(raise.clone()), behind("one"));
    replica.start(1, NodeSpec { supports: next, ..spec("one") });
    assert_eq!(replica.apply(raise.clone()), behind("two"));
    replica.start(2, old(next));
    assert_eq!(replica.apply(raise), refused(Refusal::NoSuchVersion(next)), "this build does not know it");
    assert_eq!(replica.state.agreed_version, CURRENT_VERSION);
}

#[test]
fn a_partition_moves_when_its_owner_lets_go_and_not_before() {
    let (mut replica, partition) = Replica::with_two_nodes();
    let release = |checkpoint| Command::Release {
        partition: partition.clone(),
        node: NodeId(1),
        epoch: Epoch(1),
        checkpoint,
        settled: true,
    };
    let move_to = |to| Command::Move { partition: partition.clone(), epoch: Epoch(1), to: NodeId(to) };
    assert!(matches!(replica.apply(release(None)), Outcome::Refused(Refusal::NotMoving(_))));
    assert_eq!(replica.apply(move_to(9)), refused(Refusal::NoSuchNode(NodeId(9))));
    assert_eq!(replica.apply(move_to(2)), Outcome::Done);
    let report = Progress { partition: partition.clone(), checkpoint: checkpoint(1, 5) };
    let recorded = replica.apply(Command::RecordProgress { node: NodeId(1), progress: vec![report] });
    assert_eq!(recorded, Outcome::Recorded { refused: 0 }, "the owner goes on until it lets go");
    assert!(matches!(replica.apply(release(Some(checkpoint(1, 4)))), Outcome::Refused(Refusal::ProgressGoesBack(_))));
    assert_eq!(replica.apply(release(Some(checkpoint(1, 6)))), Outcome::NewEpoch(Epoch(2)));
    let is = &replica.state.partitions[&partition];
    assert_eq!((is.owner, is.moving_to, is.epoch), (Some(NodeId(2)), None, Epoch(2)));
    assert_eq!(is.checkpoint, Some(checkpoint(1, 6)));
    assert_eq!(is.predecessor, Predecessor::Released(NodeId(1)));
    assert!(matches!(replica.apply(release(None)), Outcome::Refused(Refusal::StaleEpoch { .. })));
}

#[test]
fn a_wish_to_move_is_taken_back_and_ends_with_the_node_it_names() {
    let (mut replica, partition) = Replica::with_two_nodes();
    let move_to = |to| Command::Move { partition: partition.clone(), epoch: Epoch(1), to: NodeId(to) };
    for end in [move_to(1), Command::RemoveNode { node: NodeId(2) }] {
        assert_eq!(replica.apply(move_to(2)), Outcome::Done);
        assert_eq!(replica.state.partitions[&partition].moving_to, Some(NodeId(2)));
        assert_eq!(replica.apply(end), Outcome::Done);
        assert_eq!(replica.state.partitions[&partition].moving_to, None);
    }
}

#[test]
fn whatever_ends_an_ownership_without_letting_go_is_waited_for() {
    let (mut replica, partition) = Replica::with_two_nodes();
    assert_eq!(replica.predecessor(&partition), Predecessor::Nobody);
    replica.apply(Command::Move { partition: partition.clone(), epoch: Epoch(1), to: NodeId(2) });
    let release = |node: u64, epoch, settled| {
        let (partition, node, epoch) = (partition.clone(), NodeId(node), Epoch(epoch));
        Command::Release { partition, node, epoch, checkpoint: None, settled }
    };
    replica.apply(release(1, 1, true));
    assert_eq!(replica.predecessor(&partition), Predecessor::Released(NodeId(1)));
    replica.apply(Command::Move { partition: partition.clone(), epoch: Epoch(2), to: NodeId(1) });
    replica.apply(release(2, 2, false));
    assert_eq!(replica.predecessor(&partition), Predecessor::Ended(NodeId(2)), "its last send was not answered");
    replica.apply(Command::Move { partition: partition.clone(), epoch: Epoch(3), to: NodeId(2) });
    replica.apply(release(1, 3, true));
    replica.start(2, spec("two"));
    assert_eq!(replica.predecessor(&partition), Predecessor::Ended(NodeId(2)), "another process of the same node");
    replica.apply(Command::Assign { partition: partition.clone(), node: NodeId(1), epoch: Epoch(6) });
    assert_eq!(replica.predecessor(&partition), Predecessor::Ended(NodeId(2)), "it died");
    let fault = Fault::SourceGap { from: 0, to: 2 };
    replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(6), fault });
    replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Retry });
    assert_eq!(replica.predecessor(&partition), Predecessor::Ended(NodeId(1)), "its own earlier epoch");
}

#[test]
fn a_snapshot_of_the_second_version_is_read_as_it_was_meant() {
    let bytes: Vec<u8> = include_str!("../src/testdata/state_v2.txt")
        .trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let state = State::from_snapshot(2, &bytes).unwrap();
    assert_eq!((state.agreed_version, state.highest_node), (2, NodeId(1)));
    let node = &state.nodes[&NodeId(1)];
    assert_eq!((node.name.as_str(), node.role, node.starts, node.supports), ("one", MemberRole::Voter, 2, 2));
    let partition = state.partitions.values().next().unwrap();
    assert_eq!((partition.owner, partition.epoch), (Some(NodeId(1)), Epoch(2)));
    assert_eq!(partition.predecessor, Predecessor::Ended(NodeId(1)));
    assert_eq!(partition.checkpoint.as_ref().unwrap().source_next, 5);
    assert_eq!(state.tokens.len(), 1);
    let again = State::from_snapshot(CURRENT_VERSION, &codec::encode(&state).unwrap()).unwrap();
    assert_eq!(again, state);
    assert!(State::from_snapshot(CURRENT_VERSION, &bytes).is_err(), "the forms differ");
}

#[test]
fn a_process_that_is_about_to_end_says_so_until_the_next_start() {
    let (mut replica, _) = Replica::with_two_nodes();
    let process = replica.state.nodes[&NodeId(2)].process;
    let leave = |process| Command::LeaveNode { node: NodeId(2), process };
    assert_eq!(replica.apply(leave(ProcessId(99))), refused(Refusal::OtherProcess(NodeId(2))));
    assert!(replica.state.nodes[&NodeId(2)].takes_partitions());
    assert_eq!(replica.apply(leave(process)), Outcome::Done);
    assert!(!replica.state.nodes[&NodeId(2)].takes_partitions());
    replica.start(2, spec("two"));
    assert!(replica.state.nodes[&NodeId(2)].takes_partitions());
    assert_eq!(replica.apply(leave(process)), refused(Refusal::OtherProcess(NodeId(2))));
}

#[test]
fn a_start_that_is_asked_for_again_begins_no_new_ownership() {
    let (mut replica, partition) = Replica::with_two_nodes();
    let known = replica.state.nodes[&NodeId(1)].clone();
    let start = |process| Command::StartNode { node: NodeId(1), spec: spec("one"), process };
    let before = replica.state.clone();
    assert_eq!(replica.apply(start(known.process)), Outcome::Done);
    assert_eq!(replica.state, before);
    // As version 3 did, and does when its log is read again.
    let again = Envelope { version: 3, request: 0, at: Timestamp(9), command: start(known.process) };
    replica.state.apply(99, &again);
    let epoch = |replica: &Replica| replica.state.partitions[&partition].epoch;
    assert_eq!((epoch(&replica), replica.state.nodes[&NodeId(1)].starts), (Epoch(2), known.starts + 1));
    replica.apply(start(ProcessId(77)));
    assert_eq!(epoch(&replica), Epoch(3), "another process is another owner");
}

#[test]
fn a_late_word_of_an_earlier_process_changes_nothing() {
    let (mut replica, partition) = Replica::with_two_nodes();
    let start = |process| Command::StartNode { node: NodeId(1), spec: spec("one"), process };
    // A build that did not count drew all bits: whoever follows it is taken for later, and so is it itself.
    let random = ProcessId(u128::MAX / 3);
    for process in [random, ProcessId::new(5, 8), random, ProcessId::new(7, 1)] {
        assert_eq!(replica.apply(start(process)), Outcome::Done);
        assert_eq!(replica.state.nodes[&NodeId(1)].process, process);
    }
    let before = replica.state.clone();
    for earlier in [ProcessId::new(6, 9), ProcessId::new(5, 8), ProcessId(0)] {
        assert_eq!(replica.apply(start(earlier)), refused(Refusal::OtherProcess(NodeId(1))));
    }
    assert_eq!(replica.state, before, "the present one writes under {:?}", before.partitions[&partition].epoch);
    assert_eq!(
        replica.apply(start(ProcessId::new(7, 0))),
        Outcome::Done,
        "one of the same count is not known to be over"
    );
}

#[test]
fn a_node_that_lost_its_data_comes_back_under_a_new_id() {
    let (mut replica, partition) = Replica::with_two_nodes();
    let replace = |spec| Command::ReplaceNode { token: None, spec };
    let unknown = replica.apply(replace(spec("three")));
    assert_eq!(unknown, refused(Refusal::NoNodeOfName(name("three"))));
    assert_eq!(replica.apply(replace(spec("one"))), Outcome::NodeAdmitted(NodeId(3)));
    assert_eq!(replica.apply(replace(spec("one"))), Outcome::NodeAdmitted(NodeId(3)), "the answer may have been lost");
    assert_eq!(replica.state.nodes.keys().map(|node| node.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(replica.state.nodes[&NodeId(3)].role, MemberRole::Voter);
    assert_eq!(replica.state.partitions[&partition].owner, Some(NodeId(1)), "until another one is chosen");
    assert_eq!(replica.start(1, spec("one")), refused(Refusal::NoSuchNode(NodeId(1))), "the lost one is gone for good");
    assert_eq!(replica.start(3, spec("one")), Outcome::Done);
}

#[test]
fn a_token_that_proves_a_lost_node_is_used_up_by_it() {
    let (mut replica, _) = Replica::with_two_nodes();
    let replace = |token: u8, text| Command::ReplaceNode { token: Some([token; 32]), spec: spec(text) };
    assert_eq!(replica.apply(replace(2, "two")), refused(Refusal::NoSuchJoinToken), "it let this node in before");
    replica.issue(7, MemberRole::Learner);
    assert_eq!(replica.apply(replace(7, "two")), Outcome::NodeAdmitted(NodeId(3)));
    assert_eq!(replica.state.nodes[&NodeId(3)].role, MemberRole::Voter, "as the lost one");
    assert_eq!(replica.apply(replace(7, "one")), refused(Refusal::NoSuchJoinToken));
    assert_eq!(replica.admit(7, spec("four")), refused(Refusal::NoSuchJoinToken));
    assert_eq!(replica.apply(replace(7, "two")), Outcome::NodeAdmitted(NodeId(3)), "the answer may have been lost");
    replica.issue(8, MemberRole::Learner);
    assert_eq!(replica.apply(replace(8, "two")), Outcome::NodeAdmitted(NodeId(3)));
    assert_eq!(replica.admit(7, spec("four")), refused(Refusal::NoSuchJoinToken), "another one took its place");
    assert_eq!(replica.start(3, spec("two")), Outcome::Done);
    assert_eq!(replica.apply(replace(8, "two")), refused(Refusal::NoSuchJoinToken));
    assert!(replica.state.join_tokens.is_empty());
}

#[test]
fn the_only_voter_is_not_replaced() {
    let mut replica = Replica::founded();
    replica.issue(2, MemberRole::Learner);
    replica.admit(2, spec("two"));
    replica.start(2, spec("two"));
    let replace = |text| Command::ReplaceNode { token: None, spec: spec(text) };
    assert_eq!(replica.apply(replace("one")), refused(Refusal::LastVoter));
    assert_eq!(replica.apply(replace("two")), Outcome::NodeAdmitted(NodeId(3)));
}

#[test]
fn a_new_beginning_gives_out_nothing_that_was_given_out_before() {
    let (mut replica, partition) = Replica::with_two_nodes();
    replica.issue(9, MemberRole::Voter);
    let before = replica.state.clone();
    let mut other = replica.state.clone();
    let node = replica.state.begin_anew(0);
    assert_ne!(other.begin_anew(1), node, "another beginning");
    assert!(node.0 > before.highest_node.0 + 500 && replica.state.highest_node == node);
    assert!(replica.state.nodes.is_empty() && replica.state.join_tokens.is_empty());
    let is = &replica.state.partitions[&partition];
    assert_eq!((is.owner, &is.checkpoint), (Some(NodeId(1)), &before.partitions[&partition].checkpoint));
    assert!(is.epoch.0 > before.partitions[&partition].epoch.0 + 1_000_000);
    assert_eq!((&replica.state.streams, &replica.state.tokens), (&before.streams, &before.tokens));
    assert_eq!(replica.start(node.0, spec("one")), Outcome::Done, "it founds the cluster anew");
}
