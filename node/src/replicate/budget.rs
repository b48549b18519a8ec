//! The bytes that all partitions of a node hold between reading and acknowledgement.
//!
//! Nobody ever waits for the budget: a partition that holds nothing may always read, and one that holds something reads
//! ahead only while the node has room. So the budget is passed by at most one pull per partition, none starves, and a
//! blocked target cannot hold up another partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::status::PartitionGauge;

/// The node's budget.
#[derive(Debug)]
pub struct ReadAheadBudget {
    limit: usize,
    held: AtomicUsize,
}

impl ReadAheadBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: AtomicUsize::new(0) }
    }

    /// Whether more than half of it is held.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.held() > self.limit / 2
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// Bytes that are held, whatever for. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Arc<ReadAheadBudget>,
    bytes: usize,
}

impl Hold {
    /// Holds so many bytes, whatever room there is.
    pub(crate) fn new(budget: Arc<ReadAheadBudget>, bytes: usize) -> Self {
        budget.held.fetch_add(bytes, Ordering::Relaxed);
        Self { budget, bytes }
    }

    /// Holds more, if there is room for it.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        let has_room = before.saturating_add(bytes) <= self.budget.limit;
        if has_room {
            self.bytes = self.bytes.saturating_add(bytes);
        } else {
            self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        has_room
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one partition holds. Gives everything back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<ReadAheadBudget>,
    gauge: Arc<PartitionGauge>,
    held: usize,
}

impl Charge {
    pub(super) fn new(budget: Arc<ReadAheadBudget>, gauge: Arc<PartitionGauge>) -> Self {
        Self { budget, gauge, held: 0 }
    }

    /// Bytes that this partition holds.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Whether the partition may read more, with `own_limit` as its own share.
    pub(super) fn has_room(&self, own_limit: usize) -> bool {
        self.held == 0 || (self.held < own_limit && self.budget.held() < self.budget.limit)
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes);
        self.budget.held.fetch_add(bytes, Ordering::Relaxed);
        self.show();
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held);
        self.held = self.held.saturating_sub(bytes);
        self.budget.held.fetch_sub(bytes, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        self.gauge.in_flight_bytes.store(u64::try_from(self.held).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.held);
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::{Epoch, Timestamp};

    use super::*;

    #[test]
    fn what_is_held_grows_only_while_there_is_room_and_comes_back() {
        let budget = Arc::new(ReadAheadBudget::new(100));
        let mut first = Hold::new(Arc::clone(&budget), 40);
        assert!(!budget.is_scarce() && first.grow(40) && budget.is_scarce());
        let mut second = Hold::new(Arc::clone(&budget), 40);
        assert!(!second.grow(1) && !first.grow(1));
        assert_eq!(budget.held(), 120);
        drop(first);
        assert!(second.grow(60) && !second.grow(1));
        drop(second);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_partition_that_holds_nothing_may_always_read_and_others_only_while_there_is_room() {
        let budget = Arc::new(ReadAheadBudget::new(100));
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let mut greedy = Charge::new(Arc::clone(&budget), Arc::clone(&gauge));
        let mut modest = Charge::new(Arc::clone(&budget), gauge);
        greedy.add(60);
        assert!(greedy.has_room(61) && !greedy.has_room(60), "its own share counts");
        greedy.add(60);
        assert!(!greedy.has_room(1000), "the node's budget counts");
        assert!(modest.has_room(1000));
        modest.add(1);
        assert!(!modest.has_room(1000));
        greedy.give_back(60);
        assert!(modest.has_room(1000));
        drop(greedy);
        modest.give_back(5);
        assert_eq!(budget.held(), 0);
    }
}
