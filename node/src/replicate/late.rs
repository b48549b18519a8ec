//! Copies of this partition that no owner counts on: a dead owner's send landed after the tail was read, or a copy
//! stands at the target twice. They are counted and told once, and nothing depends on them.

use std::sync::atomic::Ordering;

use causeway_core::ids::Epoch;

use super::tail::OwnCopy;
use crate::status::PartitionGauge;

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct LateCopies {
    count: u64,
    extent: Option<Extent>,
}

/// Lowest and highest of each, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    epochs: (Epoch, Epoch),
    source_offsets: (i64, i64),
    target_offsets: (i64, i64),
}

impl LateCopies {
    /// Another one.
    pub(super) fn see(&mut self, copy: OwnCopy) {
        let OwnCopy { place, epoch, .. } = copy;
        let before = self.extent.unwrap_or(Extent {
            epochs: (epoch, epoch),
            source_offsets: (place.source_offset, place.source_offset),
            target_offsets: (place.target_offset, place.target_offset),
        });
        self.count = self.count.saturating_add(1);
        self.extent = Some(Extent {
            epochs: widened(before.epochs, epoch),
            source_offsets: widened(before.source_offsets, place.source_offset),
            target_offsets: widened(before.target_offsets, place.target_offset),
        });
    }

    /// Counts and tells them. To be called once for each look.
    pub(super) fn report(&self, gauge: &PartitionGauge) {
        let Some(Extent { epochs, source_offsets, target_offsets }) = self.extent else { return };
        gauge.zombie_writes.fetch_add(self.count, Ordering::Relaxed);
        let copies = self.count;
        tracing::warn!(
            copies,
            written_under = %range(epochs),
            source_offsets = %range(source_offsets),
            target_offsets = %range(target_offsets),
            "copies landed late, or stand at the target twice"
        );
    }
}

fn widened<T: Ord + Copy>((lowest, highest): (T, T), value: T) -> (T, T) {
    (lowest.min(value), highest.max(value))
}

fn range<T: PartialEq + std::fmt::Display>((lowest, highest): (T, T)) -> String {
    if lowest == highest { lowest.to_string() } else { format!("{lowest}..={highest}") }
}
