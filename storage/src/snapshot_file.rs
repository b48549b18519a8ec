//! Snapshots of the agreed state, each a file of its own: they are too large for rows of the database.
//!
//! A file is written under another name, synced and renamed, so a file with a snapshot's name is whole. It carries a
//! checksum nevertheless, because disks forget. The newest [`KEPT`] are kept, and the log reaches back to the older of
//! them, so one damaged file costs nothing.
//!
//! ```text
//!   "CWYSNAP" . format (1 byte) . crc32 of the rest . length of the header (u32) . header . state
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use causeway_core::codec as binary;
use causeway_core::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::durable_file;
use crate::error::Error;
use crate::raft_log::Position;

/// How many snapshots are kept.
pub const KEPT: usize = 2;
/// The largest snapshot file, in bytes.
pub const MAXIMUM_SNAPSHOT_BYTES: u64 = 256 * 1024 * 1024;

const MAGIC: &[u8; 7] = b"CWYSNAP";
const FORMAT: u8 = 1;
const EXTENSION: &str = "snapshot";

/// Who takes part in the Raft group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Membership {
    /// Members that vote.
    pub voters: Vec<NodeId>,
    /// Members that only follow.
    pub learners: Vec<NodeId>,
    /// Voters of the previous membership while a change is under way.
    pub voters_outgoing: Vec<NodeId>,
    /// Voters that become learners when the change is over.
    pub learners_next: Vec<NodeId>,
    /// Whether the change under way ends by itself.
    pub auto_leave: bool,
}

impl Membership {
    /// Whether a node takes part, in whatever part.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        // Voters that become learners are voters of the previous membership.
        [&self.voters, &self.learners, &self.voters_outgoing].into_iter().any(|nodes| nodes.contains(&node))
    }
}

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The last log position that the state includes.
    pub position: Position,
    /// The membership at that position.
    pub membership: Membership,
    /// The version of the command set that wrote the state.
    pub command_version: u16,
    /// Whether this node made it from its own log: then its log must reach that far.
    pub made_here: bool,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it says of itself.
    pub header: SnapshotHeader,
    /// The agreed state, encoded.
    pub state: Vec<u8>,
}

/// The directory of snapshots.
pub struct SnapshotFiles {
    directory: PathBuf,
}

impl SnapshotFiles {
    /// Opens the directory, creating it and removing what an interrupted write left over.
    pub(crate) fn open(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io("create", &directory))?;
        durable_file::sync_parent(&directory)?;
        let files = Self { directory };
        for path in files.paths()? {
            if path.extension().is_some_and(|extension| extension == durable_file::UNFINISHED) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(files)
    }

    /// For a look from outside: nothing is created or removed.
    pub(crate) fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Writes a snapshot durably and removes all but the newest [`KEPT`].
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unstorable`] above [`MAXIMUM_SNAPSHOT_BYTES`].
    pub fn write(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let path = self.path(snapshot.header.position.index);
        let prefix = prefix(snapshot).map_err(|reason| Error::unstorable(path.display().to_string(), reason))?;
        durable_file::replace(&path, &[&prefix, &snapshot.state])?;
        self.remove_old()
    }

    /// The log indexes of all snapshots, newest first.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn indexes(&self) -> Result<Vec<u64>, Error> {
        let mut indexes: Vec<u64> = self.paths()?.iter().filter_map(|path| index_of(path)).collect();
        indexes.sort_unstable_by(|one, other| other.cmp(one));
        Ok(indexes)
    }

    /// Reads and checks the snapshot at a log index.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is missing or not what was written, [`Error::NewerFormat`], [`Error::Io`].
    pub fn read(&self, index: u64) -> Result<Snapshot, Error> {
        let path = self.path(index);
        let bytes = durable_file::read(&path, MAXIMUM_SNAPSHOT_BYTES)?
            .ok_or_else(|| Error::corrupt(path.display().to_string(), "it is gone"))?;
        let snapshot = parse(&bytes, &path)?;
        if snapshot.header.position.index != index {
            return Err(Error::corrupt(path.display().to_string(), "it is the snapshot of another index"));
        }
        Ok(snapshot)
    }

    /// Removes the snapshot at a log index. Not durable before the next write: until then it may come back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self, index: u64) -> Result<(), Error> {
        let path = self.path(index);
        fs::remove_file(&path).map_err(Error::io("remove", &path))
    }

    fn remove_old(&self) -> Result<(), Error> {
        for index in self.indexes()?.into_iter().skip(KEPT) {
            self.remove(index)?;
        }
        Ok(())
    }

    fn path(&self, index: u64) -> PathBuf {
        self.directory.join(format!("{index:020}.{EXTENSION}"))
    }

    fn paths(&self) -> Result<Vec<PathBuf>, Error> {
        let entries = fs::read_dir(&self.directory).map_err(Error::io("list", &self.directory))?;
        entries.map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("list", &self.directory))).collect()
    }
}

impl Snapshot {
    /// The same bytes as those of a file, for a backup.
    ///
    /// # Errors
    /// [`Error::Unstorable`] above [`MAXIMUM_SNAPSHOT_BYTES`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = prefix(self).map_err(|reason| Error::unstorable("the backup", reason))?;
        bytes.extend_from_slice(&self.state);
        Ok(bytes)
    }

    /// Reads and checks the bytes of a backup that lies at `path`.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerFormat`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        parse(bytes, path)
    }
}

/// Everything before the state.
fn prefix(snapshot: &Snapshot) -> Result<Vec<u8>, String> {
    let header = binary::encode(&snapshot.header).map_err(|error| error.to_string())?;
    let header_bytes = u32::try_from(header.len()).map_err(|error| error.to_string())?.to_le_bytes();
    let total = snapshot.state.len().saturating_add(header.len()).saturating_add(64);
    if u64::try_from(total).unwrap_or(u64::MAX) > MAXIMUM_SNAPSHOT_BYTES {
        return Err(format!("{total} bytes are above the maximum of {MAXIMUM_SNAPSHOT_BYTES}"));
    }
    let checksum = checksum(&[&header_bytes, &header, &snapshot.state]).to_le_bytes();
    Ok([MAGIC.as_slice(), &[FORMAT], &checksum, &header_bytes, &header].concat())
}

fn index_of(path: &Path) -> Option<u64> {
    path.extension().filter(|extension| *extension == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

fn parse(bytes: &[u8], path: &Path) -> Result<Snapshot, Error> {
    let damaged = |reason: &str| Error::corrupt(path.display().to_string(), reason);
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("it does not begin as a snapshot does"))?;
    let (format, rest) = rest.split_first().ok_or_else(|| damaged("too short"))?;
    if *format != FORMAT {
        let (found, supported) = (u32::from(*format), u32::from(FORMAT));
        return Err(Error::NewerFormat { path: path.into(), found, supported });
    }
    let (stored, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("too short"))?;
    if checksum(&[rest]) != u32::from_le_bytes(*stored) {
        return Err(damaged("the checksum does not fit"));
    }
    let (header_bytes, rest) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("too short"))?;
    let header_bytes = usize::try_from(u32::from_le_bytes(*header_bytes)).map_err(|_| damaged("header length"))?;
    let (header, state) = rest.split_at_checked(header_bytes).ok_or_else(|| damaged("too short"))?;
    let header = binary::decode(header).map_err(|error| damaged(&error.to_string()))?;
    Ok(Snapshot { header, state: state.to_vec() })
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::{Membership, Snapshot, SnapshotFiles, SnapshotHeader};
    use crate::error::Error;
    use crate::raft_log::Position;

    fn snapshot(index: u64) -> Snapshot {
        Snapshot {
            header: SnapshotHeader {
                position: Position { index, term: 3 },
                membership: Membership { voters: vec![NodeId(1)], ..Membership::default() },
                command_version: 1,
                made_here: true,
            },
            state: format!("state at {index}").into_bytes(),
        }
    }

    #[test]
    fn a_backup_is_read_back_or_refused() {
        let path = std::path::Path::new("backup");
        let bytes = snapshot(7).to_bytes().unwrap();
        assert_eq!(Snapshot::from_bytes(&bytes, path).unwrap(), snapshot(7));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Snapshot::from_bytes(&damaged, path).is_err(), "byte {place}");
            assert!(Snapshot::from_bytes(&bytes[..place], path).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn keeps_the_newest_two_and_forgets_unfinished_ones() {
        let directory = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(directory.path().to_path_buf()).unwrap();
        for index in [9, 10, 1000] {
            files.write(&snapshot(index)).unwrap();
        }
        std::fs::write(directory.path().join("00000000000000002000.snapshot.unfinished"), "half").unwrap();
        let files = SnapshotFiles::open(directory.path().to_path_buf()).unwrap();
        assert_eq!(files.indexes().unwrap(), [1000, 10]);
        assert_eq!(files.read(1000).unwrap(), snapshot(1000));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(directory.path().to_path_buf()).unwrap();
        files.write(&snapshot(7)).unwrap();
        let path = files.path(7);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            let error = files.read(7).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. } | Error::NewerFormat { .. }), "{at}: {error}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(matches!(files.read(7), Err(Error::Corrupt { .. })), "cut at {at}");
        }
    }

    #[test]
    fn a_renamed_snapshot_is_not_taken_for_another() {
        let directory = tempfile::tempdir().unwrap();
        let files = SnapshotFiles::open(directory.path().to_path_buf()).unwrap();
        files.write(&snapshot(7)).unwrap();
        std::fs::rename(files.path(7), files.path(8)).unwrap();
        assert!(matches!(files.read(8), Err(Error::Corrupt { .. })));
    }
}
