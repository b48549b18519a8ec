//! A bound in number and bytes that several holders share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much may be held at once.
#[derive(Debug)]
pub(crate) struct Budget {
    maximum: Used,
    used: Mutex<Used>,
}

/// How much is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(count: usize, bytes: usize) -> Arc<Self> {
        Arc::new(Self { maximum: Used { count, bytes }, used: Mutex::default() })
    }

    /// Takes a place of this size; none when there is none left.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let mut used = self.lock();
        let count = used.count.checked_add(1).filter(|count| *count <= self.maximum.count)?;
        let total = used.bytes.checked_add(bytes).filter(|total| *total <= self.maximum.bytes)?;
        *used = Used { count, bytes: total };
        Some(Share { budget: Arc::clone(self), bytes })
    }

    pub(crate) fn used(&self) -> Used {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.budget.lock();
        used.count = used.count.saturating_sub(1);
        used.bytes = used.bytes.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Used};

    #[test]
    fn both_bounds_hold_and_what_is_dropped_is_free_again() {
        let budget = Budget::new(2, 10);
        let first = budget.take(6).unwrap();
        assert!(budget.take(5).is_none(), "too many bytes");
        let second = budget.take(4).unwrap();
        assert!(budget.take(0).is_none(), "too many");
        assert_eq!(budget.used(), Used { count: 2, bytes: 10 });
        drop(first);
        assert_eq!(budget.used(), Used { count: 1, bytes: 4 });
        assert!(budget.take(usize::MAX).is_none());
        drop(second);
        assert_eq!(budget.used(), Used::default());
    }
}
