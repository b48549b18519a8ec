//! Something that is told only when it lasts: once when it has for a while, and once when it is over.

use std::time::Duration;

use tokio::time::Instant;

/// Since when it lasts, if it does, and whether that was told.
#[derive(Debug, Default)]
pub(crate) struct Lasting {
    since: Option<Instant>,
    told: bool,
}

impl Lasting {
    /// It lasts from now on, if it turns out to be there at all.
    pub(crate) fn from_now() -> Self {
        Self { since: Some(Instant::now()), told: false }
    }

    /// It is there. Answers whether it is to be told: once, when it has lasted for `patience`.
    pub(crate) fn see(&mut self, patience: Duration) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        let due = !self.told && since.elapsed() >= patience;
        self.told |= due;
        due
    }

    /// It is not there. Answers whether it was told before.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(self).told
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_told_once_and_its_end_only_when_it_was_told() {
        let kinds: [(fn() -> Lasting, u64); 2] = [(Lasting::default, 0), (Lasting::from_now, 4)];
        for (begin, before) in kinds {
            let mut lasting = begin();
            advance(Duration::from_secs(before)).await;
            let mut told = Vec::new();
            for second in before..30 {
                if lasting.see(PATIENCE) {
                    told.push(second);
                }
                advance(Duration::from_secs(1)).await;
            }
            assert_eq!(told, [10]);
            assert!(lasting.end() && !lasting.end());
            assert!(!lasting.see(PATIENCE), "another time begins with it");
            advance(PATIENCE - Duration::from_secs(1)).await;
            assert!(!lasting.see(PATIENCE) && !lasting.end(), "it was short");
        }
    }
}
