//! The agreed state as a file, and a cluster that begins anew from one.
//!
//! ```text
//!   running member --backup--> bytes ---------------+
//!   directory of a stopped one --salvage--> Snapshot +--restore--> directory of the only node of a new beginning
//! ```
//!
//! A new beginning is dangerous while anything of the old cluster still runs: two clusters would then write the same
//! copies. Whoever asks for one has to know that nothing does.

use std::path::Path;

use causeway_core::command::Envelope;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::state::State;
use causeway_core::state::restore::INDEX_JUMP;
use causeway_storage::aside::build_aside;
use causeway_storage::db::{self, DEFAULT_CACHE_BYTES, Db};
use causeway_storage::raft_log::{EntryKind, Position};
use causeway_storage::raft_meta::HardState;
use causeway_storage::raft_store::Write;
pub use causeway_storage::snapshot_file::Snapshot;
use causeway_storage::snapshot_file::{Membership, SnapshotHeader};

use crate::error::{Error, Fatal};
use crate::raft::membership::changed;
use crate::raft::settings::Start;
use crate::raft::{entry, request_id, snapshot};

/// The directory of a new beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The only node.
    pub node: NodeId,
    /// The cluster, which keeps its identifier: it marks the copies at targets.
    pub cluster: ClusterId,
}

/// What a stopped node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// Its state, as a backup.
    pub held: Snapshot,
    /// It is the only voter for certain, so that it can go on as it is.
    pub only_voter: bool,
}

/// A state as a backup holds it.
pub(crate) fn backup(state: &State, position: Position) -> Result<Snapshot, Error> {
    let header = SnapshotHeader {
        position,
        membership: Membership::default(),
        command_version: state.stored_version(),
        made_here: false,
    };
    let state = state.to_snapshot().map_err(|error| Error::Unstorable { reason: error.to_string() })?;
    Ok(Snapshot { header, state })
}

/// Reads the bytes of a backup.
///
/// # Errors
/// [`Error::Fatal`] for what is no backup, is damaged, or was made by a newer Causeway.
pub fn read(bytes: &[u8], path: &Path) -> Result<Snapshot, Error> {
    let read = Snapshot::from_bytes(bytes, path).map_err(|error| Error::from(Fatal::Storage(error)))?;
    decode(&read)?;
    Ok(read)
}

/// What the directory of a stopped node holds: its newest snapshot and its whole log behind it, also what it does not
/// know to be agreed on. A majority that is gone cannot say any more what it had agreed on.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk, or what cannot be read.
pub fn salvage(directory: &Path, node: NodeId) -> Result<Salvaged, Error> {
    let settings = db::Settings { directory: directory.into(), node, cache_bytes: DEFAULT_CACHE_BYTES };
    let disk = Db::open(&settings).map_err(|error| Error::from(Fatal::Storage(error)))?;
    let (disk, base) = snapshot::choose(disk, &Start::Join)?;
    let (mut state, mut position) = (base.state, base.position);
    let committed = disk.raft.hard_state().map_or(0, |known| known.commit);
    let mut only_voter = decides_alone(&base.membership, node);
    let mut membership = Some(base.membership);
    for index in position.index.saturating_add(1)..=disk.raft.last_index() {
        let read = disk.raft.read(index).map_err(|error| Error::from(Fatal::Storage(error)))?;
        let Some(found) = read else { break };
        if found.kind == EntryKind::Normal && !found.data.is_empty() {
            let envelope: Envelope = entry::unwrap(&found.data, &format!("log entry {index}"))?;
            // Its outcome was answered before, or never will be.
            let _outcome = state.apply(index, &envelope);
        }
        if found.kind != EntryKind::Normal {
            membership = membership.and_then(|before| changed(&before, found.kind, &found.data));
            // Nobody may ever agree on what is not known to be: before it and behind it, the node has to decide alone.
            let before = only_voter || index <= committed;
            only_voter = before && membership.as_ref().is_some_and(|behind| decides_alone(behind, node));
        }
        position = found.position;
    }
    Ok(Salvaged { held: backup(&state, position)?, only_voter })
}

fn decides_alone(membership: &Membership, node: NodeId) -> bool {
    membership.voters == [node] && membership.voters_outgoing.is_empty()
}

/// Makes an empty directory that of the only node of a cluster which begins anew with this state.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk, when the directory is a node's, or when the state names no cluster.
pub fn restore(directory: &Path, from: &Snapshot) -> Result<Restored, Error> {
    let (mut state, cluster) = verify(from)?;
    // Two beginnings from one backup must not give out the same either.
    let beginning = request_id().ok_or_else(|| Error::Unstorable { reason: "no random bits".to_owned() })?;
    let beginning = u16::try_from(beginning % 0x4000).unwrap_or_default();
    let node = state.begin_anew(beginning);
    let (index, term) = (from.header.position.index, from.header.position.term);
    let jump = INDEX_JUMP.saturating_mul(u64::from(beginning).saturating_add(1));
    let position = Position { index: index.saturating_add(jump), term: term.saturating_add(1) };
    let membership = Membership { voters: vec![node], ..Membership::default() };
    let first = snapshot::stored(&state, position, membership, true)?;
    let hard_state = Some(HardState { term: position.term, vote: NodeId(0), commit: position.index });
    let write = Write { reset: Some(position), entries: Vec::new(), hard_state };
    let settings = db::Settings { directory: directory.into(), node, cache_bytes: DEFAULT_CACHE_BYTES };
    let built = build_aside(&settings, |db| {
        db.snapshots.write(&first)?;
        db.raft.write(&write)?;
        db.barrier.wait()?;
        db.bind_cluster(cluster)
    });
    built.map_err(|error| Error::from(Fatal::Storage(error)))?;
    Ok(Restored { node, cluster })
}

/// Whether a cluster can begin anew with this.
///
/// # Errors
/// [`Error::Fatal`] when it is not understood, or names no cluster.
pub fn verify(from: &Snapshot) -> Result<(State, ClusterId), Error> {
    let state = decode(from)?;
    let no_cluster = || Fatal::Undecodable {
        place: "the backup".to_owned(),
        reason: "it is of a cluster that never began".to_owned(),
    };
    let cluster = state.cluster.ok_or_else(no_cluster)?;
    Ok((state, cluster))
}

fn decode(from: &Snapshot) -> Result<State, Error> {
    entry::verify_version(from.header.command_version, "the backup")?;
    State::from_snapshot(from.header.command_version, &from.state)
        .map_err(|error| Fatal::Undecodable { place: "the backup".to_owned(), reason: error.to_string() }.into())
}

#[cfg(test)]
mod tests {
    use ::raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};
    use causeway_core::command::{CURRENT_VERSION, Command};
    use causeway_core::ids::Timestamp;
    use causeway_core::node::{NodeSpec, ProcessId};
    use causeway_core::plan::MemberChange;
    use causeway_storage::raft_log::LogEntry;
    use protobuf::Message as _;

    use super::*;
    use crate::group::Group;
    use crate::group::join::{self, Beginning};
    use crate::raft::sample::{name, settings, token};

    async fn started(directory: &Path, node: NodeId, start: Start) -> Group {
        let settings = crate::Settings { start, ..crate::Settings::new(directory, node) };
        Group::start(settings, ProcessId(1)).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cluster_begins_anew_from_a_backup_and_from_what_a_stopped_node_holds() {
        let first = tempfile::tempdir().unwrap();
        let start = settings(first.path()).start;
        let group = started(first.path(), NodeId(1), start).await;
        group.propose(Command::Initialise { cluster: ClusterId(9) }).await.unwrap();
        let spec = NodeSpec { name: name("one"), region: name("here"), address: None, supports: CURRENT_VERSION };
        let start = Command::StartNode { node: NodeId(1), spec: spec.clone(), process: ProcessId(1) };
        group.propose(start).await.unwrap();
        group.propose(token(1)).await.unwrap();
        let backup = read(&group.backup(false).await.unwrap().bytes, Path::new("backup")).unwrap();
        group.propose(token(2)).await.unwrap();
        let applied = group.status().applied;
        group.stop().await.unwrap();
        let Salvaged { held: salvaged, only_voter } = salvage(first.path(), NodeId(1)).unwrap();
        assert!(salvaged.header.position.index >= applied && only_voter);

        for (from, tokens) in [(backup, 1), (salvaged, 2)] {
            let directory = tempfile::tempdir().unwrap();
            let restored = restore(directory.path(), &from).unwrap();
            assert_eq!((restored.cluster, restored.node.0 > 500), (ClusterId(9), true));
            let Beginning::Node { identity, start } = join::look(directory.path()).unwrap() else { panic!("unused") };
            assert_eq!(identity.node, restored.node);
            let group = started(directory.path(), restored.node, start).await;
            assert!(group.status().ready, "it decides alone");
            assert_eq!(group.view().tokens.len(), tokens);
            let start = Command::StartNode { node: restored.node, spec: spec.clone(), process: ProcessId(2) };
            group.propose(start).await.unwrap();
            group.propose(token(3)).await.unwrap();
            assert!(group.status().applied > INDEX_JUMP, "what is numbered by the log is never numbered alike");
            let started_at = group.view().nodes[&restored.node].started_at;
            assert!(started_at > Timestamp(0));
            group.change_member(MemberChange::AddLearner(NodeId(restored.node.0 + 1))).await.unwrap();
            group.stop().await.unwrap();
            assert!(salvage(directory.path(), restored.node).unwrap().only_voter, "it can go on as it is");
            let again = restore(directory.path(), &from);
            assert!(again.is_err(), "it is a node's by now, and another beginning has another node: {again:?}");
        }
    }

    /// Whether a node is told to decide alone that began with these voters and then appended a change.
    fn decides(voters: &[u64], kind: ConfChangeType, agreed: bool) -> bool {
        let directory = tempfile::tempdir().unwrap();
        let settings =
            db::Settings { directory: directory.path().into(), node: NodeId(1), cache_bytes: DEFAULT_CACHE_BYTES };
        let voters = voters.iter().copied().map(NodeId).collect();
        let (mut disk, base) = snapshot::choose(Db::open(&settings).unwrap(), &Start::Found { voters }).unwrap();
        let mut single = ConfChangeSingle::default();
        single.set_change_type(kind);
        single.node_id = 2;
        let mut change = ConfChangeV2::default();
        change.set_changes(vec![single].into());
        let position = Position { index: base.position.index + 1, term: 1 };
        let entry = LogEntry { position, kind: EntryKind::MembersChange, data: change.write_to_bytes().unwrap() };
        let commit = if agreed { position.index } else { base.position.index };
        let hard_state = Some(HardState { term: 1, vote: NodeId(1), commit });
        disk.raft.write(&Write { reset: None, entries: vec![entry], hard_state }).unwrap();
        disk.barrier.wait().unwrap();
        drop(disk);
        salvage(directory.path(), NodeId(1)).unwrap().only_voter
    }

    #[test]
    fn a_node_decides_alone_only_when_no_change_that_may_be_agreed_on_gives_another_one_a_vote() {
        use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
        for (voters, kind, agreed, alone) in [
            (&[1][..], AddLearnerNode, true, true),
            (&[1], AddLearnerNode, false, true),
            (&[1], AddNode, true, false),
            (&[1], AddNode, false, false),
            (&[1, 2], RemoveNode, true, true),
            (&[1, 2], RemoveNode, false, false),
            (&[1, 2], AddLearnerNode, true, true),
            (&[1, 2, 3], RemoveNode, true, false),
        ] {
            assert_eq!(decides(voters, kind, agreed), alone, "{voters:?} {kind:?}, agreed on: {agreed}");
        }
    }

    #[test]
    fn what_is_no_backup_makes_no_cluster() {
        let directory = tempfile::tempdir().unwrap();
        assert!(read(b"CWYSNAP but not one", Path::new("backup")).is_err());
        let never_began = backup(&State::default(), Position { index: 3, term: 1 }).unwrap();
        assert!(restore(directory.path(), &never_began).is_err());
        assert_eq!(join::look(directory.path()).unwrap(), Beginning::Empty);
    }
}
