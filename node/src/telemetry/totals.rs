//! Counters of a partition or a stream, as values that can be compared and added.

use crate::status::PartitionFigures;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Messages read from the source.
    pub read_messages: u64,
    /// Bytes of stored records read from the source.
    pub read_bytes: u64,
    /// Messages among those read that a slave of the source answered.
    pub slave_read_messages: u64,
    /// Messages written to the target.
    pub written_messages: u64,
    /// Bytes of encoded messages written to the target.
    pub written_bytes: u64,
    /// Messages left out by the filter.
    pub filtered_messages: u64,
    /// Messages left out because they had passed the target already.
    pub looped_messages: u64,
    /// Copies that a dead owner wrote after its time.
    pub zombie_writes: u64,
}

impl Totals {
    /// The counters of a partition.
    #[must_use]
    pub fn of(figures: &PartitionFigures) -> Self {
        Self {
            read_messages: figures.read_messages,
            read_bytes: figures.read_bytes,
            slave_read_messages: figures.slave_read_messages,
            written_messages: figures.written_messages,
            written_bytes: figures.written_bytes,
            filtered_messages: figures.filtered_messages,
            looped_messages: figures.looped_messages,
            zombie_writes: figures.zombie_writes,
        }
    }

    /// What was counted since an earlier look. A counter that is lower than before began again at zero, so all of it
    /// is new.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let grown = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            read_messages: grown(self.read_messages, earlier.read_messages),
            read_bytes: grown(self.read_bytes, earlier.read_bytes),
            slave_read_messages: grown(self.slave_read_messages, earlier.slave_read_messages),
            written_messages: grown(self.written_messages, earlier.written_messages),
            written_bytes: grown(self.written_bytes, earlier.written_bytes),
            filtered_messages: grown(self.filtered_messages, earlier.filtered_messages),
            looped_messages: grown(self.looped_messages, earlier.looped_messages),
            zombie_writes: grown(self.zombie_writes, earlier.zombie_writes),
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        let sum = |total: &mut u64, more: u64| *total = total.saturating_add(more);
        sum(&mut self.read_messages, other.read_messages);
        sum(&mut self.read_bytes, other.read_bytes);
        sum(&mut self.slave_read_messages, other.slave_read_messages);
        sum(&mut self.written_messages, other.written_messages);
        sum(&mut self.written_bytes, other.written_bytes);
        sum(&mut self.filtered_messages, other.filtered_messages);
        sum(&mut self.looped_messages, other.looped_messages);
        sum(&mut self.zombie_writes, other.zombie_writes);
    }
}
