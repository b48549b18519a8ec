//! Whose data directory this is, said twice: in a file beside the database and inside the database.
//!
//! The file is written last when a directory is first used and is never removed, so a file without a database means
//! that the database was lost. That cannot be told when the whole directory is gone.

use std::path::{Path, PathBuf};

use causeway_core::codec as binary;
use causeway_core::ids::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};

use crate::durable_file;
use crate::error::Error;

/// The format of the data directory that this version writes, and the newest that it reads.
pub(crate) const FORMAT: u32 = 1;
const MAXIMUM_FILE_BYTES: u64 = 4096;

/// Whose data this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The format of everything in the directory.
    pub format: u32,
    /// The node.
    pub node: NodeId,
    /// The cluster; none until the node learned it.
    pub cluster: Option<ClusterId>,
}

impl Identity {
    pub(crate) fn new(node: NodeId) -> Self {
        Self { format: FORMAT, node, cluster: None }
    }

    /// Refuses a newer format and another node.
    pub(crate) fn verify(&self, directory: &Path, node: NodeId) -> Result<(), Error> {
        self.verify_format(directory)?;
        if self.node != node {
            return Err(Error::WrongNode { directory: directory.into(), found: self.node, expected: node });
        }
        Ok(())
    }

    pub(crate) fn verify_format(&self, directory: &Path) -> Result<(), Error> {
        if self.format > FORMAT {
            return Err(Error::NewerFormat { path: directory.into(), found: self.format, supported: FORMAT });
        }
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("IDENTITY")
}

/// Reads the file; none when the directory was never used.
pub(crate) fn read(directory: &Path) -> Result<Option<Identity>, Error> {
    let path = path(directory);
    let Some(bytes) = durable_file::read(&path, MAXIMUM_FILE_BYTES)? else { return Ok(None) };
    let damaged = |reason: &str| Error::corrupt(path.display().to_string(), reason);
    let (stored, content) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("too short"))?;
    if crc32fast::hash(content) != u32::from_le_bytes(*stored) {
        return Err(damaged("the checksum does not fit"));
    }
    binary::decode(content).map(Some).map_err(|error| damaged(&error.to_string()))
}

/// Writes the file.
pub(crate) fn write(directory: &Path, identity: &Identity) -> Result<(), Error> {
    let path = path(directory);
    let content = binary::encode(identity).map_err(|error| Error::unstorable(path.display().to_string(), error))?;
    durable_file::replace(&path, &[&crc32fast::hash(&content).to_le_bytes(), &content])
}
