//! How long a partition rests between a failure and its next start: 1 s doubling to 60 s, with jitter.
//!
//! Written progress resets it, because then the failure is a new one. The random part comes from the caller, so this is
//! pure. Never gives up: an outage of source or target must heal by itself however long it takes.

use std::time::Duration;

/// The rest after the first failure.
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest rest before jitter.
pub const LONGEST: Duration = Duration::from_secs(60);

/// The rests of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The rest before the next start. `random` is any number; it moves the rest by up to a quarter either way, so
    /// that partitions which failed together do not come back together.
    pub fn next(&mut self, random: u32) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).and_then(|factor| FIRST.checked_mul(factor));
        let rest = doubled.unwrap_or(LONGEST).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = rest / 2;
        let share = f64::from(random) / f64::from(u32::MAX);
        rest.saturating_sub(rest / 4).saturating_add(half.mul_f64(share))
    }

    /// Progress was written: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_to_a_minute_and_starts_again_after_progress() {
        let mut back_off = BackOff::default();
        let middle = u32::MAX / 2;
        let rests: Vec<u128> = (0..8).map(|_| (back_off.next(middle).as_millis() + 500) / 1000).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        back_off.reset();
        assert!(back_off.next(middle) < Duration::from_millis(1_001));
    }

    proptest! {
        #[test]
        fn stays_within_a_quarter_of_the_rest_and_never_overflows(failures in any::<u32>(), random in any::<u32>()) {
            let mut back_off = BackOff { failures };
            let rest = back_off.next(random);
            prop_assert!(rest >= FIRST.mul_f64(0.74));
            prop_assert!(rest <= LONGEST.mul_f64(1.26));
        }
    }
}
