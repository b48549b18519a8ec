//! Which partitions make progress, and which of it is on its way into the agreed state.
//!
//! ```text
//! cell changed --collect--> in flight --settle--> agreed: the cell and the gauge are told
//!      ^                        |
//!      +------ newer wins ------+-- not agreed on: offered again, unless the partition moved on
//! ```
//!
//! Shared between the supervisor, which adds and removes partitions, and the keeper, which collects. Locks are held for
//! a few steps in memory only. Never forgets the last progress of a run that ended before it was agreed on, never tells
//! a cell of a checkpoint that the agreed state does not hold, and never lets some partitions' progress wait for
//! others'.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use causeway_core::checkpoint::Checkpoint;
use causeway_core::command::Progress;
use causeway_core::ids::{Epoch, Timestamp};
use causeway_core::partition::PartitionId;
use causeway_core::state::State;
use tokio::sync::Notify;

use crate::replicate::ProgressCell;
use crate::status::PartitionGauge;

/// Progress of all partitions that this node runs.
#[derive(Debug, Default)]
pub struct ProgressBoard {
    partitions: Mutex<Partitions>,
    /// Told when a run begins to wait for an agreement.
    awaited: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Partitions {
    watched: BTreeMap<PartitionId, Watched>,
    /// Where a collection that was full ended: the next begins behind it, so that everybody's turn comes.
    collected_to: Option<PartitionId>,
}

#[derive(Debug)]
struct Watched {
    /// None when the run has ended.
    cell: Option<Arc<ProgressCell>>,
    gauge: Arc<PartitionGauge>,
    /// Collected and not proposed, or to be proposed again.
    waiting: Option<Checkpoint>,
    /// Proposed and not answered.
    in_flight: Option<Checkpoint>,
}

impl Watched {
    fn sample(&mut self) {
        if let Some(newer) = self.cell.as_ref().and_then(|cell| cell.take_changed()) {
            self.waiting = Some(newer);
        }
    }

    /// What there is to report now.
    fn report(&mut self, id: &PartitionId) -> Option<Progress> {
        self.sample();
        if self.in_flight.is_some() {
            return None;
        }
        let checkpoint = self.waiting.take()?;
        self.in_flight = Some(checkpoint.clone());
        Some(Progress { partition: id.clone(), checkpoint })
    }

    fn is_over(&self) -> bool {
        self.cell.is_none() && self.waiting.is_none() && self.in_flight.is_none()
    }
}

impl ProgressBoard {
    /// A run of a partition begins. It leaves its progress in the cell.
    pub fn watch(&self, id: &PartitionId, gauge: Arc<PartitionGauge>) -> Arc<ProgressCell> {
        let cell = Arc::new(ProgressCell::telling(Arc::clone(&self.awaited)));
        let mut partitions = self.lock();
        let entry = partitions.watched.entry(id.clone()).or_insert_with(|| Watched {
            cell: None,
            gauge: Arc::clone(&gauge),
            waiting: None,
            in_flight: None,
        });
        entry.sample();
        (entry.cell, entry.gauge) = (Some(Arc::clone(&cell)), gauge);
        cell
    }

    /// A run of a partition ended. Its last progress is kept until it is agreed on.
    pub fn unwatch(&self, id: &PartitionId) {
        let mut partitions = self.lock();
        if let Some(entry) = partitions.watched.get_mut(id) {
            entry.sample();
            entry.cell = None;
            if entry.is_over() {
                partitions.watched.remove(id);
            }
        }
    }

    /// Returns when a run has begun to wait for an agreement: before its first send, after a loss at the target, before
    /// a fault.
    pub async fn awaited(&self) {
        self.awaited.notified().await;
    }

    /// What changed since it was last agreed on, at most `maximum` partitions. Where there are more, the next
    /// collection goes on behind the last of this one. To be followed by [`Self::settle`] or [`Self::failed`].
    pub fn collect(&self, maximum: usize) -> Vec<Progress> {
        let Partitions { watched, collected_to } = &mut *self.lock();
        let begin = collected_to.take();
        let behind = (begin.as_ref().map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let report = |(id, entry): (&PartitionId, &mut Watched)| entry.report(id);
        let mut progress: Vec<_> =
            watched.range_mut::<PartitionId, _>(behind).filter_map(report).take(maximum).collect();
        if let Some(begin) = &begin {
            let room = maximum.saturating_sub(progress.len());
            progress.extend(watched.range_mut(..=begin).filter_map(report).take(room));
        }
        if progress.len() >= maximum {
            *collected_to = progress.last().map(|report| report.partition.clone());
        }
        progress
    }

    /// The collection was agreed on; `view` shows it. Answers the partitions whose report was refused: another
    /// ownership or life of a queue is current, so their runs are about to be stopped; or a run that was started again
    /// under the same epoch reports less than was agreed already, which heals as soon as it has passed that.
    pub fn settle(&self, view: &State, now: Timestamp) -> Vec<PartitionId> {
        let mut partitions = self.lock();
        let mut refused = Vec::new();
        for (id, entry) in &mut partitions.watched {
            let Some(reported) = entry.in_flight.take() else { continue };
            let agreed = view.partitions.get(id).and_then(|partition| partition.checkpoint.as_ref());
            if agreed == Some(&reported) {
                entry.gauge.set_checkpointed(now);
            } else {
                refused.push(id.clone());
            }
            // A run that reported less than is agreed may wait for that: it would never be told otherwise.
            if let Some(agreed) = agreed.filter(|agreed| covers(agreed, &reported))
                && let Some(cell) = &entry.cell
            {
                cell.committed(agreed);
            }
        }
        partitions.watched.retain(|_, entry| !entry.is_over());
        refused
    }

    /// The collection was not agreed on, or it is not known whether it was: to report it again is harmless.
    pub fn failed(&self) {
        for entry in self.lock().watched.values_mut() {
            if let Some(reported) = entry.in_flight.take() {
                entry.waiting.get_or_insert(reported);
            }
        }
    }

    /// The last progress under this epoch that is not known to be agreed on; none while the partition runs.
    #[must_use]
    pub fn not_agreed_on(&self, id: &PartitionId, epoch: Epoch) -> Option<Checkpoint> {
        let partitions = self.lock();
        let entry = partitions.watched.get(id).filter(|entry| entry.cell.is_none())?;
        entry.waiting.as_ref().or(entry.in_flight.as_ref()).filter(|last| last.epoch == epoch).cloned()
    }

    /// An ownership is over: what was not reported under its epoch never is, because it would be refused.
    pub fn forget(&self, id: &PartitionId, epoch: Epoch) {
        let mut partitions = self.lock();
        let Some(entry) = partitions.watched.get_mut(id) else { return };
        entry.waiting.take_if(|last| last.epoch == epoch && entry.cell.is_none());
        if entry.is_over() {
            partitions.watched.remove(id);
        }
    }

    /// Whether nothing is left to report.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lock().watched.values_mut().all(|entry| {
            entry.sample();
            entry.waiting.is_none() && entry.in_flight.is_none()
        })
    }

    /// A holder that panicked did so between whole steps, so what the map holds is right.
    fn lock(&self) -> MutexGuard<'_, Partitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a checkpoint of the same ownership and lives is as far as another one.
fn covers(agreed: &Checkpoint, reported: &Checkpoint) -> bool {
    let of = |checkpoint: &Checkpoint| (checkpoint.epoch, checkpoint.source_incarnation, checkpoint.target_incarnation);
    let place = |checkpoint: &Checkpoint| (checkpoint.source_next, checkpoint.target_next);
    of(agreed) == of(reported) && place(agreed) >= place(reported)
}
