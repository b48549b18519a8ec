//! The body of SEND_BATCH_MESSAGE: inner messages one behind the other, each copied once into one growing buffer.
//!
//! Layout of an inner message (Apache `MessageDecoder.encodeMessage`): total size i32, magic i32 and CRC i32 (both 0,
//! no broker reads them), flag i32, body (i32 length), properties (i16 length). Topic, queue, sysFlag, born timestamp
//! and reconsume times belong to the request, so all inner messages share them. The same layout fills the body of an
//! "inner batch" record ([`super::sys_flag::is_inner_batch`]). Must never pass its byte limit, nor leave half a message
//! behind a refusal.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::reader::Reader;

/// Bytes of an inner message beside its body and properties.
pub const OVERHEAD_BYTES: usize = 4 * 5 + 2;

/// Longest property string of an inner message. The broker adds its own properties within the same limit, about 60
/// bytes on 5.3 and older.
pub const MAX_PROPERTIES_BYTES: usize = 32_767;

/// Why a message is not added or not read.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// It does not fit any more: send the batch first. When the batch is empty, the message alone is over the limit.
    #[error("message of {needed} bytes does not fit, {left} bytes are left")]
    Full {
        /// Its encoded length.
        needed: usize,
        /// Bytes up to the limit.
        left: usize,
    },
    /// Its properties are longer than any broker takes.
    #[error("properties of {0} bytes, limit {MAX_PROPERTIES_BYTES}")]
    PropertiesLength(usize),
    /// The bytes are not a batch.
    #[error("malformed inner message at byte {0}")]
    Malformed(usize),
}

/// Encoded length of an inner message.
#[must_use]
pub fn encoded_len(body_length: usize, properties_length: usize) -> usize {
    OVERHEAD_BYTES.saturating_add(body_length).saturating_add(properties_length)
}

/// A batch under construction.
#[derive(Debug)]
pub struct Batch {
    buffer: BytesMut,
    count: usize,
    limit: usize,
}

impl Batch {
    /// An empty batch of at most `limit` encoded bytes (the `maxMessageSize` of the broker is the most it accepts).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), count: 0, limit }
    }

    /// Adds a message; returns its encoded length.
    ///
    /// # Errors
    /// [`Error::Full`] and [`Error::PropertiesLength`]; nothing is added then.
    pub fn push(&mut self, flag: i32, body: &[u8], properties: &[u8]) -> Result<usize, Error> {
        let needed = encoded_len(body.len(), properties.len());
        if needed <= self.left() {
            self.buffer.reserve(needed);
        }
        self.push_with(flag, body, properties.len(), |out| out.extend_from_slice(properties))
    }

    /// Adds a message whose properties are written straight into the batch by `write`, which appends them to what it is
    /// given. `expected` is a guess of their length for the first size check; the exact length is checked after
    /// writing.
    ///
    /// # Errors
    /// As [`Batch::push`].
    pub fn push_with(
        &mut self,
        flag: i32,
        body: &[u8],
        expected: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<usize, Error> {
        let left = self.left();
        let needed = encoded_len(body.len(), expected);
        if needed > left {
            return Err(Error::Full { needed, left });
        }
        let start = self.buffer.len();
        let body_length = i32::try_from(body.len()).map_err(|_| Error::Full { needed, left })?;
        self.buffer.extend_from_slice(&[0; 12]);
        self.buffer.put_i32(flag);
        self.buffer.put_i32(body_length);
        self.buffer.extend_from_slice(body);
        let place = self.buffer.len();
        self.buffer.put_u16(0);
        write(&mut self.buffer);
        let written = self.close(start, place, left);
        match written {
            Ok(_) => self.count = self.count.saturating_add(1),
            Err(_) => self.buffer.truncate(start),
        }
        written
    }

    /// Checks the message that starts at `start` and writes its lengths: the size there, that of the properties at
    /// `place`.
    fn close(&mut self, start: usize, place: usize, left: usize) -> Result<usize, Error> {
        let needed = self.buffer.len().saturating_sub(start);
        let properties = self.buffer.len().saturating_sub(place).saturating_sub(2);
        let full = Error::Full { needed, left };
        let wrong = Error::PropertiesLength(properties);
        let short = u16::try_from(properties).map_err(|_| wrong)?;
        if properties > MAX_PROPERTIES_BYTES {
            return Err(wrong);
        }
        let size = i32::try_from(needed).ok().filter(|_| needed <= left).ok_or(full)?;
        put_at(&mut self.buffer, start, size.to_be_bytes());
        put_at(&mut self.buffer, place, short.to_be_bytes());
        Ok(needed)
    }

    /// Begins a new batch in a buffer, whose content and that of the batch so far are forgotten.
    pub fn begin(&mut self, mut buffer: BytesMut) {
        buffer.clear();
        self.buffer = buffer;
        self.count = 0;
    }

    /// Changes the most encoded bytes that it takes from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Bytes that its buffer has room for.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Encoded bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Bytes up to the limit.
    #[must_use]
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.buffer.len())
    }

    /// Number of messages.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether there is no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The encoded messages, with the whole buffer; the batch is empty again.
    pub fn take(&mut self) -> Bytes {
        self.count = 0;
        std::mem::take(&mut self.buffer).freeze()
    }
}

fn put_at<const N: usize>(buffer: &mut [u8], position: usize, bytes: [u8; N]) {
    for (place, byte) in buffer.iter_mut().skip(position).zip(bytes) {
        *place = byte;
    }
}

/// One inner message; a slice of the batch it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerMessage {
    /// Free bits of the producer.
    pub flag: i32,
    /// Body, compressed if the sysFlag of the request says so.
    pub body: Bytes,
    /// Property string.
    pub properties: Bytes,
}

/// Reads the messages of a batch. Ends after the first error.
pub fn decode(batch: &Bytes) -> impl Iterator<Item = Result<InnerMessage, Error>> + use<> {
    let mut batch = batch.clone();
    let mut position = 0_usize;
    std::iter::from_fn(move || {
        if batch.is_empty() {
            return None;
        }
        let Some((size, message)) = inner(&batch) else {
            batch.clear();
            return Some(Err(Error::Malformed(position)));
        };
        batch = batch.slice(size..);
        position = position.saturating_add(size);
        Some(Ok(message))
    })
}

fn inner(batch: &Bytes) -> Option<(usize, InnerMessage)> {
    let size = usize::try_from(Reader::new(batch).i32()?).ok()?;
    let mut reader = Reader::new(batch.get(..size)?);
    reader.take(12)?;
    let flag = reader.i32()?;
    let body = reader.long_slice()?;
    let properties = reader.short_slice()?;
    let whole = reader.remaining() == 0;
    whole.then(|| (size, InnerMessage { flag, body: batch.slice_ref(body), properties: batch.slice_ref(properties) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BY_HAND: &[u8] =
        b"\x00\x00\x00\x1f\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x02hi\x00\x07KEYS\x01k\x02";

    #[test]
    fn a_batch_has_these_very_bytes() {
        let mut batch = Batch::new(1000);
        assert_eq!(batch.push(5, b"hi", b"KEYS\x01k\x02"), Ok(BY_HAND.len()));
        assert_eq!(batch.push(-1, b"", b""), Ok(OVERHEAD_BYTES));
        assert_eq!((batch.count(), batch.len(), batch.left()), (2, 53, 947));
        let bytes = batch.take();
        assert_eq!(&bytes[..BY_HAND.len()], BY_HAND);
        assert_eq!((batch.count(), batch.len()), (0, 0));
        let messages: Vec<_> = decode(&bytes).map(Result::unwrap).collect();
        assert_eq!((messages[0].flag, messages[0].body.as_ref()), (5, &b"hi"[..]));
        assert_eq!(messages[1], InnerMessage { flag: -1, body: Bytes::new(), properties: Bytes::new() });
    }

    #[test]
    fn the_limit_holds_and_a_refusal_leaves_nothing() {
        let mut batch = Batch::new(BY_HAND.len() + 30);
        batch.push(5, b"hi", b"KEYS\x01k\x02").unwrap();
        assert_eq!(batch.push(0, b"123456789", b""), Err(Error::Full { needed: 31, left: 30 }));
        let late = batch.push_with(0, b"", 0, |out| out.extend_from_slice(&[b'x'; 9]));
        assert_eq!(late, Err(Error::Full { needed: 31, left: 30 }));
        assert_eq!(batch.push(0, b"12345678", b""), Ok(30));
        assert_eq!(batch.left(), 0);
        let mut batch = Batch::new(usize::MAX);
        let long = vec![b'x'; MAX_PROPERTIES_BYTES + 1];
        assert_eq!(batch.push(0, b"", &long), Err(Error::PropertiesLength(MAX_PROPERTIES_BYTES + 1)));
        assert_eq!((batch.count(), batch.len()), (0, 0));
        assert!(batch.push(0, b"", &long[1..]).is_ok());
    }

    #[test]
    fn what_is_not_a_batch_is_an_error_with_its_place() {
        for length in 1..BY_HAND.len() {
            let bytes = Bytes::from([BY_HAND, &BY_HAND[..length]].concat());
            let read: Vec<_> = decode(&bytes).collect();
            assert_eq!(read.last(), Some(&Err(Error::Malformed(BY_HAND.len()))));
            assert_eq!(read.len(), 2);
        }
    }

    proptest! {
        #[test]
        fn messages_read_back(messages in prop::collection::vec((any::<i32>(), any::<Vec<u8>>(), any::<Vec<u8>>()), 0..8)) {
            let mut batch = Batch::new(usize::MAX);
            let mut size = 0;
            for (flag, body, properties) in &messages {
                size += encoded_len(body.len(), properties.len());
                batch.push_with(*flag, body, 0, |out| out.extend_from_slice(properties)).unwrap();
            }
            prop_assert_eq!(batch.len(), size);
            let again: Vec<_> = decode(&batch.take())
                .map(|message| message.map(|message| (message.flag, message.body.to_vec(), message.properties.to_vec())).unwrap())
                .collect();
            prop_assert_eq!(again, messages);
        }
    }
}
