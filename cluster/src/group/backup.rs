//! What is agreed on as a file, with how new it is.

use causeway_storage::raft_log::Position;

use super::Group;
use crate::error::Error;
use crate::restore;

/// A backup, and what is known of how new it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The file, which [`crate::restore`] reads.
    pub bytes: Vec<u8>,
    /// It holds everything up to this log index, at least.
    pub applied: u64,
    /// Whether a majority confirmed that it holds whatever was answered anywhere before it was asked for. Otherwise it
    /// is what this node had applied, and may be older.
    pub confirmed: bool,
}

impl Group {
    /// What is agreed on, as a file that [`crate::restore`] reads. With `stale`, nobody else is asked: it is what this
    /// node has applied, also when there is no majority.
    ///
    /// # Errors
    /// Those of [`Group::read_barrier`] unless `stale`; [`Error::Unstorable`].
    pub async fn backup(&self, stale: bool) -> Result<Backup, Error> {
        if !stale {
            self.read_barrier().await?;
        }
        let applied = self.status().applied;
        // The view first: the position that follows may only be newer.
        let (view, status) = (self.view(), self.status());
        let position = Position { index: status.applied, term: status.term };
        let bytes = restore::backup(&view, position)?.to_bytes();
        let bytes = bytes.map_err(|error| Error::Unstorable { reason: error.to_string() })?;
        Ok(Backup { bytes, applied, confirmed: !stale })
    }
}
