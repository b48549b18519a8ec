//! raft-rs's view of the stored log, and the one place that changes it.
//!
//! What a turn of the replica changes is collected first and written as one atomic step. The newest entries stay in
//! memory, because a leader reads each entry back at once to apply it.

use std::cell::Cell;
use std::collections::VecDeque;

use ::raft::eraftpb::{Entry, HardState, Snapshot};
use ::raft::{GetEntriesContext, RaftState, Storage, StorageError};
use causeway_core::ids::NodeId;
use causeway_storage::raft_log::Position;
use causeway_storage::raft_store::Write;
use causeway_storage::snapshot_file::Membership;

use super::disk::Disk;
use super::{convert, snapshot};

const RECENT_BYTES: usize = 1024 * 1024;

/// The stored log of one replica.
pub(crate) struct LogStore<D> {
    disk: D,
    /// The position and membership that the replica starts from.
    base: (Position, Membership),
    turn: Write,
    /// Whether a follower needs a newer snapshot than there is; raft-rs only lends the store when it asks for one.
    snapshot_wanted: Cell<bool>,
    recent: VecDeque<Entry>,
    recent_bytes: usize,
}

impl<D: Disk> LogStore<D> {
    /// `base` is the snapshot that the replica starts from.
    pub(super) fn new(disk: D, base: (Position, Membership)) -> Self {
        Self {
            disk,
            base,
            turn: Write::default(),
            snapshot_wanted: Cell::new(false),
            recent: VecDeque::new(),
            recent_bytes: 0,
        }
    }

    pub(super) fn disk(&self) -> &D {
        &self.disk
    }

    pub(super) fn into_disk(self) -> D {
        self.disk
    }

    pub(super) fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Whether a follower asked for a newer snapshot than there is, since the last call.
    pub(super) fn take_snapshot_wanted(&mut self) -> bool {
        self.snapshot_wanted.take()
    }

    /// A snapshot that was installed replaces the whole log.
    pub(super) fn stage_reset(&mut self, position: Position) {
        self.turn.reset = Some(position);
    }

    /// New entries, which follow each other and replace what stands at or behind the first of them.
    pub(super) fn stage_entries(&mut self, entries: &[Entry]) {
        self.turn.entries = entries.iter().map(convert::stored_entry).collect();
        if let Some(first) = entries.first() {
            while self.recent.back().is_some_and(|last| last.index >= first.index) {
                self.recent
                    .pop_back()
                    .inspect(|last| self.recent_bytes = self.recent_bytes.saturating_sub(weight(last)));
            }
        }
        for entry in entries {
            self.recent_bytes = self.recent_bytes.saturating_add(weight(entry));
            self.recent.push_back(entry.clone());
        }
        while self.recent_bytes > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { break };
            self.recent_bytes = self.recent_bytes.saturating_sub(weight(&oldest));
        }
    }

    /// New promises.
    pub(super) fn stage_hard_state(&mut self, hard_state: &HardState) {
        self.turn.hard_state = Some(convert::stored_hard_state(hard_state));
    }

    /// Writes what was staged, atomically; not durable before the barrier.
    pub(super) fn write(&mut self) -> Result<(), causeway_storage::Error> {
        let turn = std::mem::take(&mut self.turn);
        if turn.reset.is_some() {
            self.recent.clear();
            self.recent_bytes = 0;
        }
        self.disk.write(&turn)
    }

    fn read(&self, index: u64) -> ::raft::Result<Entry> {
        let oldest = self.recent.front().map_or(u64::MAX, |entry| entry.index);
        let recent = index.checked_sub(oldest).and_then(|place| self.recent.get(usize::try_from(place).ok()?));
        if let Some(entry) = recent {
            return Ok(entry.clone());
        }
        let stored = self.disk.read(index).map_err(failed)?.ok_or(StorageError::Unavailable)?;
        Ok(convert::raft_entry(stored))
    }
}

impl<D: Disk> Storage for LogStore<D> {
    fn initial_state(&self) -> ::raft::Result<RaftState> {
        let (position, membership) = &self.base;
        let mut stored = self.disk.hard_state().unwrap_or_default();
        // A snapshot holds only what was committed, and the stored commit index may lag behind it.
        stored.commit = stored.commit.max(position.index);
        stored.term = stored.term.max(position.term);
        Ok(RaftState::new(convert::raft_hard_state(&stored), convert::conf_state(membership)))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> ::raft::Result<Vec<Entry>> {
        if low <= self.disk.compacted().index {
            return Err(StorageError::Compacted.into());
        }
        let maximum = max_size.into().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        let mut bytes = 0_usize;
        let mut entries = Vec::new();
        for index in low..high {
            let entry = self.read(index)?;
            bytes = bytes.saturating_add(weight(&entry));
            if bytes > maximum && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> ::raft::Result<u64> {
        if index < self.disk.compacted().index {
            return Err(StorageError::Compacted.into());
        }
        Ok(self.disk.term(index).ok_or(StorageError::Unavailable)?)
    }

    fn first_index(&self) -> ::raft::Result<u64> {
        Ok(self.disk.compacted().index.saturating_add(1))
    }

    fn last_index(&self) -> ::raft::Result<u64> {
        Ok(self.disk.last_index())
    }

    /// raft-rs asks again with a later heartbeat when there is none.
    fn snapshot(&self, request_index: u64, to: u64) -> ::raft::Result<Snapshot> {
        let found = snapshot::for_follower(&self.disk, request_index, NodeId(to)).map_err(failed)?;
        found.ok_or_else(|| {
            self.snapshot_wanted.set(true);
            StorageError::SnapshotTemporarilyUnavailable.into()
        })
    }
}

fn failed(error: causeway_storage::Error) -> ::raft::Error {
    StorageError::Other(Box::new(error)).into()
}

/// What an entry counts against limits: its content and a little for itself.
fn weight(entry: &Entry) -> usize {
    entry.data.len().saturating_add(32)
}
