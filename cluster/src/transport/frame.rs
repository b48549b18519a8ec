//! Frames: what travels on a connection.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | how many bytes follow, big-endian; checked against the cap before anything is allocated for them |
//! | 1 | the kind |
//! | 8 | a number, big-endian, where the kind has one: of a request, of a message in pieces, of a stream |
//! | 4, 8 | pieces only: the piece's index and the bytes of the whole message, both big-endian |
//! | 8 | an open and a credit only: bytes that the other side may send, big-endian |
//! | rest | the body |
//!
//! Parts: [`Frame`]; [`take`], the pure decoder; [`FrameReader`] and [`FrameWriter`], which add time limits.

use std::io;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::error::ConnectionError;

/// Room that is made for reading at least, and at most beyond what has arrived, in bytes.
const READ_BYTES: usize = 16 * 1024;
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Who speaks; the first frame of either side.
    Hello(Bytes),
    /// Why the connection is not wanted; the last frame of a side.
    Refused(Bytes),
    /// Only shows that the sender lives.
    Ping,
    /// A Raft message.
    Raft(Bytes),
    /// A part of a Raft message.
    Piece { message: u64, index: u32, total_bytes: u64, bytes: Bytes },
    /// The end of a message in pieces: taken when the body is empty, otherwise the reason why not.
    PieceAnswer { message: u64, reason: Bytes },
    /// A request.
    Request { id: u64, body: Bytes },
    /// Its answer.
    Response { id: u64, body: Bytes },
    /// The request was not looked at: too many are in progress.
    Busy { id: u64 },
    /// The request ended without an answer.
    Failed { id: u64 },
    /// Opens a byte stream. So many bytes may be sent on it at first.
    Open { stream: u64, window: u64, opening: Bytes },
    /// A message of a byte stream.
    Data { stream: u64, bytes: Bytes },
    /// So many bytes more may be sent.
    Credit { stream: u64, bytes: u64 },
    /// Nothing more comes on a byte stream; the number of the reason.
    End { stream: u64, reason: u8 },
    /// Nothing more is wanted on a byte stream.
    Close { stream: u64 },
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than this connection allows.
    #[error("a frame of {bytes} bytes, the maximum is {maximum}")]
    TooLarge {
        /// The length that was given.
        bytes: usize,
        /// The cap.
        maximum: usize,
    },
    /// The beginning of a TLS record.
    #[error("a TLS record instead of a frame")]
    Tls,
    /// No such kind.
    #[error("a frame of the unknown kind {kind}")]
    UnknownKind {
        /// The kind's number.
        kind: u8,
    },
    /// Too short for its kind, or too long.
    #[error("a frame of kind {kind} with a wrong length")]
    WrongLength {
        /// The kind's number.
        kind: u8,
    },
}

/// What [`take`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A frame, taken out of the buffer.
    Frame(Frame),
    /// So many bytes are missing at least.
    Missing(usize),
}

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const PING: u8 = 3;
const RAFT: u8 = 4;
const PIECE: u8 = 5;
const PIECE_ANSWER: u8 = 6;
const REQUEST: u8 = 7;
const RESPONSE: u8 = 8;
const BUSY: u8 = 9;
const FAILED: u8 = 10;
const OPEN: u8 = 11;
const DATA: u8 = 12;
const CREDIT: u8 = 13;
const END: u8 = 14;
const CLOSE: u8 = 15;

impl Frame {
    /// The kind's name, for errors.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Refused(_) => "refused",
            Self::Ping => "ping",
            Self::Raft(_) => "raft",
            Self::Piece { .. } => "piece",
            Self::PieceAnswer { .. } => "piece answer",
            Self::Request { .. } => "request",
            Self::Response { .. } => "response",
            Self::Busy { .. } => "busy",
            Self::Failed { .. } => "failed",
            Self::Open { .. } => "open",
            Self::Data { .. } => "data",
            Self::Credit { .. } => "credit",
            Self::End { .. } => "end",
            Self::Close { .. } => "close",
        }
    }

    /// What stands before the body, and the body.
    fn parts(&self) -> Result<(Bytes, Bytes), FrameError> {
        let (kind, number, body) = match self {
            Self::Hello(body) => (HELLO, None, body.clone()),
            Self::Refused(body) => (REFUSED, None, body.clone()),
            Self::Ping => (PING, None, Bytes::new()),
            Self::Raft(body) => (RAFT, None, body.clone()),
            Self::Piece { message, bytes, .. } => (PIECE, Some(*message), bytes.clone()),
            Self::PieceAnswer { message, reason } => (PIECE_ANSWER, Some(*message), reason.clone()),
            Self::Request { id, body } => (REQUEST, Some(*id), body.clone()),
            Self::Response { id, body } => (RESPONSE, Some(*id), body.clone()),
            Self::Busy { id } => (BUSY, Some(*id), Bytes::new()),
            Self::Failed { id } => (FAILED, Some(*id), Bytes::new()),
            Self::Open { stream, opening, .. } => (OPEN, Some(*stream), opening.clone()),
            Self::Data { stream, bytes } => (DATA, Some(*stream), bytes.clone()),
            Self::Credit { stream, .. } => (CREDIT, Some(*stream), Bytes::new()),
            Self::End { stream, .. } => (END, Some(*stream), Bytes::new()),
            Self::Close { stream } => (CLOSE, Some(*stream), Bytes::new()),
        };
        let mut fields = BytesMut::new();
        fields.put_u8(kind);
        if let Some(number) = number {
            fields.put_u64(number);
        }
        match self {
            Self::Piece { index, total_bytes, .. } => {
                fields.put_u32(*index);
                fields.put_u64(*total_bytes);
            }
            Self::Open { window: bytes, .. } | Self::Credit { bytes, .. } => fields.put_u64(*bytes),
            Self::End { reason, .. } => fields.put_u8(*reason),
            _ => {}
        }
        let bytes = fields.len().saturating_add(body.len());
        let Ok(length) = u32::try_from(bytes) else {
            return Err(FrameError::TooLarge { bytes, maximum: usize::try_from(u32::MAX).unwrap_or(usize::MAX) });
        };
        let mut head = BytesMut::with_capacity(4 + fields.len());
        head.put_u32(length);
        head.put(fields);
        Ok((head.freeze(), body))
    }
}

/// Takes the first frame out of the buffer when all of it is there.
///
/// # Errors
/// [`FrameError`] for bytes that are no frame of at most `maximum` bytes behind the length.
pub(crate) fn take(buffer: &mut BytesMut, maximum: usize) -> Result<Taken, FrameError> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(Taken::Missing(4_usize.saturating_sub(buffer.len()))) };
    let bytes = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
    if bytes > maximum {
        // The content types of an alert and of a handshake, and the major version of every TLS.
        let is_tls = matches!(head, [0x15 | 0x16, 3, ..]);
        return Err(if is_tls { FrameError::Tls } else { FrameError::TooLarge { bytes, maximum } });
    }
    let missing = bytes.saturating_add(4).saturating_sub(buffer.len());
    if missing > 0 {
        return Ok(Taken::Missing(missing));
    }
    buffer.advance(4);
    parse(buffer.split_to(bytes).freeze()).map(Taken::Frame)
}

fn parse(mut rest: Bytes) -> Result<Frame, FrameError> {
    let Ok(kind) = rest.try_get_u8() else { return Err(FrameError::WrongLength { kind: 0 }) };
    let wrong = |_| FrameError::WrongLength { kind };
    let frame = match kind {
        HELLO => Frame::Hello(rest),
        REFUSED => Frame::Refused(rest),
        PING if rest.is_empty() => Frame::Ping,
        RAFT => Frame::Raft(rest),
        PIECE => {
            let message = rest.try_get_u64().map_err(wrong)?;
            let index = rest.try_get_u32().map_err(wrong)?;
            let total_bytes = rest.try_get_u64().map_err(wrong)?;
            Frame::Piece { message, index, total_bytes, bytes: rest }
        }
        PIECE_ANSWER => Frame::PieceAnswer { message: rest.try_get_u64().map_err(wrong)?, reason: rest },
        REQUEST => Frame::Request { id: rest.try_get_u64().map_err(wrong)?, body: rest },
        RESPONSE => Frame::Response { id: rest.try_get_u64().map_err(wrong)?, body: rest },
        BUSY | FAILED | CREDIT | END | CLOSE => {
            let id = rest.try_get_u64().map_err(wrong)?;
            let frame = match kind {
                BUSY => Frame::Busy { id },
                FAILED => Frame::Failed { id },
                CREDIT => Frame::Credit { stream: id, bytes: rest.try_get_u64().map_err(wrong)? },
                END => Frame::End { stream: id, reason: rest.try_get_u8().map_err(wrong)? },
                _ => Frame::Close { stream: id },
            };
            if !rest.is_empty() {
                return Err(FrameError::WrongLength { kind });
            }
            frame
        }
        OPEN => {
            let stream = rest.try_get_u64().map_err(wrong)?;
            let window = rest.try_get_u64().map_err(wrong)?;
            Frame::Open { stream, window, opening: rest }
        }
        DATA => Frame::Data { stream: rest.try_get_u64().map_err(wrong)?, bytes: rest },
        PING => return Err(FrameError::WrongLength { kind }),
        _ => return Err(FrameError::UnknownKind { kind }),
    };
    Ok(frame)
}

/// Reads frames. What was read of a frame survives when a call is given up.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    /// The largest frame, in bytes behind the length.
    pub(crate) maximum: usize,
    /// The longest silence.
    pub(crate) silence: Duration,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, maximum: usize, silence: Duration) -> Self {
        Self { stream, buffer: BytesMut::new(), maximum, silence }
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`ConnectionError::Frame`] for other bytes, [`ConnectionError::Silent`] when none arrive, and the ends of a
    /// connection. Nothing more can be read after an error.
    pub(crate) async fn next(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            let missing = match take(&mut self.buffer, self.maximum)? {
                Taken::Frame(frame) => return Ok(frame),
                Taken::Missing(missing) => missing,
            };
            self.buffer.reserve(missing.clamp(READ_BYTES, READ_AHEAD_BYTES));
            match timeout(self.silence, self.stream.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(ConnectionError::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(ConnectionError::Silent { waited: self.silence }),
            }
        }
    }

    /// Reads what still comes, at most `bytes`, until the other side closes.
    pub(crate) async fn drain(&mut self, bytes: usize) {
        let mut read = 0_usize;
        while read < bytes {
            self.buffer.clear();
            self.buffer.reserve(READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(more) => read = read.saturating_add(more),
            }
        }
    }
}

/// Writes frames. After a call was given up or failed, nothing more can be written.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    stream: W,
    /// The longest time in which the other side takes no bytes.
    stall: Duration,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(crate) fn new(stream: W, stall: Duration) -> Self {
        Self { stream, stall }
    }

    /// Hands one frame to the operating system. Head and body are not joined, so a body is not copied here.
    ///
    /// # Errors
    /// [`ConnectionError::Stalled`] when the other side takes no bytes, and the ends of a connection.
    pub(crate) async fn write(&mut self, frame: &Frame) -> Result<(), ConnectionError> {
        let (head, body) = frame.parts()?;
        let mut rest = head.chain(body);
        while rest.has_remaining() {
            let written = timeout(self.stall, self.stream.write_buf(&mut rest)).await;
            if self.checked(written)? == 0 {
                return Err(ConnectionError::Closed);
            }
        }
        let flushed = timeout(self.stall, self.stream.flush()).await;
        self.checked(flushed)
    }

    /// Tells the other side that nothing more comes.
    pub(crate) async fn close(&mut self) -> Result<(), ConnectionError> {
        let closed = timeout(self.stall, self.stream.shutdown()).await;
        self.checked(closed)
    }

    fn checked<T>(&self, done: Result<io::Result<T>, Elapsed>) -> Result<T, ConnectionError> {
        match done {
            Ok(done) => Ok(done?),
            Err(_) => Err(ConnectionError::Stalled { waited: self.stall }),
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
