//! The log and the promises of a replica, changed together in one atomic step.
//!
//! Nothing here waits for the disk: a caller that lets anybody rely on a write calls [`crate::barrier::Barrier::wait`]
//! first.

use sled::Transactional;
use sled::transaction::{ConflictableTransactionError, TransactionError};

use crate::error::Error;
use crate::raft_log::{LogEntry, Position, RaftLog};
use crate::raft_meta::{HardState, RaftMeta};
use crate::table::Batch;

/// How many compacted entries leave the tree in one batch.
const DROP_AT_ONCE: usize = 1024;

/// What one turn of a replica changes. Written as a whole or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Write {
    /// The position that an installed snapshot reaches: the whole log is replaced by it.
    pub reset: Option<Position>,
    /// Entries that follow each other; what stands at or behind the first of them is replaced.
    pub entries: Vec<LogEntry>,
    /// New promises.
    pub hard_state: Option<HardState>,
}

/// The trees `raft_log` and `raft_meta`.
pub struct RaftStore {
    meta: RaftMeta,
    log: RaftLog,
    hard_state: Option<HardState>,
}

impl RaftStore {
    pub(crate) fn open(db: &sled::Db) -> Result<Self, Error> {
        let meta = RaftMeta::open(db)?;
        meta.table().check()?;
        let hard_state = meta.hard_state()?;
        let compacted = meta.compacted()?.unwrap_or_default();
        let log = RaftLog::open(db, compacted)?;
        log.table().check()?;
        Ok(Self { meta, log, hard_state })
    }

    /// The promises; none before the first were written.
    #[must_use]
    pub fn hard_state(&self) -> Option<HardState> {
        self.hard_state
    }

    /// The last position that a snapshot replaced; index 0 while there is none.
    #[must_use]
    pub fn compacted(&self) -> Position {
        self.log.compacted()
    }

    /// The index of the last entry, or of the compacted position when the log is empty.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.log.last_index()
    }

    /// How many entries the log holds.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.log.entries()
    }

    /// Stored bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// The term at an index between the compacted position and the last entry, both included; none elsewhere.
    #[must_use]
    pub fn term(&self, index: u64) -> Option<u64> {
        self.log.term(index)
    }

    /// Reads an entry; none outside of the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is not what was written, [`Error::Database`].
    pub fn read(&self, index: u64) -> Result<Option<LogEntry>, Error> {
        self.log.read(index)
    }

    /// Writes everything in one atomic step. Not durable before the next barrier.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] and [`Error::Unstorable`] leave everything as it was; [`Error::Database`] does not.
    pub fn write(&mut self, write: &Write) -> Result<(), Error> {
        let mut log_batch = Batch::default();
        let mut meta_batch = Batch::default();
        if let Some(hard_state) = &write.hard_state {
            self.meta.stage_hard_state(&mut meta_batch, hard_state)?;
        }
        if let Some(reset) = write.reset {
            if let Some(entry) = write.entries.first() {
                return Err(Error::OutOfOrder { index: entry.position.index, last: reset.index });
            }
            self.meta.stage_compacted(&mut meta_batch, reset)?;
            self.log.stage_truncation(&mut log_batch, self.log.compacted().index);
        }
        let append = self.log.stage_append(&mut log_batch, &write.entries)?;
        self.commit(log_batch, meta_batch)?;
        if let Some(reset) = write.reset {
            self.log.reset(reset);
        }
        self.log.appended(append);
        self.hard_state = write.hard_state.or(self.hard_state);
        Ok(())
    }

    /// Gives up all entries up to `index`, which a durable snapshot must cover. Not durable before the next barrier,
    /// which is fine: the entries may come back, and are dropped again.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] for an index behind the log's end, [`Error::Database`].
    pub fn compact(&mut self, index: u64) -> Result<(), Error> {
        if index <= self.log.compacted().index {
            return Ok(());
        }
        let Some(term) = self.log.term(index) else {
            return Err(Error::OutOfOrder { index, last: self.log.last_index() });
        };
        let compacted = Position { index, term };
        let mut batch = Batch::default();
        self.meta.stage_compacted(&mut batch, compacted)?;
        self.meta.table().apply(batch)?;
        while self.log.drop_compacted(compacted, DROP_AT_ONCE)? {}
        Ok(())
    }

    /// One tree is changed by a batch; both are changed by a transaction, which reads before it writes.
    fn commit(&self, log_batch: Batch, meta_batch: Batch) -> Result<(), Error> {
        if meta_batch.is_empty() {
            return self.log.table().apply(log_batch);
        }
        if log_batch.is_empty() {
            return self.meta.table().apply(meta_batch);
        }
        let result = (self.log.table().tree(), self.meta.table().tree()).transaction(|(log, meta)| {
            log.apply_batch(log_batch.rows())?;
            meta.apply_batch(meta_batch.rows())?;
            Ok::<(), ConflictableTransactionError<std::convert::Infallible>>(())
        });
        match result {
            Ok(()) => Ok(()),
            Err(TransactionError::Abort(never)) => match never {},
            Err(TransactionError::Storage(error)) => Err(Error::database("write")(error)),
        }
    }
}
