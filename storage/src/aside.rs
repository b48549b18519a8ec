//! Data directories that change hands as a whole: built aside and moved in, or moved aside and kept.
//!
//! ```text
//!   set_aside:  SET-ASIDE is written -> database, snapshots, IDENTITY move into lost-N/
//!   build_aside, for the next node:     node.unfinished/ is built -> its parts move up
//!   finish:     SET-ASIDE is removed
//! ```
//!
//! As long as the file `SET-ASIDE` is there, the directory is nobody's: it says what was begun and where the data are,
//! and the same again finishes it. Nothing is ever deleted that a node may have written.

use std::fs;
use std::path::{Path, PathBuf};

use causeway_core::codec;
use serde::{Deserialize, Serialize};

use crate::db::{Db, Settings, database, snapshots};
use crate::durable_file;
use crate::error::Error;
use crate::identity;
use crate::lock::DirectoryLock;

const IDENTITY: &str = "IDENTITY";
const MAXIMUM_MARK_BYTES: u64 = 64;

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
    for part in ["snapshots", "database", IDENTITY] {
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

/// What a directory is set aside for: what finishes it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Its node gets a new number in its cluster.
    Rejoin,
    /// Its cluster begins anew from what it holds.
    Recover,
}

/// What was begun with a directory and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interrupted {
    /// What for.
    pub purpose: Purpose,
    /// Where the node's data are, or what of them was moved by then.
    pub kept: PathBuf,
}

/// What is written into the file.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    purpose: Purpose,
    /// Of the folder `lost-N`.
    number: u32,
}

/// What was begun with a directory by [`set_aside`] and not finished by [`finish`].
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`].
pub fn interrupted(directory: &Path) -> Result<Option<Interrupted>, Error> {
    let interrupted = |mark: Mark| Interrupted { purpose: mark.purpose, kept: folder(directory, mark.number) };
    Ok(read_mark(directory)?.map(interrupted))
}

fn read_mark(directory: &Path) -> Result<Option<Mark>, Error> {
    let path = mark(directory);
    let Some(bytes) = durable_file::read(&path, MAXIMUM_MARK_BYTES)? else { return Ok(None) };
    codec::decode(&bytes).map(Some).map_err(|error| Error::corrupt(path.display().to_string(), error))
}

/// Moves everything that makes a directory a node's into a folder of its own below it, so that another node can begin
/// there; what other parts of a program keep beside it stays. Answers the folder; none where there was nothing. Until
/// [`finish`], the directory is nobody's; the same again completes what was interrupted.
///
/// # Errors
/// [`Error::InUse`], [`Error::Io`], [`Error::Corrupt`].
pub fn set_aside(directory: &Path, purpose: Purpose) -> Result<Option<PathBuf>, Error> {
    if !directory.exists() {
        return Ok(None);
    }
    let _lock = DirectoryLock::take(directory)?;
    // The file that says whose the directory is goes last, so a folder that has it has everything.
    let parts = [database(directory), snapshots(directory), directory.join(IDENTITY)];
    let before = read_mark(directory)?;
    if before.is_none() && !parts.iter().any(|part| part.exists()) {
        return Ok(None);
    }
    let number = before.map_or_else(|| first_free(directory), |before| before.number);
    let kept = folder(directory, number);
    let content = codec::encode(&Mark { purpose, number })
        .map_err(|error| Error::unstorable(mark(directory).display().to_string(), error))?;
    durable_file::replace(&mark(directory), &[&content])?;
    // Behind it, only what a later beginning built and never ran can be left.
    let to = if kept.join(IDENTITY).exists() { folder(directory, first_free(directory)) } else { kept.clone() };
    for part in parts.iter().filter(|part| part.exists()) {
        fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
        fs::rename(part, to.join(part.file_name().unwrap_or_default())).map_err(Error::io("rename", part))?;
        durable_file::sync_directory(&to)?;
        durable_file::sync_directory(directory)?;
    }
    Ok(Some(kept))
}

/// The directory is that of the node that began there since: nothing is interrupted any more.
///
/// # Errors
/// [`Error::Io`].
pub fn finish(directory: &Path) -> Result<(), Error> {
    let path = mark(directory);
    if !path.exists() {
        return Ok(());
    }
    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    durable_file::sync_directory(directory)
}

fn mark(directory: &Path) -> PathBuf {
    directory.join("SET-ASIDE")
}

fn folder(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("lost-{number}"))
}

fn first_free(directory: &Path) -> u32 {
    (1..u32::MAX).find(|number| !folder(directory, *number).exists()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use causeway_core::ids::{ClusterId, NodeId};

    use super::{Interrupted, Purpose, build_aside, finish, interrupted, set_aside};
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
        assert_eq!(set_aside(at, Purpose::Rejoin).unwrap(), None);
        std::fs::write(at.join("secret.key"), "kept").unwrap();
        let db = Db::open(&settings(at, 1)).unwrap();
        assert!(matches!(set_aside(at, Purpose::Rejoin), Err(Error::InUse { .. })));
        assert!(matches!(super::is_free(at), Err(Error::InUse { .. })));
        drop(db);
        let folder = set_aside(at, Purpose::Rejoin).unwrap().unwrap();
        assert!(folder.join("IDENTITY").is_file() && at.join("secret.key").is_file());
        drop(Db::open(&settings(at, 2)).unwrap());
        finish(at).unwrap();
        finish(at).unwrap();
        assert_ne!(set_aside(at, Purpose::Rejoin).unwrap().unwrap(), folder);
    }

    /// A crash behind each step, and then one while the next node's directory is built.
    #[test]
    fn what_was_interrupted_is_known_and_the_same_again_completes_it() {
        for steps in 0..=4 {
            let directory = tempfile::tempdir().unwrap();
            let at = directory.path();
            drop(Db::open(&settings(at, 1)).unwrap());
            let kept = set_aside(at, Purpose::Recover).unwrap().unwrap();
            for part in ["database", "snapshots", "IDENTITY"].into_iter().skip(steps) {
                std::fs::rename(kept.join(part), at.join(part)).unwrap();
            }
            if steps == 0 {
                std::fs::remove_dir(&kept).unwrap();
            }
            if steps == 4 {
                drop(Db::open(&settings(at, 9)).unwrap());
            }
            assert_eq!(interrupted(at).unwrap(), Some(Interrupted { purpose: Purpose::Recover, kept: kept.clone() }));
            assert_eq!(set_aside(at, Purpose::Rejoin).unwrap(), Some(kept.clone()));
            assert_eq!(identity_of(at).unwrap(), None);
            assert_eq!(Db::open(&settings(&kept, 1)).unwrap().identity().node, NodeId(1), "{steps}");
            assert_eq!(at.join("lost-2").exists(), steps == 4, "nothing is deleted");
            assert_eq!(interrupted(at).unwrap().unwrap().purpose, Purpose::Rejoin);
            finish(at).unwrap();
            assert_eq!(interrupted(at).unwrap(), None);
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("SET-ASIDE"), [9; 3]).unwrap();
        assert!(matches!(interrupted(directory.path()), Err(Error::Corrupt { .. })));
    }

    fn settings(directory: &Path, node: u64) -> Settings {
        Settings { directory: directory.into(), node: NodeId(node), cache_bytes: DEFAULT_CACHE_BYTES }
    }
}
