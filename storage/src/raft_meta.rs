//! Tree `raft_meta`: what a replica must not forget beside its log.
//!
//! The agreed state and the index it was applied to are not here: both are rebuilt from the newest snapshot and the
//! log behind it, so there is no second copy to keep in step.

use causeway_core::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::raft_log::Position;
use crate::table::{Batch, Table};

const HARD_STATE: &[u8] = b"hard_state";
const COMPACTED: &[u8] = b"compacted";

/// The promises of a replica: they must be durable before it answers anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HardState {
    /// The newest term that it has seen.
    pub term: u64,
    /// Whom it voted for in that term; node 0 for nobody.
    pub vote: NodeId,
    /// The last log index that it knows to be committed; may lag behind.
    pub commit: u64,
}

/// The tree.
pub(crate) struct RaftMeta {
    table: Table,
}

impl RaftMeta {
    pub(crate) fn open(db: &sled::Db) -> Result<Self, Error> {
        Ok(Self { table: Table::open(db, "raft_meta")? })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn hard_state(&self) -> Result<Option<HardState>, Error> {
        self.table.get_as(HARD_STATE)
    }

    /// The last log position that a snapshot replaced.
    pub(crate) fn compacted(&self) -> Result<Option<Position>, Error> {
        self.table.get_as(COMPACTED)
    }

    pub(crate) fn stage_hard_state(&self, batch: &mut Batch, hard_state: &HardState) -> Result<(), Error> {
        self.table.stage(batch, HARD_STATE, hard_state)
    }

    pub(crate) fn stage_compacted(&self, batch: &mut Batch, compacted: Position) -> Result<(), Error> {
        self.table.stage(batch, COMPACTED, &compacted)
    }
}
