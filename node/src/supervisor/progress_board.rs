//! Which partitions make progress, and which of it is on its way into the agreed state.
//!
//! ```text
//! cell changed --collect--> in flight --settle--> agreed: the cell and the gauge are told
//!      ^                        |
//!      +------ newer wins ------+-- not agreed on: offered again, unless the partition moved on
//! ```
//!
//! Shared between the supervisor, which adds and removes partitions, and the keeper, which collects. Locks are held for
//! a few steps in memory only. Never forgets the last progress of a run that ended before it was agreed on, and never
//! tells a cell of a checkpoint that the agreed state does not hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::command::Progress;
use causeway_core::ids::Timestamp;
use causeway_core::partition::PartitionId;
use causeway_core::state::State;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::replicate::ProgressCell;
use crate::status::PartitionGauge;

/// Between two looks for runs that wait for their first checkpoint and copy nothing before.
const FIRST_INTERVAL: Duration = Duration::from_millis(20);

/// Progress of all partitions that this node runs.
#[derive(Debug, Default)]
pub struct ProgressBoard {
    watched: Mutex<BTreeMap<PartitionId, Watched>>,
    /// Told when a run begins.
    begun: Notify,
}

#[derive(Debug)]
struct Watched {
    /// None when the run has ended.
    cell: Option<Arc<ProgressCell>>,
    /// Whether the cell of this run was told of any checkpoint.
    told: bool,
    gauge: Arc<PartitionGauge>,
    /// Collected and not proposed, or to be proposed again.
    waiting: Option<Checkpoint>,
    /// Proposed and not answered.
    in_flight: Option<Checkpoint>,
}

/// Whether there are runs that were told of no checkpoint yet.
enum First {
    /// One has left its first.
    Waits,
    /// None has left one so far.
    Comes,
    /// There are none.
    None,
}

impl Watched {
    fn sample(&mut self) {
        if let Some(newer) = self.cell.as_ref().and_then(|cell| cell.take_changed()) {
            self.waiting = Some(newer);
        }
    }

    fn is_over(&self) -> bool {
        self.cell.is_none() && self.waiting.is_none() && self.in_flight.is_none()
    }
}

impl ProgressBoard {
    /// A run of a partition begins.
    pub fn watch(&self, id: &PartitionId, cell: Arc<ProgressCell>, gauge: Arc<PartitionGauge>) {
        let mut watched = self.lock();
        let entry = watched.entry(id.clone()).or_insert_with(|| Watched {
            cell: None,
            told: false,
            gauge: Arc::clone(&gauge),
            waiting: None,
            in_flight: None,
        });
        entry.sample();
        (entry.cell, entry.told, entry.gauge) = (Some(cell), false, gauge);
        self.begun.notify_one();
    }

    /// A run of a partition ended. Its last progress is kept until it is agreed on.
    pub fn unwatch(&self, id: &PartitionId) {
        let mut watched = self.lock();
        if let Some(entry) = watched.get_mut(id) {
            entry.sample();
            entry.cell = None;
            if entry.is_over() {
                watched.remove(id);
            }
        }
    }

    /// Returns when a run may be waiting for its first checkpoint to be agreed on: it must not send before.
    pub async fn first_waits(&self) {
        loop {
            match self.first() {
                First::Waits => return,
                First::Comes => sleep(FIRST_INTERVAL).await,
                First::None => self.begun.notified().await,
            }
        }
    }

    fn first(&self) -> First {
        let mut first = First::None;
        for entry in self.lock().values_mut().filter(|entry| entry.cell.is_some() && !entry.told) {
            entry.sample();
            if entry.waiting.is_some() {
                return First::Waits;
            }
            first = First::Comes;
        }
        first
    }

    /// Everything that changed since it was last agreed on, at most `maximum` partitions; the rest comes next time.
    /// Every collection has to be answered by [`Self::settle`] or [`Self::failed`].
    pub fn collect(&self, maximum: usize) -> Vec<Progress> {
        let mut watched = self.lock();
        let mut progress = Vec::new();
        for (id, entry) in watched.iter_mut() {
            entry.sample();
            if progress.len() >= maximum || entry.in_flight.is_some() {
                continue;
            }
            if let Some(checkpoint) = entry.waiting.take() {
                progress.push(Progress { partition: id.clone(), checkpoint: checkpoint.clone() });
                entry.in_flight = Some(checkpoint);
            }
        }
        progress
    }

    /// The collection was agreed on; `view` shows it. Answers the partitions whose report was refused: another
    /// ownership or life of a queue is current, so their runs are about to be stopped.
    pub fn settle(&self, view: &State, now: Timestamp) -> Vec<PartitionId> {
        let mut watched = self.lock();
        let mut refused = Vec::new();
        for (id, entry) in watched.iter_mut() {
            let Some(reported) = entry.in_flight.take() else { continue };
            let agreed = view.partitions.get(id).and_then(|partition| partition.checkpoint.as_ref());
            if agreed == Some(&reported) {
                entry.gauge.set_checkpointed(now);
                if let Some(cell) = &entry.cell {
                    cell.committed(&reported);
                    entry.told = true;
                }
            } else {
                refused.push(id.clone());
            }
        }
        watched.retain(|_, entry| !entry.is_over());
        refused
    }

    /// The collection was not agreed on, or it is not known whether it was: to report it again is harmless.
    pub fn failed(&self) {
        for entry in self.lock().values_mut() {
            if let Some(reported) = entry.in_flight.take() {
                entry.waiting.get_or_insert(reported);
            }
        }
    }

    /// Whether nothing is left to report.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let mut watched = self.lock();
        watched.values_mut().all(|entry| {
            entry.sample();
            entry.waiting.is_none() && entry.in_flight.is_none()
        })
    }

    /// A holder that panicked did so between whole steps, so what the map holds is right.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
