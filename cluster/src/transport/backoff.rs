//! How long to wait before another attempt to connect.

use std::time::Duration;

use super::settings::Settings;

/// Doubles from attempt to attempt. Between half and all of it is waited, by chance, so that nodes that lost each other
/// at one moment do not come back at one moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &Settings) -> Self {
        let Settings { first_backoff, longest_backoff, .. } = *settings;
        Self { first: first_backoff, longest: longest_backoff, next: first_backoff }
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.longest);
        // Without random bytes all of it is waited.
        let chance = getrandom::u32().unwrap_or(u32::MAX);
        whole / 2 + (whole / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Settings};

    #[test]
    fn waits_double_up_to_the_longest_and_start_again() {
        let mut backoff = Backoff::new(&Settings::default());
        for milliseconds in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let whole = Duration::from_millis(milliseconds);
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
