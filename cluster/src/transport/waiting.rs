//! Requests that were sent and wait for their answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::budget::Share;
use super::error::Error;
use super::frame::Frame;

/// Where an answer goes.
pub(crate) type Answer = oneshot::Sender<Result<Vec<u8>, Error>>;

/// A request that is to be sent.
#[derive(Debug)]
pub(crate) struct QueuedRequest {
    pub(crate) id: u64,
    pub(crate) body: Bytes,
    pub(crate) answer: Answer,
    pub(crate) share: Share,
}

/// The requests that were sent on the current connection to one peer.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    sent: Mutex<HashMap<u64, (Answer, Share)>>,
}

impl Waiting {
    /// Remembers who asked and gives the frame to send; none when nobody waits for the answer any more.
    pub(crate) fn send(&self, request: QueuedRequest) -> Option<Frame> {
        let QueuedRequest { id, body, answer, share } = request;
        let mut sent = self.lock();
        // Whoever gave up after this look finds the request in the list and takes it out.
        if answer.is_closed() {
            return None;
        }
        sent.insert(id, (answer, share));
        Some(Frame::Request { id, body })
    }

    /// Hands an answer to whoever asked. One that nobody waits for any more is passed over.
    pub(crate) fn answer(&self, id: u64, answer: Result<Vec<u8>, Error>) {
        let waiting = self.lock().remove(&id);
        if let Some((asker, _)) = waiting {
            // Whoever asked may have given up at this moment.
            let _ = asker.send(answer);
        }
    }

    /// Forgets a request whose answer is not wanted any more.
    pub(crate) fn forget(&self, id: u64) {
        drop(self.lock().remove(&id));
    }

    /// Fails all of them: their connection ended.
    pub(crate) fn fail(&self, error: &Error) {
        let all = std::mem::take(&mut *self.lock());
        for (asker, _) in all.into_values() {
            let _ = asker.send(Err(error.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, (Answer, Share)>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::oneshot;

    use super::super::budget::{Budget, Used};
    use super::{Error, QueuedRequest, Waiting};

    #[tokio::test]
    async fn every_request_is_answered_once_or_failed_and_its_share_comes_back() {
        let (waiting, budget) = (Waiting::default(), Budget::new(9, 9));
        let queue = |id| {
            let (answer, asked) = oneshot::channel();
            (QueuedRequest { id, body: Bytes::new(), answer, share: budget.take(1).unwrap() }, asked)
        };
        let ((first, got), (second, failed), (third, gone)) = (queue(1), queue(2), queue(3));
        assert!(waiting.send(first).is_some() && waiting.send(second).is_some());
        drop(gone);
        assert!(waiting.send(third).is_none(), "nobody waits for it");
        assert_eq!(budget.used(), Used { count: 2, bytes: 2 });
        waiting.answer(7, Ok(vec![7]));
        waiting.answer(1, Ok(vec![1]));
        assert_eq!(got.await.unwrap(), Ok(vec![1]));
        waiting.fail(&Error::Stopped);
        assert_eq!(failed.await.unwrap(), Err(Error::Stopped));
        assert_eq!(budget.used(), Used::default());
    }

    #[test]
    fn what_is_forgotten_takes_no_place() {
        let (waiting, budget) = (Waiting::default(), Budget::new(1, 1));
        let (answer, asked) = oneshot::channel();
        waiting.send(QueuedRequest { id: 1, body: Bytes::new(), answer, share: budget.take(1).unwrap() });
        drop(asked);
        waiting.forget(1);
        assert_eq!(budget.used(), Used::default());
    }
}
