//! Where a run leaves its progress, and learns what became of it.
//!
//! ```text
//! pipeline --store--> newest --take_changed--> keeper --> agreed on --committed--> waiters
//!                                             ^                                       |
//!                                             +------------- awaited -----------------+
//! ```
//!
//! Holds one checkpoint, the newest: nothing queues up, however slow the keeper is. The pipeline stores only what the
//! stream's durability policy allows, so a checkpoint is never ahead of the target.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use causeway_core::checkpoint::Checkpoint;
use tokio::sync::{Notify, watch};

/// The progress of one run.
#[derive(Debug)]
pub struct ProgressCell {
    inner: Mutex<Inner>,
    /// Source and target offsets of the newest checkpoint that was agreed on.
    committed: watch::Sender<Option<(i64, i64)>>,
    /// Told when somebody begins to wait for an agreement; the cells of one keeper share it.
    awaited: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Inner {
    newest: Option<Checkpoint>,
    changed: bool,
}

impl Default for ProgressCell {
    fn default() -> Self {
        Self::telling(Arc::default())
    }
}

impl ProgressCell {
    /// A cell that tells whoever carries its progress on when a run waits for that.
    #[must_use]
    pub fn telling(awaited: Arc<Notify>) -> Self {
        Self { inner: Mutex::default(), committed: watch::Sender::new(None), awaited }
    }

    /// Leaves a newer checkpoint.
    pub fn store(&self, checkpoint: Checkpoint) {
        let mut inner = self.lock();
        inner.newest = Some(checkpoint);
        inner.changed = true;
    }

    /// The newest checkpoint, unless it was taken before. Whoever takes it sees to it that it is agreed on.
    #[must_use]
    pub fn take_changed(&self) -> Option<Checkpoint> {
        let mut inner = self.lock();
        if !std::mem::take(&mut inner.changed) {
            return None;
        }
        inner.newest.clone()
    }

    /// The newest checkpoint of this run, taken or not.
    #[must_use]
    pub fn newest(&self) -> Option<Checkpoint> {
        self.lock().newest.clone()
    }

    /// A checkpoint of this run was agreed on and is durable.
    pub fn committed(&self, checkpoint: &Checkpoint) {
        let place = (checkpoint.source_next, checkpoint.target_next);
        self.committed.send_modify(|known| *known = (*known).max(Some(place)));
    }

    /// Returns when this checkpoint of this run, or a newer one, is agreed on. Waits for ever where it never is:
    /// another ownership is current then, and the run is about to be stopped.
    pub async fn wait_committed(&self, checkpoint: &Checkpoint) {
        let place = (checkpoint.source_next, checkpoint.target_next);
        let mut committed = self.committed.subscribe();
        let is_reached = |known: &Option<(i64, i64)>| *known >= Some(place);
        if !is_reached(&committed.borrow()) {
            self.awaited.notify_one();
        }
        // The sender lives as long as `self`, so this ends only when the value is there.
        let _reached = committed.wait_for(is_reached).await;
    }

    /// The holder of the lock cannot stop half-way, so what is inside is right even after a panic elsewhere.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::supervisor::testing::checkpoint;

    #[test]
    fn only_the_newest_is_taken_and_only_once() {
        let cell = ProgressCell::default();
        assert_eq!(cell.take_changed(), None);
        cell.store(checkpoint(1, 1));
        cell.store(checkpoint(1, 2));
        assert_eq!(cell.take_changed(), Some(checkpoint(1, 2)));
        assert_eq!(cell.take_changed(), None);
        assert_eq!(cell.newest(), Some(checkpoint(1, 2)));
    }

    #[test]
    fn a_waiter_waits_for_its_checkpoint_or_a_newer_one() {
        let awaited = Arc::new(Notify::new());
        let cell = ProgressCell::telling(Arc::clone(&awaited));
        let wanted = checkpoint(1, 5);
        assert!(awaited.notified().now_or_never().is_none());
        assert!(cell.wait_committed(&wanted).now_or_never().is_none());
        assert!(awaited.notified().now_or_never().is_some(), "whoever carries progress on is told");
        cell.committed(&checkpoint(1, 4));
        assert!(cell.wait_committed(&wanted).now_or_never().is_none());
        cell.committed(&checkpoint(1, 6));
        cell.committed(&checkpoint(1, 3));
        assert!(awaited.notified().now_or_never().is_some());
        assert!(cell.wait_committed(&wanted).now_or_never().is_some());
        assert!(awaited.notified().now_or_never().is_none(), "nobody waits for what is there");
    }
}
