//! Snapshots of the agreed state: made, chosen at the start, sent to and installed from other members.
//!
//! The log is given up only to the older of the two newest snapshots, so one unreadable snapshot costs nothing.

use std::sync::Arc;

use ::raft::eraftpb;
use causeway_core::codec;
use causeway_core::ids::NodeId;
use causeway_core::state::State;
use causeway_storage::raft_log::Position;
use causeway_storage::raft_meta::HardState;
use causeway_storage::raft_store::Write;
use causeway_storage::snapshot_file::{Membership, Snapshot, SnapshotHeader};

use super::disk::Disk;
use super::replica::Replica;
use super::settings::Start;
use super::{convert, entry};
use crate::error::Fatal;

/// The position that a new cluster begins with. It is not 0, so that a member that joins later is behind the log's
/// beginning and gets a snapshot, which tells it the first membership; the log alone does not.
const GENESIS: Position = Position { index: 1, term: 1 };

/// What a replica starts from; the default is nothing at all.
#[derive(Default)]
pub(crate) struct Base {
    pub(crate) position: Position,
    pub(crate) membership: Membership,
    pub(crate) state: State,
}

/// Chooses the newest usable snapshot. An empty directory gets the first one, or waits for that of a leader.
pub(crate) fn choose<D: Disk>(mut disk: D, start: &Start) -> Result<(D, Base), Fatal> {
    match start {
        Start::Found { voters } if disk.hard_state().is_none() => return genesis(disk, voters),
        // A node that joins makes promises before it has a log.
        _ if disk.last_index() == 0 => return Ok((disk, Base::default())),
        _ => {}
    }
    for index in disk.snapshots()? {
        match disk.read_snapshot(index) {
            Ok(snapshot) if fits(&disk, snapshot.header.position) => return Ok((disk, base(&snapshot)?)),
            Ok(Snapshot { header, .. }) if header.made_here && header.position.index > disk.last_index() => {
                let reason = format!("a snapshot was made at {index}, but the log ends at {}", disk.last_index());
                return Err(disk.quarantine(&reason).into());
            }
            Ok(_) => {
                // It would count among the newest ones that are kept, and push out one that is needed.
                tracing::warn!(index, "snapshot removed: it was received but never installed");
                disk.remove_snapshot(index)?;
            }
            Err(error) if error.is_damage() => tracing::warn!(index, %error, "snapshot left out: it is damaged"),
            Err(error) => return Err(error.into()),
        }
    }
    Err(Fatal::NoSnapshot { compacted: disk.compacted().index })
}

/// The newest snapshot that helps this follower, as it travels. One from before the follower was a member does not: the
/// follower ignores it, and the leader would send it again and again. One from before the log begins does not either.
pub(super) fn for_follower(
    disk: &impl Disk,
    minimum: u64,
    to: NodeId,
) -> Result<Option<eraftpb::Snapshot>, causeway_storage::Error> {
    let minimum = minimum.max(disk.compacted().index);
    for index in disk.snapshots()?.into_iter().filter(|index| *index >= minimum) {
        match disk.read_snapshot(index) {
            Ok(Snapshot { header, .. }) if !header.membership.contains(to) => {}
            Ok(Snapshot { header, state }) => {
                let data = [header.command_version.to_be_bytes().as_slice(), &state].concat();
                return Ok(Some(convert::raft_snapshot(header.position, &header.membership, data)));
            }
            Err(error) if error.is_damage() => tracing::warn!(index, %error, "snapshot not sent: it is damaged"),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn fits(disk: &impl Disk, position: Position) -> bool {
    position.index >= disk.compacted().index && disk.term(position.index) == Some(position.term)
}

fn base(snapshot: &Snapshot) -> Result<Base, Fatal> {
    let SnapshotHeader { position, membership, command_version, .. } = &snapshot.header;
    let place = format!("the snapshot at {}", position.index);
    entry::verify_version(*command_version, &place)?;
    let state = State::from_snapshot(*command_version, &snapshot.state)
        .map_err(|error| Fatal::Undecodable { place, reason: error.to_string() })?;
    Ok(Base { position: *position, membership: membership.clone(), state })
}

fn genesis<D: Disk>(mut disk: D, voters: &[NodeId]) -> Result<(D, Base), Fatal> {
    let membership = Membership { voters: voters.to_vec(), ..Membership::default() };
    let base = Base { position: GENESIS, membership, state: State::default() };
    disk.write_snapshot(&stored(&base.state, base.position, base.membership.clone(), true)?)?;
    disk.write(&Write {
        reset: Some(GENESIS),
        entries: Vec::new(),
        hard_state: Some(HardState { term: GENESIS.term, vote: NodeId(0), commit: GENESIS.index }),
    })?;
    disk.barrier()?;
    Ok((disk, base))
}

/// Encodes a state and reads it back: a snapshot that cannot be read must never replace the log.
pub(crate) fn stored(
    state: &State,
    position: Position,
    membership: Membership,
    made_here: bool,
) -> Result<Snapshot, Fatal> {
    let place = || format!("the snapshot at {}", position.index);
    let undecodable = |error: codec::Error| Fatal::Undecodable { place: place(), reason: error.to_string() };
    let bytes = state.to_snapshot().map_err(undecodable)?;
    let command_version = state.stored_version();
    let back = State::from_snapshot(command_version, &bytes).map_err(undecodable)?;
    if back != *state {
        return Err(Fatal::Undecodable { place: place(), reason: "it reads back as another state".to_owned() });
    }
    let header = SnapshotHeader { position, membership, command_version, made_here };
    Ok(Snapshot { header, state: bytes })
}

impl<D: Disk> Replica<D> {
    /// Makes a snapshot when enough was applied since the last one or a follower needs it, and gives up the log to the
    /// one before.
    pub(super) fn snapshot_if_due(&mut self) -> Result<(), Fatal> {
        let entries = self.applied.index.saturating_sub(self.snapshot.index);
        let full = entries >= self.snapshot_every_entries || self.applied_bytes >= self.snapshot_every_bytes;
        if !self.node.mut_store().take_snapshot_wanted() && !full {
            return Ok(());
        }
        let snapshot = stored(&self.state, self.applied, self.membership.clone(), true)?;
        let previous = self.snapshot.index;
        let disk = self.node.mut_store().disk_mut();
        disk.write_snapshot(&snapshot)?;
        if previous < self.applied.index {
            disk.compact(previous)?;
        }
        self.snapshot = self.applied;
        self.applied_bytes = 0;
        tracing::debug!(index = self.snapshot.index, bytes = snapshot.state.len(), "snapshot made");
        Ok(())
    }

    /// Step 2 of a turn: takes over a leader's snapshot. Its file is durable before the log is given up for it.
    pub(super) fn install_snapshot(&mut self, snapshot: &eraftpb::Snapshot) -> Result<(), Fatal> {
        if snapshot.is_empty() {
            return Ok(());
        }
        let position = convert::snapshot_position(snapshot);
        let membership = convert::membership(snapshot.get_metadata().get_conf_state());
        let state = entry::unwrap_state(&snapshot.data, &format!("the received snapshot at {}", position.index))?;
        let file = stored(&state, position, membership.clone(), false)?;
        self.node.mut_store().disk_mut().write_snapshot(&file)?;
        self.node.mut_store().stage_reset(position);
        self.proposals.overtaken(position.index);
        self.state = Arc::new(state);
        self.membership = membership;
        self.applied = position;
        self.snapshot = position;
        self.applied_bytes = 0;
        self.changed = true;
        self.routes_due = true;
        tracing::info!(index = position.index, "snapshot of another member installed");
        Ok(())
    }
}
