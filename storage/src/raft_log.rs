//! Tree `raft_log`: the entries behind the compacted position, without a hole.
//!
//! Key: the index, 8 bytes, big endian, so that the order of the tree is the order of the log. Terms and sizes of all
//! entries stay in memory (24 bytes each), so only contents are ever read back.

use std::collections::VecDeque;

use causeway_core::codec as binary;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::table::{Batch, Table};

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// The index; 0 before the first entry.
    pub index: u64,
    /// The term of the entry at that index.
    pub term: u64,
}

/// What the content of an entry is. The order of the variants is part of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A command, or nothing (a new leader's first entry).
    Normal,
    /// A change of one member.
    MemberChange,
    /// A change of several members.
    MembersChange,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: Position,
    /// What it is.
    pub kind: EntryKind,
    /// Its content.
    pub data: Vec<u8>,
}

/// The stored form; the index is the key.
#[derive(Serialize, Deserialize)]
struct Stored {
    term: u64,
    kind: EntryKind,
    data: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    term: u64,
    bytes: u64,
    fragments: u32,
}

/// The tree, with the index of its entries in memory.
pub(crate) struct RaftLog {
    table: Table,
    compacted: Position,
    slots: VecDeque<Slot>,
    bytes: u64,
}

impl RaftLog {
    /// Reads the whole log once; entries at or below `compacted` are left over from an interrupted compaction.
    pub(crate) fn open(db: &sled::Db, compacted: Position) -> Result<Self, Error> {
        let mut log = Self { table: Table::open(db, "raft_log")?, compacted, slots: VecDeque::new(), bytes: 0 };
        let mut left_over = Batch::default();
        let mut slots = VecDeque::new();
        let mut bytes = 0_u64;
        let mut expected = compacted.index.saturating_add(1);
        for value in log.table.values() {
            let (key, value) = value?;
            let index = log.index_of(&key)?;
            if index <= compacted.index {
                left_over.remove_known(&key, crate::codec::fragments(value.len()));
                continue;
            }
            if index != expected {
                return Err(Error::corrupt("tree raft_log", format!("entry {expected} is missing before {index}")));
            }
            expected = index.saturating_add(1);
            let slot = Slot {
                term: log.decode(index, &value)?.position.term,
                bytes: length(&value),
                fragments: crate::codec::fragments(value.len()),
            };
            bytes = bytes.saturating_add(slot.bytes);
            slots.push_back(slot);
        }
        log.table.apply(left_over)?;
        log.slots = slots;
        log.bytes = bytes;
        Ok(log)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn compacted(&self) -> Position {
        self.compacted
    }

    pub(crate) fn entries(&self) -> u64 {
        u64::try_from(self.slots.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.compacted.index.saturating_add(self.entries())
    }

    /// The term at an index; none outside of compacted..=last.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        if index == self.compacted.index { Some(self.compacted.term) } else { self.slot(index).map(|slot| slot.term) }
    }

    pub(crate) fn read(&self, index: u64) -> Result<Option<LogEntry>, Error> {
        if self.slot(index).is_none() {
            return Ok(None);
        }
        let key = index.to_be_bytes();
        let value = self.table.get(&key)?.ok_or_else(|| Error::corrupt(self.table.place(&key), "it is gone"))?;
        self.decode(index, &value).map(Some)
    }

    /// Stages entries that follow each other; what stands at or behind the first of them is replaced.
    pub(crate) fn stage_append(&self, batch: &mut Batch, entries: &[LogEntry]) -> Result<Append, Error> {
        let Some(first) = entries.first() else { return Ok(Append::default()) };
        let keep_to = first.position.index.saturating_sub(1);
        if first.position.index <= self.compacted.index || keep_to > self.last_index() {
            return Err(Error::OutOfOrder { index: first.position.index, last: self.last_index() });
        }
        self.stage_truncation(batch, keep_to);
        let mut append = Append { keep_to: Some(keep_to), slots: Vec::with_capacity(entries.len()) };
        for (entry, expected) in entries.iter().zip(first.position.index..) {
            if entry.position.index != expected {
                return Err(Error::OutOfOrder { index: entry.position.index, last: expected.saturating_sub(1) });
            }
            let key = entry.position.index.to_be_bytes();
            let stored = StoredRef { term: entry.position.term, kind: entry.kind, data: &entry.data };
            let unstorable = |error: &dyn std::fmt::Display| Error::unstorable(self.table.place(&key), error);
            let value = binary::encode(&stored).map_err(|error| unstorable(&error))?;
            let fragments = batch.put_new(&key, &value).map_err(|error| unstorable(&error))?;
            append.slots.push(Slot { term: entry.position.term, bytes: length(&value), fragments });
        }
        Ok(append)
    }

    /// Stages the removal of everything behind `keep_to`.
    pub(crate) fn stage_truncation(&self, batch: &mut Batch, keep_to: u64) {
        for index in keep_to.saturating_add(1)..=self.last_index() {
            if let Some(slot) = self.slot(index) {
                batch.remove_known(&index.to_be_bytes(), slot.fragments);
            }
        }
    }

    /// Follows a staged append that was written.
    pub(crate) fn appended(&mut self, append: Append) {
        if let Some(keep_to) = append.keep_to {
            self.truncated(keep_to);
        }
        for slot in append.slots {
            self.bytes = self.bytes.saturating_add(slot.bytes);
            self.slots.push_back(slot);
        }
    }

    /// Follows a written snapshot that replaced the whole log.
    pub(crate) fn reset(&mut self, compacted: Position) {
        self.compacted = compacted;
        self.slots.clear();
        self.bytes = 0;
    }

    /// Follows a new compacted position that was written: drops at most `limit` entries at or below it from the tree.
    /// Answers whether any are left.
    pub(crate) fn drop_compacted(&mut self, compacted: Position, limit: usize) -> Result<bool, Error> {
        let mut batch = Batch::default();
        let mut dropped = 0_usize;
        while self.compacted.index < compacted.index && dropped < limit {
            let index = self.compacted.index.saturating_add(1);
            let Some(slot) = self.slots.pop_front() else { break };
            batch.remove_known(&index.to_be_bytes(), slot.fragments);
            self.bytes = self.bytes.saturating_sub(slot.bytes);
            self.compacted = Position { index, term: slot.term };
            dropped = dropped.saturating_add(1);
        }
        self.table.apply(batch)?;
        Ok(self.compacted.index < compacted.index)
    }

    fn truncated(&mut self, keep_to: u64) {
        while self.last_index() > keep_to {
            let Some(slot) = self.slots.pop_back() else { break };
            self.bytes = self.bytes.saturating_sub(slot.bytes);
        }
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        let behind = index.checked_sub(self.compacted.index)?.checked_sub(1)?;
        self.slots.get(usize::try_from(behind).ok()?)
    }

    fn index_of(&self, key: &[u8]) -> Result<u64, Error> {
        let bytes = key.try_into().map_err(|_| Error::corrupt(self.table.place(key), "the key is not an index"))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn decode(&self, index: u64, value: &[u8]) -> Result<LogEntry, Error> {
        let stored: Stored =
            binary::decode(value).map_err(|error| Error::corrupt(self.table.place(&index.to_be_bytes()), error))?;
        Ok(LogEntry { position: Position { index, term: stored.term }, kind: stored.kind, data: stored.data })
    }
}

/// [`Stored`] without owning the content.
#[derive(Serialize)]
struct StoredRef<'a> {
    term: u64,
    kind: EntryKind,
    data: &'a [u8],
}

/// What an append will have changed once it is written.
#[derive(Default)]
pub(crate) struct Append {
    keep_to: Option<u64>,
    slots: Vec<Slot>,
}

fn length(value: &[u8]) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}
