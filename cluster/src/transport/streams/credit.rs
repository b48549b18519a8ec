//! What a side may still send on one stream.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// The credit of one stream. A message may be sent while some is left, whatever its size, so that one which is larger
/// than the window gets through: what waits at the other side is bounded by the window and one message.
#[derive(Debug)]
pub(crate) struct Credit {
    left: Mutex<i64>,
    grown: Notify,
}

impl Credit {
    pub(crate) fn new(window: u64) -> Self {
        Self { left: Mutex::new(signed(window)), grown: Notify::new() }
    }

    /// Adds credit that the other side gave.
    pub(crate) fn add(&self, bytes: u64) {
        self.change(|left| *left = left.saturating_add(signed(bytes)));
        self.grown.notify_one();
    }

    /// Takes what a message costs; false, and nothing is taken, when no credit is left.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let cost = signed(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.change(|left| {
            let is_left = *left > 0;
            if is_left {
                *left = left.saturating_sub(cost);
            }
            is_left
        })
    }

    /// Whether a message may be sent now.
    pub(crate) fn is_left(&self) -> bool {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }

    /// Waits until a message may be sent. For one sender at a time.
    pub(crate) async fn wait_and_take(&self, bytes: usize) {
        while !self.take(bytes) {
            // One that came between the look and this is remembered.
            self.grown.notified().await;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut i64) -> T) -> T {
        change(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::{prop, proptest};
    use tokio::time::timeout;

    use super::Credit;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_without_credit_and_one_message_may_pass_its_end() {
        let credit = Arc::new(Credit::new(10));
        assert!(credit.is_left() && credit.take(4) && credit.take(500), "6 were left");
        assert!(!credit.is_left() && !credit.take(0));
        credit.add(494);
        assert!(timeout(Duration::from_secs(9), credit.wait_and_take(1)).await.is_err(), "exactly nothing is left");
        let waiting = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { credit.wait_and_take(1).await }
        });
        tokio::task::yield_now().await;
        credit.add(1);
        waiting.await.unwrap();
        credit.add(u64::MAX);
        credit.add(u64::MAX);
        assert!(credit.take(usize::MAX) && !credit.take(1));
    }

    proptest! {
        /// What is out and was not given back never passes the window by more than one message.
        #[test]
        fn what_is_out_stays_within_the_window_and_one_message(
            window in 1_u64..1_000,
            sizes in prop::collection::vec(0_usize..2_000, 1..100),
            returned_first in prop::collection::vec(0_usize..5, 1..100),
        ) {
            let credit = Credit::new(window);
            let (mut out, mut largest) = (std::collections::VecDeque::new(), 0);
            for (size, returned) in sizes.into_iter().zip(returned_first) {
                for _ in 0..returned {
                    credit.add(u64::try_from(out.pop_front().unwrap_or(0)).unwrap());
                }
                if credit.take(size) {
                    largest = largest.max(size);
                    out.push_back(size);
                }
                let bytes: usize = out.iter().sum();
                assert!(bytes < usize::try_from(window).unwrap() + largest.max(1));
            }
        }
    }
}
