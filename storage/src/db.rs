//! The data directory of one node: opened once, by its own node, or not at all.
//!
//! ```text
//!   LOCK                       held by the running process
//!   IDENTITY                   whose directory this is; written last at first use, never removed
//!   STARTS                     how often its node has started
//!   SET-ASIDE                  only while the directory changes hands
//!   lost-<n>/                  what it held before it did
//!   database/                  sled: trees meta, raft_log, raft_meta, routing
//!   database.quarantined-<n>/  a damaged database, moved aside unchanged
//!   snapshots/                 the newest snapshots of the agreed state
//! ```
//!
//! Opening reads every stored value once. Whatever is damaged is moved aside and reported, never skipped or repaired:
//! a replica that continues on part of its log has forgotten what it promised.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;

use crate::barrier::Barrier;
use crate::durable_file;
use crate::error::Error;
use crate::identity;
pub use crate::identity::Identity;
use crate::lock::DirectoryLock;
use crate::meta::Meta;
use crate::raft_store::RaftStore;
use crate::routing::Routing;
use crate::snapshot_file::SnapshotFiles;

/// sled's page cache, in bytes, unless said otherwise. Resident memory grows by several times this.
pub const DEFAULT_CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// How often sled writes back and cleans up by itself; durability never waits for it.
const BACKGROUND_FLUSH_MILLISECONDS: u64 = 500;
/// A database of this process that was closed a moment ago may still hold its own lock on the file.
const REOPEN_ATTEMPTS: u32 = 100;
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
const MAXIMUM_QUARANTINED: u32 = 10_000;

/// How to open a data directory.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory; created when missing.
    pub directory: PathBuf,
    /// The node that it belongs to.
    pub node: NodeId,
    /// sled's page cache, in bytes.
    pub cache_bytes: u64,
}

/// An open data directory. Fields are closed in order, the lock last.
pub struct Db {
    /// The log and promises of the replica.
    pub raft: RaftStore,
    /// Who owned what when this node last looked.
    pub routing: Routing,
    /// Snapshots of the agreed state.
    pub snapshots: SnapshotFiles,
    /// What makes earlier writes durable.
    pub barrier: Barrier,
    meta: Meta,
    identity: Identity,
    directory: PathBuf,
    _lock: DirectoryLock,
}

/// Everything inside the database.
pub(crate) struct Trees {
    pub(crate) raft: RaftStore,
    pub(crate) routing: Routing,
    pub(crate) barrier: Barrier,
    pub(crate) meta: Meta,
    pub(crate) identity: Identity,
}

impl Db {
    /// Opens a data directory, creating it at first use. Blocks for as long as reading every stored value takes.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::WrongNode`], [`Error::Wiped`] and [`Error::NewerFormat`] change nothing.
    /// [`Error::Quarantined`] moved a damaged database aside; the next opening then answers [`Error::Wiped`].
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let directory = settings.directory.as_path();
        // What lies here says which topics and instances there are: nobody else's business.
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        created.map_err(Error::io("create", directory))?;
        durable_file::sync_parent(directory)?;
        let lock = DirectoryLock::take(directory)?;
        let database = database(directory);
        let on_file = identity::read(directory)?;
        if let Some(identity) = on_file {
            identity.verify(directory, settings.node)?;
            if !database.exists() {
                return Err(Error::Wiped { directory: directory.into(), node: identity.node });
            }
        } else if !database.exists() {
            create(directory, settings)?;
        }
        let trees = match attach(&database, settings.cache_bytes) {
            Ok(trees) => trees,
            Err(error) if error.is_damage() => return Err(quarantine(directory, &error)),
            Err(error) => return Err(error),
        };
        trees.identity.verify(directory, settings.node)?;
        if on_file != Some(trees.identity) {
            identity::write(directory, &trees.identity)?;
        }
        let snapshots = SnapshotFiles::open(snapshots(directory))?;
        let Trees { raft, routing, barrier, meta, identity } = trees;
        Ok(Self { raft, routing, snapshots, barrier, meta, identity, directory: directory.into(), _lock: lock })
    }

    /// Whose data this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Ties the directory to a cluster for good; the same cluster again changes nothing.
    ///
    /// # Errors
    /// [`Error::WrongCluster`] when it belongs to another one, and everything that a write can answer.
    pub fn bind_cluster(&mut self, cluster: ClusterId) -> Result<(), Error> {
        match self.identity.cluster {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(Error::WrongCluster { found, expected: cluster }),
            None => {
                let identity = Identity { cluster: Some(cluster), ..self.identity };
                self.meta.set_identity(&identity)?;
                self.barrier.wait()?;
                identity::write(&self.directory, &identity)?;
                self.identity = identity;
                Ok(())
            }
        }
    }

    /// The other nodes of the cluster that this one was told of when it joined: id, name and address.
    ///
    /// # Errors
    /// Everything that reading can answer.
    pub fn others(&self) -> Result<Vec<(NodeId, Name, String)>, Error> {
        self.meta.others()
    }

    /// Keeps the other nodes of the cluster that this one was told of when it joined, durably.
    ///
    /// # Errors
    /// Everything that a write can answer.
    pub fn set_others(&mut self, others: &[(NodeId, Name, String)]) -> Result<(), Error> {
        self.meta.set_others(others)?;
        self.barrier.wait().map(|_| ())
    }

    /// Closes the database and moves it aside, because the caller found that what it holds cannot be right.
    /// Answers the error to report.
    #[must_use]
    pub fn quarantine(self, reason: &str) -> Error {
        let directory = self.directory.clone();
        let Self { raft, routing, barrier, meta, _lock: lock, .. } = self;
        drop((raft, routing, barrier, meta));
        let error = quarantine(&directory, &Error::corrupt("the database", reason));
        drop(lock);
        error
    }
}

/// Whose a data directory is, without opening it; none when it was never used.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`], [`Error::NewerFormat`].
pub fn identity_of(directory: &Path) -> Result<Option<Identity>, Error> {
    let identity = identity::read(directory)?;
    if let Some(identity) = &identity {
        identity.verify_format(directory)?;
    }
    Ok(identity)
}

pub(crate) fn database(directory: &Path) -> PathBuf {
    directory.join("database")
}

pub(crate) fn snapshots(directory: &Path) -> PathBuf {
    directory.join("snapshots")
}

/// Databases that were moved aside earlier.
pub(crate) fn quarantined(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let directory = directory.to_path_buf();
    (1..=MAXIMUM_QUARANTINED)
        .map(move |number| directory.join(format!("database.quarantined-{number}")))
        .take_while(|path| path.exists())
}

/// Makes a complete empty database under another name first, so that a crash leaves either none or a whole one.
fn create(directory: &Path, settings: &Settings) -> Result<(), Error> {
    let unfinished = directory.join(format!("database.{}", durable_file::UNFINISHED));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(Error::io("remove", &unfinished))?;
    }
    let db = open_sled(&unfinished, settings.cache_bytes)?;
    let mut barrier = Barrier::open(&db, &unfinished.join("db"))?;
    let meta = Meta::open(&db)?;
    meta.set_identity(&Identity::new(settings.node))?;
    barrier.wait()?;
    drop((meta, barrier, db));
    durable_file::sync_directory(&unfinished)?;
    let database = database(directory);
    fs::rename(&unfinished, &database).map_err(Error::io("rename", &unfinished))?;
    durable_file::sync_directory(directory)
}

/// Opens and reads everything. sled panics on some kinds of damage, so a panic here counts as damage.
pub(crate) fn attach(database: &Path, cache_bytes: u64) -> Result<Trees, Error> {
    let place = database.display().to_string();
    let attached = catch_unwind(AssertUnwindSafe(|| {
        let db = open_sled(database, cache_bytes)?;
        let meta = Meta::open(&db)?;
        meta.check()?;
        let identity = meta.identity()?.ok_or_else(|| Error::corrupt(place.as_str(), "its identity is gone"))?;
        identity.verify_format(database)?;
        let raft = RaftStore::open(&db)?;
        let routing = Routing::open(&db)?;
        let barrier = Barrier::open(&db, &database.join("db"))?;
        Ok(Trees { raft, routing, barrier, meta, identity })
    }));
    attached.unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a reason");
        Err(Error::corrupt(place, format!("opening it panicked: {said}")))
    })
}

fn open_sled(path: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(Some(BACKGROUND_FLUSH_MILLISECONDS));
    let mut attempt = 0;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error)) if error.kind() == std::io::ErrorKind::Other && attempt < REOPEN_ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(REOPEN_PAUSE);
            }
            Err(error) => return Err(Error::database("open")(error)),
        }
    }
}

fn quarantine(directory: &Path, damage: &Error) -> Error {
    let number = quarantined(directory).count().saturating_add(1);
    let database = database(directory);
    let moved_to = directory.join(format!("database.quarantined-{number}"));
    if let Err(error) = fs::rename(&database, &moved_to) {
        return Error::io("move aside the damaged database", &database)(error);
    }
    match durable_file::sync_directory(directory) {
        Ok(()) => Error::Quarantined { moved_to, reason: damage.to_string() },
        Err(error) => error,
    }
}

#[cfg(test)]
#[allow(clippy::as_conversions)]
mod tests {
    use std::path::Path;

    use causeway_core::ids::{ClusterId, NodeId};

    use super::{DEFAULT_CACHE_BYTES, Db, Settings};
    use crate::error::Error;
    use crate::raft_log::{EntryKind, LogEntry, Position};
    use crate::raft_meta::HardState;
    use crate::raft_store::Write;

    fn settings(directory: &Path, node: u64) -> Settings {
        Settings { directory: directory.into(), node: NodeId(node), cache_bytes: DEFAULT_CACHE_BYTES }
    }

    fn entries(from: u64, to: u64, bytes: usize) -> Vec<LogEntry> {
        let entry = |index: u64| LogEntry {
            position: Position { index, term: 1 },
            kind: EntryKind::Normal,
            data: vec![index as u8; bytes],
        };
        (from..=to).map(entry).collect()
    }

    fn filled(directory: &Path) {
        let mut db = Db::open(&settings(directory, 1)).unwrap();
        for index in 1..=50 {
            let hard_state = Some(HardState { term: 1, vote: NodeId(1), commit: index });
            db.raft.write(&Write { entries: entries(index, index, 700), hard_state, ..Write::default() }).unwrap();
            db.barrier.wait().unwrap();
        }
    }

    #[test]
    fn a_second_opening_a_foreign_node_and_a_lost_database_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut db = Db::open(&settings(directory.path(), 1)).unwrap();
        assert!(matches!(Db::open(&settings(directory.path(), 1)), Err(Error::InUse { .. })));
        db.bind_cluster(ClusterId(7)).unwrap();
        db.bind_cluster(ClusterId(7)).unwrap();
        assert!(matches!(db.bind_cluster(ClusterId(8)), Err(Error::WrongCluster { .. })));
        drop(db);
        assert!(matches!(
            Db::open(&settings(directory.path(), 2)),
            Err(Error::WrongNode { found: NodeId(1), expected: NodeId(2), .. })
        ));
        assert_eq!(Db::open(&settings(directory.path(), 1)).unwrap().identity().cluster, Some(ClusterId(7)));
        std::fs::remove_dir_all(directory.path().join("database")).unwrap();
        assert!(matches!(Db::open(&settings(directory.path(), 1)), Err(Error::Wiped { node: NodeId(1), .. })));
        // A new id alone is no way back: the directory stays what it was.
        assert!(matches!(Db::open(&settings(directory.path(), 2)), Err(Error::WrongNode { .. })));
        let elsewhere = directory.path().join("new");
        assert_eq!(Db::open(&settings(&elsewhere, 2)).unwrap().identity().node, NodeId(2));
    }

    #[test]
    fn a_copy_of_the_whole_directory_takes_the_place_of_a_lost_database() {
        let (directory, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        filled(directory.path());
        copy(directory.path(), copied.path());
        let db = Db::open(&settings(copied.path(), 1)).unwrap();
        let held: Vec<_> = (1..=db.raft.last_index()).map(|index| db.raft.read(index).unwrap().unwrap()).collect();
        assert_eq!(held, entries(1, 50, 700));
    }

    #[test]
    fn an_interrupted_first_opening_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let unfinished = directory.path().join("database.unfinished");
        std::fs::create_dir(&unfinished).unwrap();
        std::fs::write(unfinished.join("conf"), "torn").unwrap();
        Db::open(&settings(directory.path(), 1)).unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_damaged_value_is_quarantined_and_never_started_over() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        {
            let db = super::open_sled(&directory.path().join("database"), DEFAULT_CACHE_BYTES).unwrap();
            let tree = db.open_tree("raft_log").unwrap();
            let (key, value) = tree.iter().nth(20).unwrap().unwrap();
            let mut value = value.to_vec();
            value[100] ^= 1;
            tree.insert(key, value).unwrap();
            db.flush().unwrap();
        }
        let Err(Error::Quarantined { moved_to, reason }) = Db::open(&settings(directory.path(), 1)) else {
            panic!("a damaged value was not noticed");
        };
        assert!(reason.contains("raft_log"), "{reason}");
        assert!(moved_to.join("db").exists());
        assert!(matches!(Db::open(&settings(directory.path(), 1)), Err(Error::Wiped { .. })));
    }

    #[test]
    fn a_hole_in_the_log_is_quarantined() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        {
            let db = super::open_sled(&directory.path().join("database"), DEFAULT_CACHE_BYTES).unwrap();
            let tree = db.open_tree("raft_log").unwrap();
            let (key, _) = tree.iter().nth(20).unwrap().unwrap();
            tree.remove(key).unwrap();
            db.flush().unwrap();
        }
        assert!(matches!(Db::open(&settings(directory.path(), 1)), Err(Error::Quarantined { .. })));
    }

    /// A flipped bit of the file is either noticed, or it looks to sled as a torn tail and costs entries at the end;
    /// it never yields another content or a hole. The lost tail is what a snapshot's position and the other voters are
    /// for.
    #[test]
    fn a_flipped_bit_of_the_file_never_yields_wrong_content() {
        let origin = tempfile::tempdir().unwrap();
        filled(origin.path());
        let file = std::fs::read(origin.path().join("database/db")).unwrap();
        let used = file.iter().rposition(|byte| *byte != 0).unwrap();
        let mut noticed = 0;
        let rounds = 24;
        for round in 0..rounds {
            let directory = tempfile::tempdir().unwrap();
            copy(origin.path(), directory.path());
            let mut bytes = file.clone();
            bytes[used * (round + 1) / (rounds + 1)] ^= 4;
            std::fs::write(directory.path().join("database/db"), bytes).unwrap();
            match Db::open(&settings(directory.path(), 1)) {
                Ok(db) => {
                    for index in 1..=db.raft.last_index() {
                        assert_eq!(db.raft.read(index).unwrap().unwrap(), entries(index, index, 700)[0]);
                    }
                    noticed += usize::from(db.raft.last_index() < 50);
                }
                Err(error) => {
                    assert!(matches!(error, Error::Quarantined { .. }), "{error}");
                    noticed += 1;
                }
            }
        }
        assert!(noticed > 0, "no flipped bit had any effect: the test flips the wrong ones");
    }

    fn copy(from: &Path, to: &Path) {
        for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.path().is_dir() {
                std::fs::create_dir(&target).unwrap();
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}
