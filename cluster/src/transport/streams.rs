//! Byte streams between nodes: bulk that must never delay Raft, on connections of its own.
//!
//! The side that wants bytes opens a stream ([`super::Transport::open_stream`]) and reads messages from it; the other
//! side serves it ([`super::Handler::serve_stream`]). Messages of one stream arrive whole, once and in order, or the
//! stream ends. A stream lives on one of a few connections to its node, so it ends with that, and whoever read from it
//! opens another one where it was interrupted.
//!
//! A side sends on a stream only what the other has given it credit for, so a reader that is slow holds up its own
//! stream and no other: at most the window and one message wait for it. Credit comes back when messages are taken.
//!
//! Parts: [`Stream`] (what a reader holds), [`StreamSender`] (what serves it); `stripe.rs` and `stripes.rs` (the
//! connections that this node opened), `served.rs` (one that another node opened), `credit.rs`.

mod credit;
mod served;
mod stripe;
mod stripes;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

pub use served::StreamSender;
pub(crate) use served::serve;
use stripe::Stripe;
pub(crate) use stripes::Stripes;

use super::error::ConnectionError;

/// The longest opening, in bytes.
pub const MAXIMUM_OPENING_BYTES: usize = 64 * 1024;

/// How a stream is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Tells the other side what is wanted; at most [`MAXIMUM_OPENING_BYTES`].
    pub body: Bytes,
    /// Streams of one key share a connection.
    pub stripe_key: u64,
    /// Bytes that may be on their way or wait to be taken, beyond one message; at least 1.
    pub window: usize,
}

impl fmt::Debug for Opening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Opening({} bytes, window {})", self.body.len(), self.window)
    }
}

/// Why nothing more comes on a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// The other side sent all there is.
    #[error("the stream is complete")]
    Complete,
    /// The other side serves no such streams.
    #[error("the other side serves no such streams")]
    NotServed,
    /// The other side does not know this node as one of its cluster, or does not know it yet.
    #[error("the other side does not know this node")]
    Stranger,
    /// The other side serves as many streams as it may on one connection.
    #[error("the other side serves too many streams")]
    Busy,
    /// The other side failed while it served the stream.
    #[error("the other side failed to serve the stream")]
    Failed,
    /// A reason that a newer version gives.
    #[error("the other side ended the stream for reason {0}, which this version does not know")]
    Unknown(u8),
    /// The connection could not be made or ended. Whatever was not taken before is lost.
    #[error("the stream was interrupted: {0}")]
    Interrupted(ConnectionError),
    /// The transport was shut down, or the other side is no peer any more.
    #[error("the transport was shut down or the peer removed")]
    Stopped,
}

impl StreamEnd {
    /// How the side that serves says it; none for what it cannot say.
    fn number(&self) -> Option<u8> {
        Some(match self {
            Self::Complete => 1,
            Self::NotServed => 2,
            Self::Busy => 3,
            Self::Failed => 4,
            Self::Stranger => 5,
            Self::Unknown(number) => *number,
            Self::Interrupted(_) | Self::Stopped => return None,
        })
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Complete,
            2 => Self::NotServed,
            3 => Self::Busy,
            4 => Self::Failed,
            5 => Self::Stranger,
            other => Self::Unknown(other),
        }
    }
}

/// Why a stream is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotServed {
    /// This node serves no such streams to anybody.
    Anybody,
    /// Whoever asks is no node of the cluster, as far as this node knows.
    Stranger,
}

/// A stream that this node opened. Dropping it tells the other side to stop.
pub struct Stream {
    number: u64,
    stripe: Arc<Stripe>,
    messages: UnboundedReceiver<Result<Bytes, StreamEnd>>,
    window: usize,
    /// Bytes that were taken and not given credit for again.
    taken: usize,
    end: Option<StreamEnd>,
}

impl Stream {
    /// Takes the next message. A call that is given up loses nothing.
    ///
    /// # Errors
    /// [`StreamEnd`], behind all messages that arrived before it; the same at each further call.
    pub async fn receive(&mut self) -> Result<Bytes, StreamEnd> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        match self.messages.recv().await {
            Some(Ok(message)) => {
                self.taken = self.taken.saturating_add(message.len());
                // Small amounts are gathered: each credit is a frame.
                if self.taken >= self.window / 4 {
                    self.stripe.give_credit(self.number, std::mem::take(&mut self.taken));
                }
                Ok(message)
            }
            Some(Err(end)) => {
                self.end = Some(end.clone());
                Err(end)
            }
            None => {
                self.end = Some(StreamEnd::Stopped);
                Err(StreamEnd::Stopped)
            }
        }
    }

    /// Bytes that may be on their way or wait to be taken, beyond one message.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Lets so many bytes more be on their way.
    pub fn widen(&mut self, bytes: usize) {
        self.window = self.window.saturating_add(bytes);
        self.stripe.give_credit(self.number, bytes);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stripe.close(self.number);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stream").field("number", &self.number).field("window", &self.window).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{ConnectionError, StreamEnd};

    #[test]
    fn every_end_that_travels_comes_back_as_it_was_sent() {
        for number in 0..=u8::MAX {
            assert_eq!(StreamEnd::of(number).number(), Some(number));
        }
        for said in [StreamEnd::Interrupted(ConnectionError::Closed), StreamEnd::Stopped] {
            assert_eq!(said.number(), None, "{said}");
        }
    }
}
