//! Raft messages that are sent in pieces: one at a time, and whoever gave one learns what became of it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use super::budget::Share;
use super::error::{ConnectionError, Error};
use super::frame::Frame;
use super::pieces::Splitter;
use super::refusal::words;

/// Told once what became of a message; [`Error::Stopped`] when it is dropped before.
pub(crate) struct Done(Option<Callback>);

type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

impl Done {
    pub(crate) fn new(told: impl FnOnce(Result<(), Error>) + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    /// For a message whose fate nobody asks for.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn tell(mut self, what: Result<(), Error>) {
        if let Some(told) = self.0.take() {
            told(what);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(Err(Error::Stopped));
        }
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Done")
    }
}

/// A message that is to be sent in pieces.
#[derive(Debug)]
pub(crate) struct QueuedLarge {
    pub(crate) bytes: Bytes,
    pub(crate) done: Done,
    pub(crate) share: Share,
}

/// The messages in pieces for one peer.
#[derive(Debug)]
pub(crate) struct LargeLane {
    queue: UnboundedReceiver<QueuedLarge>,
    in_flight: Arc<InFlight>,
    piece_bytes: usize,
    time_limit: Duration,
    last_message: u64,
}

/// The message that is being sent; shared by the side that sends pieces and the side that hears answers.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    current: Mutex<Option<Current>>,
    ended: Notify,
}

#[derive(Debug)]
struct Current {
    message: u64,
    splitter: Splitter,
    deadline: Instant,
    done: Done,
    _share: Share,
}

impl LargeLane {
    pub(crate) fn new(queue: UnboundedReceiver<QueuedLarge>, piece_bytes: usize, time_limit: Duration) -> Self {
        Self { queue, in_flight: Arc::default(), piece_bytes, time_limit, last_message: 0 }
    }

    pub(crate) fn in_flight(&self) -> Arc<InFlight> {
        Arc::clone(&self.in_flight)
    }

    /// The next piece; none when nobody can give messages any more. A call that is given up loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            match self.in_flight.step(self.time_limit) {
                Step::Send(frame) => return Some(frame),
                // In time or not, the next step finds out.
                Step::AwaitAnswer(deadline) => drop(timeout_at(deadline, self.in_flight.ended.notified()).await),
                Step::Begin => {
                    let queued = self.queue.recv().await?;
                    self.begin(queued);
                }
            }
        }
    }

    fn begin(&mut self, queued: QueuedLarge) {
        let QueuedLarge { bytes, done, share } = queued;
        self.last_message = self.last_message.wrapping_add(1);
        let message = self.last_message;
        let splitter = Splitter::new(message, bytes, self.piece_bytes);
        let deadline = Instant::now() + self.time_limit;
        *self.in_flight.lock() = Some(Current { message, splitter, deadline, done, _share: share });
    }

    /// Fails everything: the connection ended, or there was none. Returns how many messages that were.
    pub(crate) fn discard(&mut self, error: &ConnectionError) -> u64 {
        let mut failed = u64::from(self.in_flight.end(Err(Error::Interrupted(error.clone()))));
        while let Ok(queued) = self.queue.try_recv() {
            queued.done.tell(Err(Error::NotSent(error.clone())));
            failed = failed.saturating_add(1);
        }
        failed
    }
}

enum Step {
    Send(Frame),
    AwaitAnswer(Instant),
    Begin,
}

impl InFlight {
    fn step(&self, time_limit: Duration) -> Step {
        let mut slot = self.lock();
        let Some(current) = slot.as_mut() else { return Step::Begin };
        if current.deadline <= Instant::now() {
            let late = slot.take();
            drop(slot);
            if let Some(late) = late {
                late.done.tell(Err(Error::Timeout { waited: time_limit }));
            }
            return Step::Begin;
        }
        match current.splitter.next() {
            Some(frame) => Step::Send(frame),
            None => Step::AwaitAnswer(current.deadline),
        }
    }

    /// Takes the other side's answer about a message.
    pub(crate) fn answer(&self, message: u64, reason: &[u8]) {
        if self.lock().as_ref().is_none_or(|current| current.message != message) {
            return;
        }
        let not_taken = || Error::NotTaken { reason: words(reason) };
        self.end(if reason.is_empty() { Ok(()) } else { Err(not_taken()) });
    }

    /// Ends the message that is being sent; false when there is none.
    pub(crate) fn end(&self, what: Result<(), Error>) -> bool {
        let Some(current) = self.lock().take() else { return false };
        current.done.tell(what);
        self.ended.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
    use tokio::sync::oneshot;
    use tokio::time::{Instant, timeout};

    use super::super::budget::{Budget, Used};
    use super::{ConnectionError, Done, Error, Frame, LargeLane, QueuedLarge};

    const LIMIT: Duration = Duration::from_secs(10);

    type Told = oneshot::Receiver<Result<(), Error>>;

    fn lane() -> (UnboundedSender<QueuedLarge>, LargeLane) {
        let (sender, queue) = unbounded_channel();
        (sender, LargeLane::new(queue, 4, LIMIT))
    }

    fn queued(budget: &std::sync::Arc<Budget>, bytes: &'static [u8]) -> (QueuedLarge, Told) {
        let (tell, told) = oneshot::channel();
        let done = Done::new(move |what| drop(tell.send(what)));
        (QueuedLarge { bytes: Bytes::from_static(bytes), done, share: budget.take(bytes.len()).unwrap() }, told)
    }

    fn is_piece(frame: Option<&Frame>, of: u64, at: u32) -> bool {
        matches!(frame, Some(Frame::Piece { message, index, .. }) if (*message, *index) == (of, at))
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_message_begins_when_the_one_before_was_answered() {
        let (budget, (sender, mut lane)) = (Budget::new(9, 99), lane());
        let ((first, told_first), (second, told_second)) = (queued(&budget, b"12345"), queued(&budget, b"1234567890"));
        sender.send(first).unwrap();
        sender.send(second).unwrap();
        for index in 0..2 {
            assert!(is_piece(lane.next().await.as_ref(), 1, index));
        }
        assert!(timeout(LIMIT / 2, lane.next()).await.is_err(), "no answer yet");
        let in_flight = lane.in_flight();
        in_flight.answer(9, b"");
        in_flight.answer(1, b"");
        assert_eq!(told_first.await.unwrap(), Ok(()));
        assert!(is_piece(lane.next().await.as_ref(), 2, 0));
        in_flight.answer(2, b"no\nroom");
        assert_eq!(told_second.await.unwrap(), Err(Error::NotTaken { reason: "noroom".into() }));
        assert_eq!(budget.used(), Used::default());
        assert!(timeout(LIMIT, lane.next()).await.is_err(), "the rest of a message that is not taken is not sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_without_an_answer_ends_in_time() {
        let (budget, (sender, mut lane)) = (Budget::new(9, 99), lane());
        let ((first, told), (second, _)) = (queued(&budget, b"1"), queued(&budget, b"2"));
        sender.send(first).unwrap();
        sender.send(second).unwrap();
        assert!(is_piece(lane.next().await.as_ref(), 1, 0));
        let begun = Instant::now();
        assert!(is_piece(lane.next().await.as_ref(), 2, 0));
        assert_eq!(begun.elapsed().as_secs(), LIMIT.as_secs());
        assert_eq!(told.await.unwrap(), Err(Error::Timeout { waited: LIMIT }));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_connection_and_of_the_lane_is_told() {
        let (budget, (sender, mut lane)) = (Budget::new(9, 99), lane());
        let ((sent, told_sent), (unsent, told_unsent)) = (queued(&budget, b"1"), queued(&budget, b"2"));
        sender.send(sent).unwrap();
        sender.send(unsent).unwrap();
        assert!(is_piece(lane.next().await.as_ref(), 1, 0));
        assert_eq!(lane.discard(&ConnectionError::Closed), 2);
        assert_eq!(told_sent.await.unwrap(), Err(Error::Interrupted(ConnectionError::Closed)));
        assert_eq!(told_unsent.await.unwrap(), Err(Error::NotSent(ConnectionError::Closed)));
        let (last, told) = queued(&budget, b"3");
        sender.send(last).unwrap();
        drop(lane);
        assert_eq!(told.await.unwrap(), Err(Error::Stopped));
        assert_eq!(budget.used(), Used::default());
    }
}
