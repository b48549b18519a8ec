//! Asks a run to end after the send in flight was answered.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use super::exit::PartitionExit;

/// A request to end, shared between a run and whoever may stop it. Cannot be taken back.
#[derive(Debug, Clone)]
pub struct StopSignal {
    asked: Arc<watch::Sender<bool>>,
}

impl Default for StopSignal {
    fn default() -> Self {
        Self { asked: Arc::new(watch::Sender::new(false)) }
    }
}

impl StopSignal {
    /// Asks the run to end. May be called any number of times.
    pub fn stop(&self) {
        self.asked.send_replace(true);
    }

    /// Whether the run was asked to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns when the run is asked to end.
    pub async fn stopped(&self) {
        let mut asked = self.asked.subscribe();
        // The sender lives as long as `self`, so this ends only when the value is true.
        let _was_asked = asked.wait_for(|asked| *asked).await;
    }

    /// Does something that may be given up at any await, unless the run is asked to end first.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, PartitionExit> {
        if self.is_stopped() {
            return Err(PartitionExit::Stopped);
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.stopped() => Err(PartitionExit::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_given_up_when_asked_and_not_begun_after() {
        let signal = StopSignal::default();
        assert_eq!(signal.unless_stopped(async { 7 }).await, Ok(7));
        let other = signal.clone();
        let waiting = signal.unless_stopped(std::future::pending::<()>());
        let (ended, ()) = tokio::join!(waiting, async move { other.stop() });
        assert_eq!(ended, Err(PartitionExit::Stopped));
        assert!(signal.is_stopped());
        assert_eq!(signal.unless_stopped(async { 7 }).await, Err(PartitionExit::Stopped));
    }
}
