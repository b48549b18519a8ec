//! One stream that an owner reads from a relay: takes batches apart, and lets the stream's window grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::transport::streams::{Stream, StreamEnd};
use causeway_core::ids::NodeId;
use futures::FutureExt as _;
use tokio::time::{Instant, timeout};

use super::figures::{Figures, Ongoing};
use super::wire::{Answer, Answered, Batch, Malformed, Piece, Refusal};
use crate::replicate::budget::Hold;
use crate::replicate::ports::{Bounds, Read};
use crate::replicate::trouble::Trouble;

/// A window grows when as much as it holds was waited for within this time.
const STEADY: Duration = Duration::from_secs(2);

/// Why a relay gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Setback {
    /// The relay works, its source does not.
    #[error("{}", .0.why)]
    Source(Trouble),
    /// The stream ended.
    #[error(transparent)]
    Ended(#[from] StreamEnd),
    /// It could not be opened.
    #[error("the stream was not opened: {0}")]
    NotOpened(#[from] causeway_cluster::transport::Error),
    /// The relay does not want to.
    #[error(transparent)]
    Refused(Refusal),
    /// The relay said nothing.
    #[error("the relay did not answer within {0:?}")]
    Silent(Duration),
    /// The relay sent what it should not.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The relay answered another question.
    #[error("the relay answered another question")]
    Unexpected,
}

/// A stream of batches, and where it is.
pub(crate) struct Following {
    pub(crate) node: NodeId,
    stream: Stream,
    /// The windows' share.
    hold: Hold,
    longest_window: usize,
    /// The offset that comes next.
    next: i64,
    answered: Option<(Answered, Bounds)>,
    ready: VecDeque<Piece>,
    /// An empty batch that nobody was given yet.
    is_at_end: bool,
    /// Bytes that were waited for, and since when.
    waited_for: (usize, Instant),
    _received: Ongoing,
    figures: Arc<Figures>,
}

impl Following {
    pub(crate) fn new(
        node: NodeId,
        stream: Stream,
        hold: Hold,
        longest_window: usize,
        from: i64,
        figures: Arc<Figures>,
    ) -> Self {
        Self {
            node,
            stream,
            hold,
            longest_window,
            next: from,
            answered: None,
            ready: VecDeque::new(),
            is_at_end: false,
            waited_for: (0, Instant::now()),
            _received: figures.receives(),
            figures,
        }
    }

    /// The offset that comes next.
    pub(crate) fn position(&self) -> i64 {
        self.next
    }

    /// Whether a batch came.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.is_some()
    }

    /// Bytes that may be on their way.
    pub(crate) fn window(&self) -> usize {
        self.stream.window()
    }

    /// The next read of at most so many messages; who answered it is told beside it. A call that is given up loses
    /// nothing.
    pub(crate) async fn next(&mut self, at_most: usize, limit: Duration) -> Result<(Read, Answered), Setback> {
        loop {
            if let Some(read) = self.hand_out(at_most) {
                return Ok(read);
            }
            let batch = self.receive(limit).await?;
            self.is_at_end = batch.pieces.is_empty();
            self.answered = Some((batch.answered, batch.bounds));
            self.ready = batch.pieces.into();
        }
    }

    async fn receive(&mut self, limit: Duration) -> Result<Batch, Setback> {
        let (message, was_waited_for) = match self.stream.receive().now_or_never() {
            Some(message) => (message?, false),
            None => match timeout(limit, self.stream.receive()).await {
                Ok(message) => (message?, true),
                Err(_) => return Err(Setback::Silent(limit)),
            },
        };
        self.figures.received(message.len());
        if was_waited_for {
            self.widen(message.len());
        }
        match parse(message)? {
            Answer::Batch(batch) => Ok(batch),
            _ => Err(Setback::Unexpected),
        }
    }

    /// The reader waited for the network and not the other way round: a wider window may let more through.
    fn widen(&mut self, bytes: usize) {
        let (so_far, since) = self.waited_for;
        let (so_far, since) = if since.elapsed() > STEADY { (0, Instant::now()) } else { (so_far, since) };
        self.waited_for = (so_far.saturating_add(bytes), since);
        let window = self.stream.window();
        let more = window.min(self.longest_window.saturating_sub(window));
        if self.waited_for.0 >= window && more > 0 && self.hold.grow(more) {
            self.stream.widen(more);
            self.waited_for = (0, Instant::now());
        }
    }

    fn hand_out(&mut self, at_most: usize) -> Option<(Read, Answered)> {
        let (answered, bounds) = self.answered?;
        let (records, left_out) = match self.ready.pop_front() {
            Some(Piece::Records(mut records)) => {
                if records.len() > at_most {
                    let rest = records.split_off(at_most);
                    self.ready.push_front(Piece::Records(rest));
                }
                (records, None)
            }
            Some(Piece::LeftOut(left_out)) => (Vec::new(), Some(left_out)),
            None if std::mem::take(&mut self.is_at_end) => (Vec::new(), None),
            None => return None,
        };
        let last = left_out.map(|left_out| left_out.last.offset);
        if let Some(last) = last.or_else(|| records.last().map(|record| record.queue_offset)) {
            self.next = last.saturating_add(1);
        }
        let Answered { from_slave, connection, .. } = answered;
        Some((Read { records, left_out, bounds, from_slave, connection }, answered))
    }
}

/// Reads an answer; what is no answer to a question is a setback.
pub(crate) fn parse(message: bytes::Bytes) -> Result<Answer, Setback> {
    match Answer::parse(message)? {
        Answer::Trouble(trouble) => Err(Setback::Source(trouble)),
        Answer::Refused(refusal) => Err(Setback::Refused(refusal)),
        answer => Ok(answer),
    }
}
