//! A disk that forgets what was not synced, and says what it would still know.
//!
//! Writes are in its cache at once and on the medium after a barrier. When the power fails, a beginning of the cached
//! writes may have reached the medium, each of them whole: that is what the database promises of its batches. Snapshots
//! are files of their own and on the medium when their writing returns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_core::ids::ClusterId;
use causeway_storage::Error;
use causeway_storage::raft_log::{LogEntry, Position};
use causeway_storage::raft_meta::HardState;
use causeway_storage::raft_store::Write;
use causeway_storage::routing::Route;
use causeway_storage::snapshot_file::{KEPT, Snapshot};

use super::Defect;
use super::random::Random;
use crate::raft::disk::Disk;

/// One atomic change.
#[derive(Debug, Clone)]
enum Change {
    Write(Write),
    Compact(Position),
    Bind(ClusterId),
}

/// Log, promises and identity.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    hard_state: Option<HardState>,
    compacted: Position,
    entries: VecDeque<LogEntry>,
    cluster: Option<ClusterId>,
}

impl Contents {
    pub(super) fn hard_state(&self) -> HardState {
        self.hard_state.unwrap_or_default()
    }

    pub(super) fn last_index(&self) -> u64 {
        self.entries.back().map_or(self.compacted.index, |entry| entry.position.index)
    }

    pub(super) fn entry(&self, index: u64) -> Option<&LogEntry> {
        let behind = index.checked_sub(self.compacted.index)?.checked_sub(1)?;
        self.entries.get(usize::try_from(behind).ok()?)
    }

    pub(super) fn term(&self, index: u64) -> Option<u64> {
        let compacted = (index == self.compacted.index).then_some(self.compacted.term);
        compacted.or_else(|| self.entry(index).map(|entry| entry.position.term))
    }

    /// Whether the entry is in the log, or in the snapshot before it.
    pub(super) fn holds(&self, position: Position) -> bool {
        position.index <= self.compacted.index || self.term(position.index) == Some(position.term)
    }

    /// Refuses what the database refuses.
    fn verify(&self, write: &Write) -> Result<(), Error> {
        let Some(first) = write.entries.first() else { return Ok(()) };
        let (index, last) = (first.position.index, self.last_index());
        let follows = index > self.compacted.index && index <= last.saturating_add(1) && write.reset.is_none();
        let in_order = write.entries.iter().zip(index..).all(|(entry, expected)| entry.position.index == expected);
        if follows && in_order { Ok(()) } else { Err(Error::OutOfOrder { index, last }) }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(Write { reset, entries, hard_state }) => {
                if let Some(reset) = reset {
                    self.compacted = *reset;
                    self.entries.clear();
                }
                if let Some(first) = entries.first() {
                    self.entries.retain(|entry| entry.position.index < first.position.index);
                    self.entries.extend(entries.iter().cloned());
                }
                self.hard_state = hard_state.or(self.hard_state);
            }
            Change::Compact(position) => {
                self.entries.retain(|entry| entry.position.index > position.index);
                self.compacted = *position;
            }
            Change::Bind(cluster) => self.cluster = Some(*cluster),
        }
    }
}

/// What stays when a node dies: the disk itself.
#[derive(Debug, Default)]
pub(super) struct Medium {
    cached: Contents,
    durable: Contents,
    unsynced: Vec<Change>,
    snapshots: BTreeMap<u64, Snapshot>,
    /// Steps until the power fails; none while it is not about to.
    fuse: Option<u64>,
    failed: bool,
    defect: Option<Defect>,
    /// Changes that a late barrier makes durable with the next step.
    late: usize,
    installed: u64,
}

impl Medium {
    pub(super) fn new(defect: Option<Defect>) -> Self {
        Self { defect, ..Self::default() }
    }

    /// What the node sees.
    pub(super) fn cached(&self) -> &Contents {
        &self.cached
    }

    /// What the node would see after a crash now.
    pub(super) fn durable(&self) -> &Contents {
        &self.durable
    }

    /// Snapshots of others that were written.
    pub(super) fn installed(&self) -> u64 {
        self.installed
    }

    /// The power fails before the step after so many more; none when it does not.
    pub(super) fn light_fuse(&mut self, steps: Option<u64>) {
        self.fuse = steps;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The node is gone. A beginning of what was not synced may have reached the medium; answers how many changes did
    /// not.
    pub(super) fn crash(&mut self, random: &mut Random) -> u64 {
        let unsynced = u64::try_from(self.unsynced.len()).unwrap_or(u64::MAX);
        let kept = if random.chance(500) { 0 } else { random.within(0..unsynced.saturating_add(1)) };
        for change in self.unsynced.drain(..).take(usize::try_from(kept).unwrap_or(usize::MAX)) {
            self.durable.apply(&change);
        }
        self.unsynced.clear();
        self.cached = self.durable.clone();
        (self.fuse, self.failed, self.late) = (None, false, 0);
        unsynced.saturating_sub(kept)
    }

    /// One step; fails when the power does.
    fn step(&mut self) -> Result<(), Error> {
        self.failed |= self.fuse == Some(0);
        if self.failed {
            return Err(Error::Io {
                action: "write",
                path: "the simulated disk".into(),
                source: std::io::Error::other("the power failed"),
            });
        }
        self.fuse = self.fuse.map(|steps| steps.saturating_sub(1));
        self.sync(self.late);
        self.late = 0;
        Ok(())
    }

    fn change(&mut self, change: Change) -> Result<(), Error> {
        self.step()?;
        self.cached.apply(&change);
        self.unsynced.push(change);
        Ok(())
    }

    fn barrier(&mut self) -> Result<(), Error> {
        self.step()?;
        match self.defect {
            Some(Defect::SkippedBarrier) => {}
            Some(Defect::LateBarrier) => self.late = self.unsynced.len(),
            _ => self.sync(self.unsynced.len()),
        }
        Ok(())
    }

    fn sync(&mut self, changes: usize) {
        for mut change in self.unsynced.drain(..changes.min(self.unsynced.len())) {
            if let (Some(Defect::ForgottenVote), Change::Write(Write { hard_state: Some(promise), .. })) =
                (self.defect, &mut change)
            {
                promise.vote = causeway_core::ids::NodeId(0);
            }
            self.durable.apply(&change);
        }
    }
}

/// A disk that several parts of the simulation look at.
pub(super) type SharedMedium = Arc<Mutex<Medium>>;

pub(super) fn look(medium: &SharedMedium) -> MutexGuard<'_, Medium> {
    // A replica that panicked is judged by what it left behind.
    medium.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk of one life of a node.
pub(super) struct SimulatedDisk(pub(super) SharedMedium);

impl Disk for SimulatedDisk {
    fn hard_state(&self) -> Option<HardState> {
        look(&self.0).cached.hard_state
    }

    fn compacted(&self) -> Position {
        look(&self.0).cached.compacted
    }

    fn last_index(&self) -> u64 {
        look(&self.0).cached.last_index()
    }

    fn entries(&self) -> u64 {
        u64::try_from(look(&self.0).cached.entries.len()).unwrap_or(u64::MAX)
    }

    fn bytes(&self) -> u64 {
        let medium = look(&self.0);
        medium.cached.entries.iter().map(|entry| u64::try_from(entry.data.len()).unwrap_or(u64::MAX)).sum()
    }

    fn term(&self, index: u64) -> Option<u64> {
        look(&self.0).cached.term(index)
    }

    fn read(&self, index: u64) -> Result<Option<LogEntry>, Error> {
        Ok(look(&self.0).cached.entry(index).cloned())
    }

    fn write(&mut self, write: &Write) -> Result<(), Error> {
        let mut medium = look(&self.0);
        medium.cached.verify(write)?;
        medium.change(Change::Write(write.clone()))
    }

    fn compact(&mut self, index: u64) -> Result<(), Error> {
        let mut medium = look(&self.0);
        if index <= medium.cached.compacted.index {
            return Ok(());
        }
        let last = medium.cached.last_index();
        let term = medium.cached.term(index).ok_or(Error::OutOfOrder { index, last })?;
        medium.change(Change::Compact(Position { index, term }))
    }

    fn barrier(&mut self) -> Result<Duration, Error> {
        look(&self.0).barrier().map(|()| Duration::ZERO)
    }

    fn snapshots(&self) -> Result<Vec<u64>, Error> {
        Ok(look(&self.0).snapshots.keys().rev().copied().collect())
    }

    fn read_snapshot(&self, index: u64) -> Result<Snapshot, Error> {
        let gone = || Error::Corrupt { place: format!("snapshot {index}"), reason: "it is gone".to_owned() };
        look(&self.0).snapshots.get(&index).cloned().ok_or_else(gone)
    }

    fn write_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let mut medium = look(&self.0);
        medium.step()?;
        medium.installed = medium.installed.saturating_add(u64::from(!snapshot.header.made_here));
        let mut kept = snapshot.clone();
        if medium.defect == Some(Defect::StaleSnapshot)
            && let Some((_, earlier)) = medium.snapshots.last_key_value()
        {
            kept.state.clone_from(&earlier.state);
        }
        medium.snapshots.insert(snapshot.header.position.index, kept);
        while medium.snapshots.len() > KEPT {
            medium.snapshots.pop_first();
        }
        Ok(())
    }

    fn remove_snapshot(&mut self, index: u64) -> Result<(), Error> {
        let mut medium = look(&self.0);
        medium.step()?;
        medium.snapshots.remove(&index);
        Ok(())
    }

    fn bind_cluster(&mut self, cluster: ClusterId) -> Result<(), Error> {
        let mut medium = look(&self.0);
        match medium.cached.cluster {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(Error::WrongCluster { found, expected: cluster }),
            None => {
                medium.change(Change::Bind(cluster))?;
                medium.barrier()
            }
        }
    }

    fn replace_routes(&mut self, _routes: &[Route]) -> Result<(), Error> {
        look(&self.0).step()
    }

    fn quarantine(self, reason: &str) -> Error {
        Error::Quarantined { moved_to: "the simulated disk".into(), reason: reason.to_owned() }
    }
}
