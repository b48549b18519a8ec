//! The whole way of a call: handle, actor, replica, disk and back.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use ::raft::eraftpb::{Message, MessageType};
use actix::{Context, Handler};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::outcome::Outcome;
use protobuf::Message as _;
use tokio::task::JoinSet;

use super::{Handle, start, start_with};
use crate::actor::RaftActor;
use crate::error::{Error, Fatal};
use crate::raft::membership::{ChangeRefusal, MemberChange};
use crate::raft::message::{MessageFault, MessageKind};
use crate::raft::outbox::Outbox;
use crate::raft::sample::{name, settings, token};
use crate::raft::settings::{Settings, Start};
use crate::status::Role;

#[tokio::test]
async fn what_was_answered_is_in_the_view_and_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    let mut watch = handle.watch();
    let initialise = causeway_core::command::Command::Initialise { cluster: ClusterId(3) };
    assert_eq!(handle.propose(initialise.clone()).await.unwrap(), Outcome::Done);
    assert_eq!(handle.view().cluster, Some(ClusterId(3)));
    assert_eq!(watch.wait_for(|state| state.cluster.is_some()).await.unwrap().cluster, Some(ClusterId(3)));
    assert!(matches!(handle.propose(initialise).await.unwrap(), Outcome::Refused(_)));
    let before = handle.view();
    let other = handle.clone();
    handle.stop().await.unwrap();
    assert!(matches!(other.propose(token(1)).await, Err(Error::Stopped)));
    let handle = start(settings(directory.path())).await.unwrap();
    assert_eq!(handle.view(), before);
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_thousand_calls_at_once_cost_far_fewer_barriers() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    let before = handle.status().barriers.count;
    let mut calls = JoinSet::new();
    for number in 0_u16..1000 {
        let handle = handle.clone();
        calls.spawn(async move { handle.propose(token(number.to_be_bytes()[1])).await });
    }
    while let Some(outcome) = calls.join_next().await {
        assert_eq!(outcome.unwrap().unwrap(), Outcome::Done);
    }
    let barriers = handle.status().barriers.count - before;
    assert!(barriers <= 250, "{barriers} barriers for 1000 proposals");
    assert_eq!(handle.view().tokens.len(), 256);
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_in_use_is_refused_and_free_when_every_handle_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    let refused = start(settings(directory.path())).await.err().unwrap();
    assert_eq!(refused.code(), ErrorCode::DataDirectory);
    let mut ended = handle.shared.ended.clone();
    drop(handle);
    ended.wait_for(Option::is_some).await.unwrap();
    start(settings(directory.path())).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_command_above_the_maximum_is_refused_before_it_is_queued() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(Settings { maximum_command_bytes: 30, ..settings(directory.path()) }).await.unwrap();
    assert!(matches!(handle.propose(token(1)).await, Err(Error::TooLarge { maximum: 30, .. })));
    assert_eq!(handle.status().proposals, 0);
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn unsound_settings_start_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { heartbeat_ticks: 0, ..settings(&directory.path().join("data")) };
    assert!(matches!(start(settings).await, Err(Error::Settings { .. })));
    assert!(!directory.path().join("data").exists());
}

struct Throw;

impl actix::Message for Throw {
    type Result = ();
}

impl Handler<Throw> for RaftActor {
    type Result = ();

    fn handle(&mut self, _: Throw, context: &mut Context<Self>) {
        self.guard(context, |_| panic!("as raft-rs does"));
    }
}

#[tokio::test]
async fn a_panic_of_the_replica_ends_it_with_a_reason_and_frees_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    handle.shared.address.do_send(Throw);
    let Error::Fatal(reason) = handle.ended().await else { panic!("not fatal") };
    assert!(matches!(&*reason, Fatal::Panicked { reason } if reason == "as raft-rs does"), "{reason}");
    assert!(matches!(handle.propose(token(1)).await, Err(Error::Fatal(_))));
    assert!(matches!(handle.stop().await, Err(Error::Fatal(_))));
    start(settings(directory.path())).await.unwrap().stop().await.unwrap();
}

/// A second voter that grants every vote and answers nothing else.
struct OnlyVotes(std::sync::Arc<Mutex<Option<Handle>>>);

impl Outbox for OnlyVotes {
    fn send(&mut self, _to: NodeId, _kind: MessageKind, bytes: Vec<u8>) {
        let message = Message::parse_from_bytes(&bytes).unwrap();
        let kind = match message.get_msg_type() {
            MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
            MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
            _ => return,
        };
        let mut answer = Message::default();
        answer.set_msg_type(kind);
        (answer.from, answer.to, answer.term) = (message.to, message.from, message.term);
        if let Some(handle) = &*self.0.lock().unwrap() {
            handle.receive(NodeId(answer.from), &answer.write_to_bytes().unwrap()).unwrap();
        }
    }
}

async fn leader_without_quorum(settings: Settings) -> Handle {
    let address = std::sync::Arc::new(Mutex::new(None));
    let start = Start::Found { voters: vec![NodeId(1), NodeId(2)] };
    let settings = Settings { start, tick: Duration::from_millis(2), election_ticks: 400, ..settings };
    let handle = start_with(settings, Box::new(OnlyVotes(address.clone()))).await.unwrap();
    *address.lock().unwrap() = Some(handle.clone());
    let mut status = handle.shared.status.clone();
    status.wait_for(|status| status.role == Role::Leader).await.unwrap();
    *address.lock().unwrap() = None;
    handle
}

#[tokio::test]
async fn without_a_quorum_a_proposal_ends_with_an_unknown_outcome_and_the_queue_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.proposal_timeout = Duration::from_millis(100);
    settings.queue_bytes = Settings::MINIMUM_PROPOSAL_BYTES;
    settings.maximum_command_bytes = Settings::MINIMUM_PROPOSAL_BYTES;
    let handle = leader_without_quorum(settings).await;
    let (first, second) = tokio::join!(handle.propose(token(1)), handle.propose(token(2)));
    assert!(matches!(&first, Err(error @ Error::Timeout { .. }) if error.outcome_is_unknown()), "{first:?}");
    assert!(matches!(second, Err(Error::Busy)), "{second:?}");
    assert!(!handle.view().tokens.contains_key(&name("token-1")));
    let mut status = handle.shared.status.clone();
    status.wait_for(|status| status.role != Role::Leader).await.unwrap();
    assert!(matches!(handle.propose(token(3)).await, Err(Error::NotLeader { leader: None })));
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn proposals_that_wait_when_the_node_stops_are_told_that_their_outcome_is_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let handle = leader_without_quorum(settings(directory.path())).await;
    let other = handle.clone();
    let (waited, stopped) = tokio::join!(other.propose(token(1)), handle.stop());
    assert!(matches!(waited, Err(Error::Interrupted)), "{waited:?}");
    stopped.unwrap();
}

#[tokio::test]
async fn the_only_voter_answers_reads_and_refuses_changes_that_make_no_sense() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    handle.propose(token(1)).await.unwrap();
    let status = handle.status();
    assert!(handle.read_barrier().await.unwrap() >= status.applied);
    assert!(status.member);
    assert_eq!(status.members.len(), 1);
    let refused = handle.change_member(MemberChange::Remove(NodeId(1))).await;
    assert!(matches!(refused, Err(Error::Change(ChangeRefusal::LastVoter { node: NodeId(1) }))), "{refused:?}");
    handle.change_member(MemberChange::AddLearner(NodeId(2))).await.unwrap();
    handle.transfer_leader(NodeId(1)).await.unwrap();
    let refused = handle.transfer_leader(NodeId(2)).await;
    assert!(matches!(refused, Err(Error::Change(ChangeRefusal::NotVoter { node: NodeId(2) }))), "{refused:?}");
    assert_eq!(handle.status().members.len(), 2);
    handle.stop().await.unwrap();
}

/// Hands every message to the handle of its node, and tells the sender what became of a snapshot.
#[derive(Clone, Default)]
struct Wire(std::sync::Arc<Mutex<BTreeMap<NodeId, Handle>>>);

struct Sender(NodeId, Wire);

impl Outbox for Sender {
    fn send(&mut self, to: NodeId, kind: MessageKind, bytes: Vec<u8>) {
        let handles = self.1.0.lock().unwrap();
        let arrived = handles.get(&to).is_some_and(|handle| handle.receive(self.0, &bytes).is_ok());
        let Some(own) = handles.get(&self.0) else { return };
        match kind {
            MessageKind::Snapshot => own.snapshot_sent(to, arrived),
            MessageKind::Ordinary if !arrived => own.unreachable(to),
            MessageKind::Ordinary => {}
        }
    }
}

#[tokio::test]
async fn three_nodes_become_one_group_and_each_reads_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let wire = Wire::default();
    for id in 1..=3 {
        let node = NodeId(id);
        let start = if id == 1 { Start::Found { voters: vec![node] } } else { Start::Join };
        let settings = Settings { start, ..Settings::new(directory.path().join(id.to_string()), node) };
        let settings = Settings { tick: Duration::from_millis(10), ..settings };
        let handle = start_with(settings, Box::new(Sender(node, wire.clone()))).await.unwrap();
        wire.0.lock().unwrap().insert(node, handle);
    }
    let handles: Vec<Handle> = wire.0.lock().unwrap().values().cloned().collect();
    let first = &handles[0];
    first.propose(token(1)).await.unwrap();
    for id in 2..=3 {
        first.change_member(MemberChange::AddLearner(NodeId(id))).await.unwrap();
        let mut promoted = first.change_member(MemberChange::Promote(NodeId(id))).await;
        for _ in 0..100 {
            let Err(Error::Change(ChangeRefusal::NotCaughtUp { .. })) = promoted else { break };
            tokio::time::sleep(Duration::from_millis(10)).await;
            promoted = first.change_member(MemberChange::Promote(NodeId(id))).await;
        }
        promoted.unwrap();
    }
    first.propose(token(2)).await.unwrap();
    first.transfer_leader(NodeId(2)).await.unwrap();
    let refused = first.propose(token(3)).await;
    assert!(matches!(refused, Err(Error::NotLeader { leader: Some(NodeId(2)) })), "{refused:?}");
    handles[1].propose(token(3)).await.unwrap();
    for handle in &handles {
        handle.read_barrier().await.unwrap();
        assert!(handle.view().tokens.contains_key(&name("token-3")));
        assert_eq!(handle.status().members.len(), 3);
    }
    wire.0.lock().unwrap().clear();
    for handle in handles {
        handle.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_what_has_no_room_is_dropped_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    let refused = handle.receive(NodeId(2), &[0xff; 9]);
    assert!(matches!(refused, Err(Error::Message(MessageFault::Undecodable { .. }))), "{refused:?}");
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgHeartbeat);
    (message.from, message.to, message.term) = (2, 1, 1);
    let bytes = message.write_to_bytes().unwrap();
    // Nothing is taken out meanwhile: this thread does not wait.
    let slow = handle.shared.incoming.room(MessageKind::Snapshot.maximum_bytes()).unwrap();
    handle.receive(NodeId(2), &bytes).unwrap();
    assert_eq!(handle.status().dropped_messages, 1);
    drop(slow);
    handle.receive(NodeId(2), &bytes).unwrap();
    assert_eq!(handle.status().dropped_messages, 1);
    let forged = handle.receive(NodeId(3), &bytes);
    assert!(matches!(forged, Err(Error::Message(MessageFault::Misattributed { from: NodeId(2), .. }))), "{forged:?}");
    assert_eq!(handle.status().refused_messages, 2);
    handle.propose(token(1)).await.unwrap();
    handle.clone().stop().await.unwrap();
    assert!(matches!(handle.receive(NodeId(2), &bytes), Err(Error::Stopped)));
}

#[tokio::test]
async fn a_read_that_nobody_confirms_times_out_and_may_be_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { proposal_timeout: Duration::from_millis(50), ..settings(directory.path()) };
    let handle = leader_without_quorum(settings).await;
    let refused = handle.read_barrier().await;
    assert!(matches!(&refused, Err(error @ Error::ReadTimeout { .. }) if !error.outcome_is_unknown()), "{refused:?}");
    handle.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_decided_in_one_term_enters_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let handle = start(settings(directory.path())).await.unwrap();
    let term = handle.status().term;
    assert_eq!(handle.propose_in(term, token(1)).await.unwrap(), Outcome::Done);
    let refused = handle.propose_in(term + 1, token(2)).await;
    assert!(matches!(refused, Err(Error::NotLeader { leader: Some(NodeId(1)) })), "{refused:?}");
    assert_eq!(handle.view().tokens.len(), 1);
    handle.stop().await.unwrap();
}
