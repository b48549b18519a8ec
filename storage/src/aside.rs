//! Data directories that change hands as a whole: built aside and moved in, or moved aside and kept.

use std::fs;
use std::path::{Path, PathBuf};

use crate::db::{Db, Settings, database, snapshots};
use crate::durable_file;
use crate::error::Error;
use crate::identity;
use crate::lock::DirectoryLock;

/// Builds the data of a node in a folder below its directory, and moves it up when it is complete: a crash leaves
/// either nothing that counts, or all of it. The same again over data of the same node changes nothing.
///
/// # Errors
/// [`Error::InUse`], [`Error::WrongNode`] when the directory is another node's, and everything that `build` answers.
pub fn build_aside(settings: &Settings, build: impl FnOnce(&mut Db) -> Result<(), Error>) -> Result<(), Error> {
    let directory = settings.directory.as_path();
    if let Some(identity) = identity::read(directory)? {
        return identity.verify(directory, settings.node);
    }
    if database(directory).exists() {
        // A crash came before the last move. Opening it says whose it is, and completes it.
        return Db::open(settings).map(drop);
    }
    let unfinished = directory.join(format!("node.{}", durable_file::UNFINISHED));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
    }
    let mut db = Db::open(&Settings { directory: unfinished.clone(), ..settings.clone() })?;
    build(&mut db)?;
    drop(db);
    let _lock = DirectoryLock::take(directory)?;
    let left = snapshots(directory);
    if left.exists() {
        // A crash came before the second move: without a database they are nobody's.
        fs::remove_dir_all(&left).map_err(Error::io("remove", &left))?;
    }
    // Whatever is found is found with the database, and without the last file it says itself whose it is.
    for part in ["snapshots", "database", "IDENTITY"] {
        let (from, to) = (unfinished.join(part), directory.join(part));
        fs::rename(&from, &to).map_err(Error::io("rename", &from))?;
        durable_file::sync_directory(directory)?;
    }
    fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))
}

/// Whether no process works in the directory.
///
/// # Errors
/// [`Error::InUse`] when one does, [`Error::Io`].
pub fn is_free(directory: &Path) -> Result<(), Error> {
    if directory.exists() { DirectoryLock::take(directory).map(drop) } else { Ok(()) }
}

/// Moves everything that makes a directory a node's into a folder of its own below it, so that another node can begin
/// there; what other parts of a program keep beside it stays. Answers the folder; none where there was nothing.
///
/// # Errors
/// [`Error::InUse`], [`Error::Io`].
pub fn set_aside(directory: &Path) -> Result<Option<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(None);
    }
    let _lock = DirectoryLock::take(directory)?;
    // The file that says whose the directory is goes last: a crash in between leaves a lost node's, not a new one.
    let parts = [database(directory), snapshots(directory), directory.join("IDENTITY")];
    if !parts.iter().any(|part| part.exists()) {
        return Ok(None);
    }
    let folder = (1..).map(|number: u32| directory.join(format!("lost-{number}"))).find(|path| !path.exists());
    let folder = folder.unwrap_or_else(|| directory.join("lost"));
    fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
    for part in parts.iter().filter(|part| part.exists()) {
        let name = part.file_name().unwrap_or_default();
        fs::rename(part, folder.join(name)).map_err(Error::io("rename", part))?;
    }
    durable_file::sync_directory(&folder)?;
    durable_file::sync_directory(directory)?;
    Ok(Some(folder))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use causeway_core::ids::{ClusterId, NodeId};

    use super::{build_aside, set_aside};
    use crate::db::{DEFAULT_CACHE_BYTES, Db, Settings, identity_of};
    use crate::error::Error;

    #[test]
    fn data_that_is_built_aside_is_there_as_a_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let failed = build_aside(&settings(at, 3), |_| Err(Error::corrupt("a test", "on purpose")));
        assert!(failed.is_err());
        assert_eq!(identity_of(at).unwrap(), None);
        build_aside(&settings(at, 3), |db| db.bind_cluster(ClusterId(7))).unwrap();
        build_aside(&settings(at, 3), |_| Err(Error::corrupt("a test", "nothing is built twice"))).unwrap();
        let other = build_aside(&settings(at, 4), |_| Ok(()));
        assert!(matches!(other, Err(Error::WrongNode { .. })));
        // As a crash right before the last move leaves it.
        std::fs::remove_file(at.join("IDENTITY")).unwrap();
        build_aside(&settings(at, 3), |_| Err(Error::corrupt("a test", "nothing is built twice"))).unwrap();
        let db = Db::open(&settings(at, 3)).unwrap();
        assert_eq!(db.identity().cluster, Some(ClusterId(7)));
        drop(db);
        // As one right before the second move does.
        std::fs::remove_file(at.join("IDENTITY")).unwrap();
        std::fs::remove_dir_all(at.join("database")).unwrap();
        build_aside(&settings(at, 3), |db| db.bind_cluster(ClusterId(8))).unwrap();
        assert_eq!(identity_of(at).unwrap().unwrap().cluster, Some(ClusterId(8)));
    }

    #[test]
    fn what_is_set_aside_makes_room_for_another_node_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        assert_eq!(set_aside(at).unwrap(), None);
        std::fs::write(at.join("secret.key"), "kept").unwrap();
        let db = Db::open(&settings(at, 1)).unwrap();
        assert!(matches!(set_aside(at), Err(Error::InUse { .. })));
        assert!(matches!(super::is_free(at), Err(Error::InUse { .. })));
        drop(db);
        let folder = set_aside(at).unwrap().unwrap();
        assert!(folder.join("IDENTITY").is_file() && at.join("secret.key").is_file());
        drop(Db::open(&settings(at, 2)).unwrap());
        assert_ne!(set_aside(at).unwrap().unwrap(), folder);
    }

    fn settings(directory: &Path, node: u64) -> Settings {
        Settings { directory: directory.into(), node: NodeId(node), cache_bytes: DEFAULT_CACHE_BYTES }
    }
}
