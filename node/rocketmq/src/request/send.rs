//! Writing to one queue: single messages (SEND_MESSAGE_V2) and batches (SEND_BATCH_MESSAGE).
//!
//! Parts: [`OutgoingBatch`], [`Content`], [`Permit`]; [`Client::send`].
//! Header names are the single letters of `SendMessageRequestHeaderV2`. The default topic named is one that no broker
//! has, so that a missing topic is refused instead of created with other queue counts. Never sends what would make a
//! broker delay a message, hide it as half of a transaction, or corrupt it by address bits; never sends twice.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::Client;
use crate::error::Error;
use crate::outcome::{Refusal, SendOutcome, judge};
use crate::route::Queue;
use crate::session::{Failure, Terms};
use crate::wire::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2};
use crate::wire::frame::{Fields, Frame, Serialization};
use crate::wire::{properties, sys_flag};

/// Named as the topic to copy settings from when the real one is missing. It does not exist, so a broker refuses with
/// "no topic".
const NO_DEFAULT_TOPIC: &str = "CAUSEWAY_CREATES_TOPICS_ITSELF";

/// Properties that make a broker put a single message elsewhere: delay it, or keep it back as half of a transaction.
const DIVERTING: [&str; 6] =
    ["DELAY", "TIMER_DELIVER_MS", "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DEL_UNIQKEY", "TRAN_MSG"];

/// Asked before every write of a send's bytes, directly before the last ones too. It must be quick and must not block.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// One send: a batch that is appended in one piece, or a single message.
#[derive(Clone)]
pub struct OutgoingBatch {
    /// The messages.
    pub content: Content,
    /// Bits of [`sys_flag`]: compressed and compression type only. All messages share it.
    pub sys_flag: i32,
    /// Born timestamp of all messages, ms since 1970.
    pub born_timestamp: i64,
    /// Reconsume times of all messages.
    pub reconsume_times: i32,
    /// Refuse with [`Refusal::ConnectionChanged`] unless this is still the connection's generation.
    pub expected_generation: Option<u64>,
    /// Withdrawn: nothing more is written, the connection is closed if the frame was begun, and the outcome is
    /// [`Refusal::PermitWithdrawn`].
    pub permit: Option<Permit>,
}

/// The messages of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Inner messages as [`crate::wire::batch`] encodes them.
    Batch(Bytes),
    /// One message. An empty body is refused by most brokers here, while a batch may hold empty ones.
    Single {
        /// The body as it is to be stored.
        body: Bytes,
        /// The property string, UTF-8.
        properties: Bytes,
        /// Free bits of the producer.
        flag: i32,
    },
}

impl OutgoingBatch {
    /// A send without conditions.
    pub fn new(content: Content, born_timestamp: i64) -> Self {
        Self { content, sys_flag: 0, born_timestamp, reconsume_times: 0, expected_generation: None, permit: None }
    }
}

impl fmt::Debug for OutgoingBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match &self.content {
            Content::Batch(messages) => ("batch", messages.len()),
            Content::Single { body, .. } => ("single", body.len()),
        };
        f.debug_struct("OutgoingBatch").field("kind", &kind).field("bytes", &bytes).finish_non_exhaustive()
    }
}

impl Client {
    /// Sends to the queue's master and waits for the reply, at most the request timeout (and the connect timeout before
    /// it).
    ///
    /// One send at a time per queue is the caller's duty: brokers reorder pipelined sends. Dropping the future, or its
    /// timeout, closes the connection when the broker could still execute the request, so that it either executes soon
    /// or never.
    pub async fn send(&self, queue: &Queue, message: OutgoingBatch) -> SendOutcome {
        match self.try_send(queue, message).await {
            Ok(outcome) => outcome,
            Err(refusal) => SendOutcome::NotStored(refusal),
        }
    }

    async fn try_send(&self, queue: &Queue, message: OutgoingBatch) -> Result<SendOutcome, Refusal> {
        let mut request = encode(queue, &message, &self.inner.settings.producer_group)?;
        self.sign(&mut request);
        let (address, session) = self.send_session(queue).await.map_err(Refusal::NotConnected)?;
        let generation = session.generation();
        if message.expected_generation.is_some_and(|expected| expected != generation) {
            return Err(Refusal::ConnectionChanged(generation));
        }
        let terms = Terms {
            patience: self.inner.settings.request_timeout,
            serialization: Serialization::RocketMq,
            permit: message.permit.as_deref(),
            close_when_abandoned: true,
        };
        match session.exchange(request, terms).await {
            Ok(reply) => {
                let outcome = judge(&address, &reply);
                if !matches!(outcome, SendOutcome::Stored { .. }) {
                    self.inner.directory.doubt(&queue.topic);
                }
                Ok(outcome)
            }
            Err(Failure { error: Error::PermitWithdrawn, .. }) => Err(Refusal::PermitWithdrawn),
            Err(Failure { error: Error::TooLarge { what, size, limit }, .. }) => {
                Err(Refusal::TooLarge(format!("{what} of {size} bytes, limit {limit}")))
            }
            Err(Failure { error, possibly_executed }) => {
                self.inner.directory.doubt(&queue.topic);
                if possibly_executed { Ok(SendOutcome::Unknown(error)) } else { Err(Refusal::NotConnected(error)) }
            }
        }
    }
}

fn encode(queue: &Queue, message: &OutgoingBatch, group: &str) -> Result<Frame, Refusal> {
    if sys_flag::for_resend(message.sys_flag) != message.sys_flag {
        return Err(Refusal::Illegal(format!("sysFlag {:#x} has bits that hide or corrupt a copy", message.sys_flag)));
    }
    let (code, body, flag, properties) = match &message.content {
        Content::Batch(messages) => (SEND_BATCH_MESSAGE, messages, 0, ""),
        Content::Single { body, properties, flag } => (SEND_MESSAGE_V2, body, *flag, checked(properties)?),
    };
    let mut fields = Fields::new();
    fields.push("a", group);
    fields.push("b", &queue.topic);
    fields.push("c", NO_DEFAULT_TOPIC);
    fields.push("d", 4);
    fields.push("e", queue.id);
    fields.push("f", message.sys_flag);
    fields.push("g", message.born_timestamp);
    fields.push("h", flag);
    // Brokers up to 5.3 append a batch's header properties to every inner message: a batch has none. An empty field is
    // not sent.
    fields.push("i", properties);
    fields.push("j", message.reconsume_times);
    fields.push("k", false);
    fields.push("m", code == SEND_BATCH_MESSAGE);
    fields.push("n", &queue.broker);
    if code == SEND_BATCH_MESSAGE {
        // Where proxies look for the broker name of a batch.
        fields.push("bname", &queue.broker);
    }
    Ok(Frame::request(code, fields, body.clone()))
}

fn checked(text: &[u8]) -> Result<&str, Refusal> {
    if let Some(name) = DIVERTING.iter().find(|name| properties::get(text, name).is_some()) {
        return Err(Refusal::Illegal(format!("property {name} would divert the message")));
    }
    std::str::from_utf8(text)
        .map_err(|_| Refusal::Illegal("properties are not UTF-8; send the message in a batch".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(topic: &str) -> Queue {
        Queue { topic: topic.into(), broker: "b".into(), id: 3 }
    }

    fn single(properties: &'static [u8]) -> OutgoingBatch {
        let properties = Bytes::from_static(properties);
        OutgoingBatch::new(Content::Single { body: Bytes::from_static(b"x"), properties, flag: 5 }, 1_700_000_000_123)
    }

    fn batch() -> OutgoingBatch {
        OutgoingBatch::new(Content::Batch(Bytes::from_static(b"inner")), 9)
    }

    #[test]
    fn a_batch_has_no_header_properties_and_no_default_topic() {
        let frame = encode(&queue("t"), &batch(), "g").unwrap();
        assert_eq!((frame.code, &frame.body[..]), (320, &b"inner"[..]));
        let value = |name| frame.fields.get(name);
        assert_eq!(value("i"), None);
        assert_eq!((value("m"), value("e"), value("n")), (Some("true"), Some("3"), Some("b")));
        assert_ne!(value("c"), Some("TBW102"));
    }

    #[test]
    fn a_single_message_keeps_flag_properties_and_born_timestamp() {
        let frame = encode(&queue("t"), &single(b"KEYS\x01k\x02"), "g").unwrap();
        let value = |name| frame.fields.get(name);
        assert_eq!((frame.code, value("h"), value("i")), (310, Some("5"), Some("KEYS\x01k\x02")));
        assert_eq!((value("g"), value("m")), (Some("1700000000123"), Some("false")));
    }

    #[test]
    fn what_a_broker_would_divert_or_corrupt_is_refused_here() {
        for properties in
            [&b"DELAY\x013\x02"[..], b"A\x01b\x02TRAN_MSG\x01true\x02", b"TIMER_DELIVER_MS\x011\x02", b"\xff"]
        {
            let refused = encode(&queue("t"), &single(properties), "g");
            assert!(matches!(refused, Err(Refusal::Illegal(_))), "{properties:?}");
        }
        for sys_flag in [sys_flag::TRANSACTION_PREPARED, sys_flag::BORN_HOST_V6, sys_flag::INNER_BATCH, 0x100] {
            let refused = encode(&queue("t"), &OutgoingBatch { sys_flag, ..batch() }, "g");
            assert!(matches!(refused, Err(Refusal::Illegal(_))), "{sys_flag:#x}");
        }
        let compressed = OutgoingBatch { sys_flag: sys_flag::COMPRESSED | 0x200, ..batch() };
        assert!(encode(&queue("t"), &compressed, "g").is_ok());
    }
}
