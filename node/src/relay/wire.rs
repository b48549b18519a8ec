//! What an owner and a relay say to each other.
//!
//! An [`Ask`] opens a byte stream; each message on it is an [`Answer`]: 4 bytes with the length of its head,
//! big-endian, the head, and for a batch its records as brokers keep them, packed. Both sides belong to one cluster,
//! and still nothing is believed: lengths are compared with caps before anything is allocated, and records are vetted
//! by the owner as those of a broker are.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use causeway_core::codec;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::InstanceIdentity;
use causeway_core::name::Name;
use causeway_core::partition::QueueId;
use causeway_core::stream::SlaveReads;
use causeway_rocketmq::wire::record::{Record, decode_records, encode_record};
use serde::{Deserialize, Serialize};

use super::packing::{Compression, Packing, pack, unpack};
use crate::replicate::batching::Last;
use crate::replicate::ports::{Bounds, LeftOut};
use crate::replicate::trouble::Trouble;

/// The largest head of an answer, in bytes.
const MAXIMUM_HEAD_BYTES: usize = 128 * 1024;

/// The records of a batch, in bytes before packing: the largest answer of a broker, and what was gathered before it.
const MAXIMUM_BATCH_BYTES: usize = 18 * 1024 * 1024;

/// Pieces of a batch, so that its head stays small.
const MAXIMUM_PIECES: usize = 1024;

/// The longest reason that travels, in characters.
const MAXIMUM_WORDS: usize = 512;

/// Which queue of which instance, as the cluster agreed on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The instance.
    pub instance: Name,
    /// Its version: a node that knows another one does not relay.
    pub version: u64,
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue: QueueId,
    /// When slaves may be read.
    pub slave_reads: SlaveReads,
}

/// What a node asks a relay for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) place: Place,
    /// For a while no slave is to be read in place of a living master.
    pub(crate) leave_slave: bool,
    pub(crate) wanted: Wanted,
}

/// The order of the variants is part of the form; new ones are added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// Batches from an offset on, without end.
    Follow(Follow),
    /// One read that answers at once.
    Look { offset: i64, maximum_messages: u32 },
    /// The ends of the queue.
    Bounds,
    /// The first offset stored at or after a time.
    OffsetAt(i64),
}

/// How a queue is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Follow {
    /// The first offset.
    pub(crate) from: i64,
    /// How many messages the first pull asks for; each next one asks for twice as many.
    pub(crate) maximum_messages: u32,
    /// How many any pull asks for at most.
    pub(crate) pull_messages: u32,
    /// How long a pull waits at the end of the queue.
    pub(crate) wait: Duration,
    /// Only what this tag expression matches is given.
    pub(crate) tag_expression: String,
    /// And nothing that has passed this instance.
    pub(crate) target: InstanceIdentity,
    /// A batch holds about so many bytes.
    pub(crate) batch_bytes: u32,
    /// How batches may be compressed.
    pub(crate) compression: Compression,
}

/// Why a node does not relay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Refusal {
    /// The question cannot be understood.
    #[error("the relay does not understand the question")]
    NotUnderstood,
    /// It knows no such instance, or another version of it.
    #[error("the relay knows another version of the instance")]
    OtherVersion,
    /// It has no way to the instance.
    #[error("the relay has no client of the instance: {0}")]
    NoClient(String),
    /// It serves as many as it may.
    #[error("the relay serves as many streams as it may")]
    Busy,
}

/// Who answered a relay: a process, a connection of it to a broker, and whether that is a slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) process: u128,
    pub(crate) connection: u64,
    pub(crate) from_slave: bool,
}

/// What a relay says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Batch(Batch),
    Bounds(Bounds),
    Offset(i64),
    /// The source failed; the relay works.
    Trouble(Trouble),
    Refused(Refusal),
}

/// What one or more reads brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) answered: Answered,
    pub(crate) bounds: Bounds,
    /// Empty at the end of the queue.
    pub(crate) pieces: Vec<Piece>,
}

/// A stretch of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// At least one.
    Records(Vec<Record>),
    LeftOut(LeftOut),
}

#[derive(Serialize, Deserialize)]
enum Head {
    Batch { answered: Answered, bounds: (i64, i64), pieces: Vec<PieceHead>, packing: Packing },
    Bounds(i64, i64),
    Offset(i64),
    Trouble { code: u16, why: String },
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
enum PieceHead {
    Records(u32),
    LeftOut { first: i64, last: i64, fingerprint: u64, store_timestamp: i64, filtered: u64, looped: u64, bytes: u64 },
}

/// The other side sent what is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay sent what is no answer: {0}")]
pub(crate) struct Malformed(&'static str);

/// A record that has no form, or more than a batch may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay cannot put what it read into a batch")]
pub(crate) struct Unsendable;

/// No trouble of the source: the owner reads it another way.
impl From<Unsendable> for Trouble {
    fn from(error: Unsendable) -> Self {
        Self::new(ErrorCode::Internal, error.to_string())
    }
}

/// Puts a batch together.
pub(crate) struct BatchWriter {
    pieces: Vec<PieceHead>,
    raw: BytesMut,
    left_out: u64,
}

impl BatchWriter {
    pub(crate) fn new() -> Self {
        Self { pieces: Vec::new(), raw: BytesMut::new(), left_out: 0 }
    }

    /// Bytes of its records.
    pub(crate) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Whether another record can be added or left out.
    pub(crate) fn has_room(&self, record: &Record) -> bool {
        self.pieces.len() < MAXIMUM_PIECES && self.bytes_with(record) <= MAXIMUM_BATCH_BYTES
    }

    fn bytes_with(&self, record: &Record) -> usize {
        self.raw.len().saturating_add(record.encoded_len())
    }

    /// Messages that are left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn add(&mut self, record: &Record) -> Result<(), Unsendable> {
        if self.bytes_with(record) > MAXIMUM_BATCH_BYTES {
            return Err(Unsendable);
        }
        encode_record(record, &mut self.raw).map_err(|_| Unsendable)?;
        match self.pieces.last_mut() {
            Some(PieceHead::Records(count)) => *count = count.saturating_add(1),
            _ => self.pieces.push(PieceHead::Records(1)),
        }
        Ok(())
    }

    /// Adds one record that is left out, to the stretch before it if there is one.
    pub(crate) fn leave_out(&mut self, record: &Record, is_loop: bool) {
        let (of_tag, of_loop) = if is_loop { (0, 1) } else { (1, 0) };
        let size = u64::try_from(record.encoded_len()).unwrap_or(u64::MAX);
        let added = Last::of(record);
        self.left_out = self.left_out.saturating_add(1);
        if let Some(PieceHead::LeftOut { last, fingerprint, store_timestamp, filtered, looped, bytes, .. }) =
            self.pieces.last_mut()
        {
            (*last, *fingerprint, *store_timestamp) = (added.offset, added.fingerprint, added.store_timestamp);
            *filtered = filtered.saturating_add(of_tag);
            *looped = looped.saturating_add(of_loop);
            *bytes = bytes.saturating_add(size);
            return;
        }
        self.pieces.push(PieceHead::LeftOut {
            first: added.offset,
            last: added.offset,
            fingerprint: added.fingerprint,
            store_timestamp: added.store_timestamp,
            filtered: of_tag,
            looped: of_loop,
            bytes: size,
        });
    }

    /// The message. It is compressed where that pays; answers whether it was.
    pub(crate) fn finish(self, answered: Answered, bounds: Bounds, compression: Compression) -> (Bytes, bool) {
        let (packing, packed) = pack(compression, &self.raw).unzip();
        let packing = packing.unwrap_or(Packing::Plain);
        let bounds = (bounds.minimum, bounds.maximum);
        let head = Head::Batch { answered, bounds, pieces: self.pieces, packing };
        let is_packed = packed.is_some();
        (message(&head, packed.as_deref().unwrap_or(&self.raw)), is_packed)
    }
}

fn message(head: &Head, rest: &[u8]) -> Bytes {
    // A head without a form is an empty one, which the other side refuses.
    let head = codec::encode(head).unwrap_or_default();
    let mut message = BytesMut::with_capacity(head.len().saturating_add(rest.len()).saturating_add(4));
    message.put_u32(u32::try_from(head.len()).unwrap_or(u32::MAX));
    message.extend_from_slice(&head);
    message.extend_from_slice(rest);
    message.freeze()
}

impl Answer {
    /// The message of an answer that is no batch.
    pub(crate) fn short(&self) -> Bytes {
        let head = match self {
            Self::Bounds(bounds) => Head::Bounds(bounds.minimum, bounds.maximum),
            Self::Offset(offset) => Head::Offset(*offset),
            Self::Trouble(trouble) => Head::Trouble { code: trouble.code.number(), why: words(&trouble.why) },
            Self::Refused(Refusal::NoClient(why)) => Head::Refused(Refusal::NoClient(words(why))),
            Self::Refused(refusal) => Head::Refused(refusal.clone()),
            Self::Batch(_) => Head::Refused(Refusal::NotUnderstood),
        };
        message(&head, &[])
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`], whatever is wrong with it.
    pub(crate) fn parse(mut message: Bytes) -> Result<Self, Malformed> {
        let length = message.try_get_u32().ok().and_then(|length| usize::try_from(length).ok());
        let length = length.filter(|length| *length <= MAXIMUM_HEAD_BYTES.min(message.len()));
        let head = message.split_to(length.ok_or(Malformed("its head is cut or too long"))?);
        let head: Head = codec::decode(&head).map_err(|_| Malformed("its head cannot be decoded"))?;
        let short = match head {
            Head::Batch { answered, bounds: (minimum, maximum), pieces, packing } => {
                let pieces = read_pieces(pieces, packing, message)?;
                return Ok(Self::Batch(Batch { answered, bounds: Bounds { minimum, maximum }, pieces }));
            }
            Head::Bounds(minimum, maximum) => Self::Bounds(Bounds { minimum, maximum }),
            Head::Offset(offset) => Self::Offset(offset),
            Head::Trouble { code, why } => {
                let code = ErrorCode::ALL.iter().find(|known| known.number() == code);
                Self::Trouble(Trouble::new(code.copied().unwrap_or(ErrorCode::Unreachable), words(&why)))
            }
            Head::Refused(refusal) => Self::Refused(refusal),
        };
        if message.is_empty() { Ok(short) } else { Err(Malformed("something follows it")) }
    }
}

fn read_pieces(heads: Vec<PieceHead>, packing: Packing, packed: Bytes) -> Result<Vec<Piece>, Malformed> {
    if heads.len() > MAXIMUM_PIECES {
        return Err(Malformed("it has too many pieces"));
    }
    let raw = match packing {
        Packing::Plain => packed,
        Packing::Lz4 { .. } | Packing::Zstd { .. } => {
            let unpacked = unpack(packing, &packed, MAXIMUM_BATCH_BYTES).ok_or(Malformed("it cannot be unpacked"))?;
            Bytes::from(unpacked.into_owned())
        }
    };
    let mut records = decode_records(&raw);
    let mut pieces = Vec::with_capacity(heads.len());
    for head in heads {
        pieces.push(match head {
            PieceHead::Records(count) => {
                let wanted = usize::try_from(count).unwrap_or(usize::MAX);
                let mut read = Vec::new();
                for record in records.by_ref().take(wanted) {
                    read.push(record.map_err(|_| Malformed("a record cannot be decoded"))?);
                }
                if read.is_empty() || read.len() != wanted {
                    return Err(Malformed("records are missing"));
                }
                Piece::Records(read)
            }
            PieceHead::LeftOut { first, last, fingerprint, store_timestamp, filtered, looped, bytes } => {
                let offsets = last.checked_sub(first).and_then(|behind| u64::try_from(behind).ok());
                if offsets.and_then(|behind| behind.checked_add(1)) != filtered.checked_add(looped) {
                    return Err(Malformed("a stretch that was left out is not as long as it says"));
                }
                let last = Last { offset: last, fingerprint, store_timestamp };
                Piece::LeftOut(LeftOut { first, last, filtered, looped, bytes })
            }
        });
    }
    if records.next().is_some() { Err(Malformed("there are more records than it says")) } else { Ok(pieces) }
}

fn words(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAXIMUM_WORDS).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
