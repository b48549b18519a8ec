//! Why storage failed. After [`Error::Io`], [`Error::Database`] or [`Error::Corrupt`] from an open store, nothing may
//! be written through it any more: what reached the disk is unknown until it is opened again.

use std::path::{Path, PathBuf};

use causeway_core::ids::{ClusterId, NodeId};

/// Why storage failed, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused: permissions, space, a broken disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process", directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// The directory belongs to another node.
    #[error("{} belongs to node {found}, not to node {expected}", directory.display())]
    WrongNode {
        /// The data directory.
        directory: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Who asked.
        expected: NodeId,
    },
    /// The directory belongs to another cluster.
    #[error("the data directory belongs to cluster {found}, not to cluster {expected}")]
    WrongCluster {
        /// Whose it is.
        found: ClusterId,
        /// What the agreed state says.
        expected: ClusterId,
    },
    /// The directory was used before and its database is gone: this node's votes are forgotten votes.
    #[error(
        "the database of {} is gone although the directory was used by node {node}, whose votes are forgotten: where \
         other nodes have its data, run `causeway cluster rejoin`; without any, put a copy of the whole directory in \
         its place, or begin anew with a new node.id and a new node.data_directory",
        directory.display()
    )]
    Wiped {
        /// The data directory.
        directory: PathBuf,
        /// Whose it was.
        node: NodeId,
    },
    /// The directory was never used by a node.
    #[error("{} holds no data of a node", directory.display())]
    Unused {
        /// The directory.
        directory: PathBuf,
    },
    /// A newer Causeway wrote this.
    #[error(
        "{} was written by a newer Causeway: it has format {found}, this one reads up to {supported}",
        path.display()
    )]
    NewerFormat {
        /// The directory or file.
        path: PathBuf,
        /// The format that was found.
        found: u32,
        /// The newest that can be read.
        supported: u32,
    },
    /// The database was damaged and has been moved aside, unchanged.
    #[error("the database was damaged ({reason}) and has been moved to {}", moved_to.display())]
    Quarantined {
        /// Where the damaged database is now.
        moved_to: PathBuf,
        /// What was wrong with it.
        reason: String,
    },
    /// A stored value is not what was written.
    #[error("{place} is damaged: {reason}")]
    Corrupt {
        /// The tree and key, or the file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The database reported a failure that is not a damaged value.
    #[error("the database failed to {action}: {source}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// What the database said.
        source: sled::Error,
    },
    /// A value above [`crate::codec::MAXIMUM_VALUE_BYTES`], or one without a binary form.
    #[error("a value for {place} cannot be stored: {reason}")]
    Unstorable {
        /// The tree or file.
        place: String,
        /// Why.
        reason: String,
    },
    /// The caller broke the order of the log; a defect of the caller, nothing was written.
    #[error("log entry {index} does not follow {last}")]
    OutOfOrder {
        /// The entry that was to be appended.
        index: u64,
        /// The last one there is.
        last: u64,
    },
    /// An earlier barrier failed: what is durable is unknown until the database is opened again.
    #[error("an earlier disk barrier failed")]
    BarrierBroken,
}

impl Error {
    /// Whether the bytes on disk, and not the access to them, are at fault.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Database { source, .. } => match source {
                sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) => true,
                // A database file that was cut short ends a read early.
                sled::Error::Io(error) => {
                    matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidData)
                }
                sled::Error::Unsupported(_) | sled::Error::CollectionNotFound(_) => false,
            },
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn database(action: &'static str) -> impl FnOnce(sled::Error) -> Self {
        move |source| Self::Database { action, source }
    }

    pub(crate) fn corrupt(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Corrupt { place: place.into(), reason: reason.to_string() }
    }

    pub(crate) fn unstorable(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Unstorable { place: place.into(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Error;

    #[test]
    fn what_the_operating_system_said_is_told() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [Error::io("write", Path::new("f"))(full()), Error::database("open")(sled::Error::Io(full()))] {
            assert!(error.to_string().contains(&full().to_string()), "{error}");
        }
    }
}
