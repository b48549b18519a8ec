//! What is in a data directory, for a look while its node is stopped.
//!
//! Never moves, repairs or removes anything; opening sled may still rewrite its own bookkeeping.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::db::{self, Identity};
use crate::error::Error;
use crate::identity;
use crate::lock::DirectoryLock;
use crate::raft_log::Position;
use crate::raft_meta::HardState;
use crate::routing::Route;
use crate::snapshot_file::{SnapshotFiles, SnapshotHeader};

/// A look into a data directory.
#[derive(Debug)]
pub struct Inspection {
    /// The directory.
    pub directory: PathBuf,
    /// Whose directory it is, as the file beside the database says.
    pub identity: Identity,
    /// What the database holds, or why it cannot be read.
    pub database: Result<Contents, Error>,
    /// Every snapshot by its log index, newest first, or why it cannot be read.
    pub snapshots: Vec<(u64, Result<SnapshotHeader, Error>)>,
    /// Databases that were moved aside.
    pub quarantined: Vec<PathBuf>,
}

/// What a database holds.
#[derive(Debug)]
pub struct Contents {
    /// Whose it is.
    pub identity: Identity,
    /// The replica's promises.
    pub hard_state: Option<HardState>,
    /// The last log position that a snapshot replaced.
    pub compacted: Position,
    /// The index of the last entry.
    pub last_index: u64,
    /// How many entries the log holds.
    pub entries: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Who owned what when the node last looked.
    pub routes: Vec<Route>,
}

/// Looks into a data directory.
///
/// # Errors
/// [`Error::InUse`] while the node runs, [`Error::Unused`] for a directory that no node ever used.
pub fn inspect(directory: &Path) -> Result<Inspection, Error> {
    let unused = || Error::Unused { directory: directory.into() };
    if !directory.exists() {
        return Err(unused());
    }
    let _lock = DirectoryLock::take(directory)?;
    let identity = identity::read(directory)?.ok_or_else(unused)?;
    let files = SnapshotFiles::at(db::snapshots(directory));
    let indexes = files.indexes().unwrap_or_default();
    Ok(Inspection {
        directory: directory.into(),
        identity,
        database: contents(directory, &identity),
        snapshots: indexes.into_iter().map(|index| (index, files.read(index).map(|found| found.header))).collect(),
        quarantined: db::quarantined(directory).collect(),
    })
}

fn contents(directory: &Path, identity: &Identity) -> Result<Contents, Error> {
    let database = db::database(directory);
    if !database.exists() {
        return Err(Error::Wiped { directory: directory.into(), node: identity.node });
    }
    let trees = db::attach(&database, db::DEFAULT_CACHE_BYTES)?;
    Ok(Contents {
        identity: trees.identity,
        hard_state: trees.raft.hard_state(),
        compacted: trees.raft.compacted(),
        last_index: trees.raft.last_index(),
        entries: trees.raft.entries(),
        bytes: trees.raft.bytes(),
        routes: trees.routing.routes()?,
    })
}

impl fmt::Display for Inspection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "directory  {}", self.directory.display())?;
        writeln!(out, "node       {}", self.identity.node)?;
        match self.identity.cluster {
            Some(cluster) => writeln!(out, "cluster    {cluster}")?,
            None => writeln!(out, "cluster    none yet")?,
        }
        match &self.database {
            Ok(contents) => contents.fmt(out)?,
            Err(error) => writeln!(out, "database   unreadable: {error}")?,
        }
        for (index, snapshot) in &self.snapshots {
            match snapshot {
                Ok(header) => writeln!(out, "snapshot   index {index}, term {}", header.position.term)?,
                Err(error) => writeln!(out, "snapshot   index {index}, unreadable: {error}")?,
            }
        }
        for path in &self.quarantined {
            writeln!(out, "moved away {}", path.display())?;
        }
        Ok(())
    }
}

impl fmt::Display for Contents {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hard_state {
            Some(HardState { term, vote, commit }) => {
                writeln!(out, "promises   term {term}, vote for node {vote}, committed up to {commit}")?;
            }
            None => writeln!(out, "promises   none yet")?,
        }
        let Self { compacted, last_index, entries, bytes, .. } = self;
        writeln!(out, "log        {entries} entries, {bytes} bytes, behind {} up to {last_index}", compacted.index)?;
        for route in &self.routes {
            let owner = route.owner.map_or_else(|| "nobody".to_owned(), |node| format!("node {node}"));
            writeln!(out, "route      {} -> {}, {owner}, epoch {}", route.partition, route.target, route.epoch)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::inspect;
    use crate::db::{DEFAULT_CACHE_BYTES, Db, Settings};
    use crate::error::Error;
    use crate::raft_meta::HardState;
    use crate::raft_store::Write;

    #[test]
    fn shows_a_stopped_node_and_names_what_cannot_be_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(inspect(directory.path()), Err(Error::Unused { .. })));
        let settings =
            Settings { directory: directory.path().into(), node: NodeId(3), cache_bytes: DEFAULT_CACHE_BYTES };
        let mut db = Db::open(&settings).unwrap();
        let hard_state = Some(HardState { term: 4, vote: NodeId(3), commit: 0 });
        db.raft.write(&Write { hard_state, ..Write::default() }).unwrap();
        assert!(matches!(inspect(directory.path()), Err(Error::InUse { .. })));
        drop(db);
        std::fs::write(directory.path().join("snapshots/00000000000000000009.snapshot"), "not one").unwrap();
        let shown = inspect(directory.path()).unwrap().to_string();
        assert!(shown.contains("term 4, vote for node 3"), "{shown}");
        assert!(shown.contains("index 9, unreadable"), "{shown}");
        std::fs::write(directory.path().join("database/db"), "").unwrap();
        assert!(inspect(directory.path()).unwrap().database.is_err());
        assert!(directory.path().join("database").exists());
    }
}
