//! Waits between attempts: doubling, with jitter, and only for so long.
//!
//! The jitter comes from a seed and not from the system, so a simulation repeats itself. Never spends a message: what
//! is retried is a request that provably changed nothing, or a read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::settings::ReplicateSettings;

/// Attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry {
    first: Duration,
    longest: Duration,
    patience: Duration,
    next: Duration,
    /// When the first attempt of the row of failures began.
    since: Option<Instant>,
    /// When the last wait ended.
    last: Option<Instant>,
    random: u64,
}

impl Retry {
    pub(super) fn new(settings: &ReplicateSettings, seed: u64) -> Self {
        Self {
            first: settings.retry_first,
            longest: settings.retry_longest,
            patience: settings.patience,
            next: settings.retry_first,
            since: None,
            last: None,
            random: seed | 1,
        }
    }

    /// An attempt succeeded.
    pub(super) fn succeeded(&mut self) {
        self.since = None;
        self.next = self.first;
    }

    /// Waits before the next attempt. `false` when attempts have failed for longer than the patience.
    pub(super) async fn wait(&mut self) -> bool {
        self.wait_since(Instant::now()).await
    }

    /// The same after an attempt that took its time: it began then.
    pub(super) async fn wait_since(&mut self, began: Instant) -> bool {
        // An attempt that began long after the last failure is the first of a new row, even if nobody said that things
        // went well. One that only took long is not.
        if self.last.is_some_and(|last| began.saturating_duration_since(last) > self.patience) {
            self.succeeded();
        }
        let since = *self.since.get_or_insert(began);
        if since.elapsed() >= self.patience {
            return false;
        }
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        sleep(self.jittered(wait)).await;
        self.last = Some(Instant::now());
        true
    }

    /// Between half of a wait and the whole of it.
    fn jittered(&mut self, wait: Duration) -> Duration {
        // Xorshift (Marsaglia, 2003): good enough to keep partitions from knocking in step.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let thousandths = u32::try_from(self.random % 501).unwrap_or(0).saturating_add(500);
        wait.saturating_mul(thousandths) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_end_with_the_patience() {
        let settings = ReplicateSettings::default();
        let mut retry = Retry::new(&settings, 7);
        let began = Instant::now();
        let mut waits = Vec::new();
        loop {
            let before = Instant::now();
            if !retry.wait().await {
                break;
            }
            waits.push(before.elapsed());
        }
        assert!(began.elapsed() >= settings.patience);
        assert!(began.elapsed() <= settings.patience + settings.retry_longest);
        assert!(waits[0] >= settings.retry_first / 2 && waits[0] <= settings.retry_first);
        assert!(waits.iter().all(|wait| *wait <= settings.retry_longest));
        assert!(*waits.last().unwrap() >= settings.retry_longest / 2);
        retry.succeeded();
        assert!(retry.wait().await);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_take_longer_than_the_patience_end_too_and_a_failure_long_after_is_a_new_row() {
        let settings = ReplicateSettings::default();
        let mut retry = Retry::new(&settings, 7);
        let long = settings.patience + Duration::from_secs(2);
        assert!(retry.wait().await);
        sleep(long).await;
        assert!(retry.wait().await, "nothing failed meanwhile");
        let began = Instant::now();
        sleep(long).await;
        assert!(!retry.wait_since(began).await);
    }
}
