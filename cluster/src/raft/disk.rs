//! What a replica keeps on its disk, and nothing else of it: the seam where a simulation puts a disk of its own.

use std::time::Duration;

use causeway_core::ids::ClusterId;
use causeway_storage::raft_log::{LogEntry, Position};
use causeway_storage::raft_meta::HardState;
use causeway_storage::raft_store::Write;
use causeway_storage::routing::Route;
use causeway_storage::snapshot_file::Snapshot;
use causeway_storage::{Db, Error};

/// An open data directory. What is written is there at once and durable after the next [`Disk::barrier`]; a snapshot is
/// durable when its writing returns. Each call is one atomic step, unless it says otherwise.
pub(crate) trait Disk {
    /// The promises; none before the first were written.
    fn hard_state(&self) -> Option<HardState>;
    /// The last position that a snapshot replaced; index 0 while there is none.
    fn compacted(&self) -> Position;
    /// The index of the last entry, or of the compacted position when the log is empty.
    fn last_index(&self) -> u64;
    /// How many entries the log holds.
    fn entries(&self) -> u64;
    /// Stored bytes of all entries.
    fn bytes(&self) -> u64;
    /// The term at an index between the compacted position and the last entry, both included; none elsewhere.
    fn term(&self, index: u64) -> Option<u64>;
    /// Reads an entry; none outside of the log.
    fn read(&self, index: u64) -> Result<Option<LogEntry>, Error>;
    /// Changes log and promises together.
    fn write(&mut self, write: &Write) -> Result<(), Error>;
    /// Gives up all entries up to `index`, in several steps: a crash may leave some of them.
    fn compact(&mut self, index: u64) -> Result<(), Error>;
    /// Blocks until everything written before is durable; answers how long that took.
    fn barrier(&mut self) -> Result<Duration, Error>;
    /// The log indexes of all snapshots, newest first.
    fn snapshots(&self) -> Result<Vec<u64>, Error>;
    /// Reads the snapshot at a log index.
    fn read_snapshot(&self, index: u64) -> Result<Snapshot, Error>;
    /// Writes a snapshot, then removes all but the newest ones.
    fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Error>;
    /// Removes the snapshot at a log index.
    fn remove_snapshot(&mut self, index: u64) -> Result<(), Error>;
    /// Ties the directory to a cluster for good, durably; the same cluster again changes nothing.
    fn bind_cluster(&mut self, cluster: ClusterId) -> Result<(), Error>;
    /// Replaces the projection of who owns what. Nobody relies on it.
    fn replace_routes(&mut self, routes: &[Route]) -> Result<(), Error>;
    /// Moves aside what cannot be right, and answers the error to report.
    fn quarantine(self, reason: &str) -> Error;
}

impl Disk for Db {
    fn hard_state(&self) -> Option<HardState> {
        self.raft.hard_state()
    }

    fn compacted(&self) -> Position {
        self.raft.compacted()
    }

    fn last_index(&self) -> u64 {
        self.raft.last_index()
    }

    fn entries(&self) -> u64 {
        self.raft.entries()
    }

    fn bytes(&self) -> u64 {
        self.raft.bytes()
    }

    fn term(&self, index: u64) -> Option<u64> {
        self.raft.term(index)
    }

    fn read(&self, index: u64) -> Result<Option<LogEntry>, Error> {
        self.raft.read(index)
    }

    fn write(&mut self, write: &Write) -> Result<(), Error> {
        self.raft.write(write)
    }

    fn compact(&mut self, index: u64) -> Result<(), Error> {
        self.raft.compact(index)
    }

    fn barrier(&mut self) -> Result<Duration, Error> {
        self.barrier.wait()
    }

    fn snapshots(&self) -> Result<Vec<u64>, Error> {
        self.snapshots.indexes()
    }

    fn read_snapshot(&self, index: u64) -> Result<Snapshot, Error> {
        self.snapshots.read(index)
    }

    fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        self.snapshots.write(snapshot)
    }

    fn remove_snapshot(&mut self, index: u64) -> Result<(), Error> {
        self.snapshots.remove(index)
    }

    fn bind_cluster(&mut self, cluster: ClusterId) -> Result<(), Error> {
        Db::bind_cluster(self, cluster)
    }

    fn replace_routes(&mut self, routes: &[Route]) -> Result<(), Error> {
        self.routing.replace(routes)
    }

    fn quarantine(self, reason: &str) -> Error {
        Db::quarantine(self, reason)
    }
}
