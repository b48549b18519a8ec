//! What is told at most once in a while, however often it happens.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one through and then none for a while.
#[derive(Debug)]
pub(super) struct Seldom {
    every: Duration,
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: Mutex::default() }
    }

    /// Whether it is to be told, at this moment.
    pub(super) fn now(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= self.every);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_each_time_span() {
        let (seldom, start) = (Seldom::new(Duration::from_secs(60)), Instant::now());
        let told = [0, 1, 59, 60, 61, 119, 120].map(|second| seldom.now(start + Duration::from_secs(second)));
        assert_eq!(told, [true, false, false, true, false, false, true]);
    }
}
