//! One voter: what was agreed is there again after the data directory is opened anew.

use std::path::Path;

use ::raft::eraftpb::{Message, MessageType};
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use causeway_storage::Error as StorageError;
use proptest::prelude::*;

use super::Replica;
use crate::error::Fatal;
use crate::raft::entry::wrap;
use crate::raft::outbox::Nowhere;
use crate::raft::sample::{any_command, envelope, instance, proposal, raw_proposal, settings, stream, token};
use crate::raft::settings::{Settings, Start};
use crate::status::Role;

fn open(settings: &Settings) -> Result<Replica, Fatal> {
    let mut replica = Replica::open(settings, Box::new(Nowhere))?;
    replica.begin()?;
    Ok(replica)
}

fn put_tokens(replica: &mut Replica, numbers: impl Iterator<Item = u8>) {
    for number in numbers {
        let (proposal, mut answer) = proposal(u128::from(number), token(number));
        replica.propose(proposal);
        replica.turn().unwrap();
        replica.answer();
        assert_eq!(answer.try_recv().unwrap().unwrap(), Outcome::Done);
    }
}

#[test]
fn the_only_voter_leads_at_once_and_keeps_what_was_agreed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let mut replica = open(&settings).unwrap();
    assert_eq!((replica.status().role, replica.status().ready), (Role::Leader, true));
    let mut answers = Vec::new();
    for (request, command) in
        [instance("one"), instance("two"), stream("orders"), stream("orders")].into_iter().enumerate()
    {
        let (proposal, answer) = proposal(request.try_into().unwrap(), command);
        replica.propose(proposal);
        answers.push(answer);
    }
    replica.turn().unwrap();
    replica.answer();
    let outcomes: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().unwrap().unwrap()).collect();
    let Some(Outcome::StreamCreated(id)) = outcomes.get(2) else { panic!("{outcomes:?}") };
    assert!(matches!(outcomes[3], Outcome::Refused(_)));
    let before = (*replica.take_view().unwrap()).clone();
    let term = replica.status().term;
    drop(replica);
    let replica = open(&settings).unwrap();
    assert_eq!(*replica.state, before);
    assert_eq!(replica.state.streams.values().next().unwrap().id, *id);
    assert!(replica.status().term > term);
}

#[test]
fn a_thousand_proposals_of_one_turn_share_one_barrier() {
    let directory = tempfile::tempdir().unwrap();
    let mut replica = open(&settings(directory.path())).unwrap();
    let before = replica.status().barriers.count;
    let mut answers = Vec::new();
    for request in 0_u16..1000 {
        let (proposal, answer) = proposal(u128::from(request), token(request.to_be_bytes()[1]));
        replica.propose(proposal);
        answers.push(answer);
    }
    replica.turn().unwrap();
    replica.answer();
    assert!(answers.iter_mut().all(|answer| matches!(answer.try_recv(), Ok(Ok(Outcome::Done)))));
    assert_eq!(replica.status().barriers.count - before, 1);
}

#[test]
fn nothing_is_written_or_synced_while_nothing_happens() {
    let directory = tempfile::tempdir().unwrap();
    let mut replica = open(&settings(directory.path())).unwrap();
    replica.take_view();
    let before = replica.status();
    for _ in 0..200 {
        replica.tick().unwrap();
    }
    assert_eq!(replica.status(), before);
    assert!(replica.take_view().is_none());
}

#[test]
fn a_version_that_is_not_known_stops_the_replica_now_and_at_every_start() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let mut replica = open(&settings).unwrap();
    let newer = wrap(CURRENT_VERSION + 1, &"what only a newer version understands").unwrap();
    replica.propose(raw_proposal(1, newer).0);
    assert!(matches!(replica.turn(), Err(Fatal::UnknownVersion { .. })));
    drop(replica);
    for _ in 0..2 {
        let Err(Fatal::UnknownVersion { place, found, .. }) = open(&settings) else { panic!("it was skipped") };
        assert_eq!((place.as_str(), found), ("log entry 3", CURRENT_VERSION + 1));
    }
}

#[test]
fn an_entry_above_one_row_comes_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let mut replica = open(&settings).unwrap();
    let mut command = stream("orders");
    if let causeway_core::command::Command::CreateStream { spec } = &mut command {
        spec.tag_expression = "tag || ".repeat(300_000);
    }
    for (request, command) in [instance("one"), instance("two"), command].into_iter().enumerate() {
        replica.propose(proposal(request.try_into().unwrap(), command).0);
    }
    replica.turn().unwrap();
    let before = (*replica.state).clone();
    assert_eq!(before.streams.values().next().unwrap().spec.tag_expression.len(), 2_100_000);
    drop(replica);
    assert_eq!(*open(&settings).unwrap().state, before);
}

#[test]
fn the_log_stays_short_and_one_damaged_snapshot_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { snapshot_every_entries: 10, ..settings(directory.path()) };
    let mut replica = open(&settings).unwrap();
    put_tokens(&mut replica, 0..100);
    let status = replica.status();
    assert!(status.log_entries <= 30, "{status:?}");
    let before = (*replica.state).clone();
    drop(replica);
    let newest = directory.path().join(format!("snapshots/{:020}.snapshot", status.snapshot));
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let mut replica = open(&settings).unwrap();
    assert_eq!(*replica.state, before);
    put_tokens(&mut replica, 100..140);
    let before = (*replica.state).clone();
    drop(replica);
    assert_eq!(*open(&settings).unwrap().state, before);
}

#[test]
fn a_log_that_lost_its_end_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { snapshot_every_entries: 10, ..settings(directory.path()) };
    let mut replica = open(&settings).unwrap();
    put_tokens(&mut replica, 0..4);
    drop(replica);
    let database = directory.path().join("database");
    let older = tempfile::tempdir().unwrap();
    copy(&database, older.path());
    let mut replica = open(&settings).unwrap();
    put_tokens(&mut replica, 4..60);
    drop(replica);
    std::fs::remove_dir_all(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    copy(older.path(), &database);
    let error = open(&settings).err().unwrap();
    assert!(matches!(error, Fatal::Storage(causeway_storage::Error::Quarantined { .. })), "{error}");
}

#[test]
fn a_data_directory_of_another_cluster_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    let mut replica = open(&settings).unwrap();
    replica.propose(proposal(1, causeway_core::command::Command::Initialise { cluster: ClusterId(5) }).0);
    replica.turn().unwrap();
    assert_eq!(replica.node.store().disk().identity().cluster, Some(ClusterId(5)));
    drop(replica);
    let other = Settings { node: NodeId(2), start: Start::Found { voters: vec![NodeId(2)] }, ..settings.clone() };
    assert!(matches!(open(&other), Err(Fatal::Storage(causeway_storage::Error::WrongNode { .. }))));
    open(&settings).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the commands, wherever the snapshots fall and whenever the node is started again: the state is the one
    /// of applying the same entries one by one to an empty state.
    #[test]
    fn snapshots_and_restarts_at_any_point_change_nothing(
        commands in prop::collection::vec(any_command(), 1..60),
        snapshot_every in 1_u64..25,
        batch in 1_usize..6,
        restarts in prop::collection::btree_set(0_usize..60, 0..4),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings { snapshot_every_entries: snapshot_every, ..settings(directory.path()) };
        let mut replica = open(&settings).unwrap();
        let mut straight = State::default();
        let mut begin = 0_usize;
        for (at, chunk) in commands.chunks(batch).enumerate() {
            for (command, request) in chunk.iter().zip(begin..) {
                let request = u128::try_from(request).unwrap();
                replica.propose(proposal(request, command.clone()).0);
                straight.apply(replica.node.raft.raft_log.last_index(), &envelope(request, command.clone()));
            }
            begin += chunk.len();
            replica.turn().unwrap();
            prop_assert_eq!(&*replica.state, &straight);
            if restarts.contains(&at) {
                drop(replica);
                replica = open(&settings).unwrap();
                prop_assert_eq!(&*replica.state, &straight);
            }
        }
    }
}

#[test]
fn a_log_that_ends_before_what_was_confirmed_is_damage_and_never_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let start = Start::Found { voters: vec![NodeId(1), NodeId(2)] };
    let settings = Settings { start, ..settings(directory.path()) };
    let mut replica = open(&settings).unwrap();
    let mut heartbeat = Message { from: 2, to: 1, term: replica.status().term + 2, ..Message::default() };
    heartbeat.set_msg_type(MessageType::MsgHeartbeat);
    let known = replica.node.raft.raft_log.last_index();
    replica.step(Message { commit: known, ..heartbeat.clone() }).unwrap();
    let ahead = Message { commit: known + 1, ..heartbeat };
    replica.step(Message { term: 1, ..ahead.clone() }).unwrap();
    replica.step(Message { from: 3, ..ahead.clone() }).expect("one that has no vote proves nothing");
    let Err(Fatal::Storage(damage)) = replica.step(ahead) else { panic!("the loss was not seen") };
    assert!(damage.is_damage(), "{damage}");
    let aside = replica.quarantine(&damage.to_string());
    assert!(matches!(aside, Fatal::Storage(StorageError::Quarantined { .. })), "{aside}");
    assert!(matches!(open(&settings), Err(Fatal::Storage(StorageError::Wiped { .. }))));
}
