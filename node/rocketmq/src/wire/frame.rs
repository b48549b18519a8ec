//! One remoting command on the wire: length, header, body.
//!
//! Layout (Apache `RemotingCommand`): i32 length of all that follows, i32 with the serialisation in its first byte and
//! the header length in the other three, the header (module `header`), the body. Parts: [`split`] takes whole frames
//! off a read buffer, [`decode`] reads one, [`encode`] and [`encode_head`] write one.
//! Must never allocate by an announced length before checking it, and never copy a received body.

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

pub use super::fields::Fields;
use super::header;
use super::reader::Reader;

/// Longest frame that is read, in bytes after the length word: the 16 MiB that Apache's `NettyDecoder` allows, and 1
/// MiB of headroom, because a broker does not check what it sends (a pull from tiered storage can exceed the limit it
/// sets its peers).
pub const MAX_FRAME_BYTES: usize = 17 * 1024 * 1024;

/// Longest frame that is written, in bytes after the length word: a broker closes the connection on a longer one
/// (`com.rocketmq.remoting.frameMaxLength`, 16 777 216 with the length word).
pub const MAX_SENT_BYTES: usize = 16 * 1024 * 1024 - 4;

/// Longest header, read or written, in bytes. The largest known one carries 32 KiB of properties.
pub const MAX_HEADER_BYTES: usize = 1024 * 1024;

/// `version` of our requests: the ordinal of V4_9_4 in Apache `MQVersion`. From it on name servers and proxies answer
/// routes in standard JSON and brokers read `maxReconsumeTimes`; up to V5_3_1 (475) a broker that shuts down does not
/// answer 1500 GO_AWAY to requests that it may have executed.
pub const REQUEST_VERSION: i32 = 401;

/// Bit of [`Frame::flag`] in a response.
pub const FLAG_RESPONSE: i32 = 1;

/// Bit of [`Frame::flag`] in a request that wants no response.
pub const FLAG_ONE_WAY: i32 = 2;

const LENGTH_BYTES: usize = 4;
const HEAD_WORDS: usize = 8;
/// What one call of [`split`] reserves at most ahead of the bytes that really came.
const RESERVE_STEP: usize = 1024 * 1024;

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The announced or needed length is over the limit (or negative): close the connection, or send less.
    #[error("frame of {length} bytes, limit {limit}")]
    FrameLength {
        /// Bytes announced (read) or needed (written); a negative length shows as the large number it is unsigned.
        length: u64,
        /// The limit that it breaks.
        limit: usize,
    },
    /// The header is longer than the frame or than [`MAX_HEADER_BYTES`].
    #[error("header of {length} bytes in a frame of {frame}")]
    HeaderLength {
        /// Header bytes.
        length: usize,
        /// Frame bytes.
        frame: usize,
    },
    /// The serialisation byte is neither JSON nor ROCKETMQ.
    #[error("unknown header serialisation {0}")]
    Serialization(u8),
    /// The header does not follow its serialisation.
    #[error("malformed header: {0}")]
    Header(&'static str),
    /// A number does not fit its place in the binary header; only JSON can carry it.
    #[error("{name} {value} does not fit the binary header")]
    OutOfRange {
        /// `code` or `version`.
        name: &'static str,
        /// The value.
        value: i32,
    },
    /// A field that must be there is not.
    #[error("header field {name} is missing")]
    MissingField {
        /// The field.
        name: &'static str,
    },
    /// A field has a value of the wrong type.
    #[error("header field {name} is malformed")]
    BadField {
        /// The field.
        name: &'static str,
    },
}

/// How a header is written. Brokers read both, and may answer in JSON whatever they were asked in (5.5.0 does).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serialization {
    /// Type 0.
    Json,
    /// Type 1, binary: shorter and cheaper, for the data path.
    RocketMq,
}

/// One remoting command: a request or a response. The `language` of the sender is neither kept nor chosen by the
/// caller.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Request or response code ([`super::code`]).
    pub code: i32,
    /// `MQVersion` ordinal of the sender; [`REQUEST_VERSION`] in our requests.
    pub version: i32,
    /// Number that ties a response to its request.
    pub opaque: i32,
    /// [`FLAG_RESPONSE`] and [`FLAG_ONE_WAY`].
    pub flag: i32,
    /// Free text of a response: an error message, or a status name. An empty one is read as none.
    pub remark: Option<String>,
    /// Named header fields.
    pub fields: Fields,
    /// The body; it shares the memory of the frame it was read from.
    pub body: Bytes,
}

impl Frame {
    /// A request of ours; the session sets `opaque`.
    #[must_use]
    pub fn request(code: i32, fields: Fields, body: Bytes) -> Self {
        Self { code, version: REQUEST_VERSION, opaque: 0, flag: 0, remark: None, fields, body }
    }

    /// Whether this answers a request.
    #[must_use]
    pub fn is_response(&self) -> bool {
        self.flag & FLAG_RESPONSE != 0
    }

    /// Whether the sender wants no response.
    #[must_use]
    pub fn is_one_way(&self) -> bool {
        self.flag & FLAG_ONE_WAY != 0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Frame")
            .field("code", &self.code)
            .field("version", &self.version)
            .field("opaque", &self.opaque)
            .field("flag", &self.flag)
            .field("remark", &self.remark)
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Takes the next whole frame (without its length word) off a read buffer; `None` until all its bytes are there.
///
/// # Errors
/// [`Error::FrameLength`] as soon as the length word announces more than `maximum` bytes or too few for a header,
/// whatever has arrived: nothing is allocated for it, and the connection is of no more use.
pub fn split(buffer: &mut BytesMut, maximum: usize) -> Result<Option<Bytes>, Error> {
    let Some(word) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*word);
    let wrong = Error::FrameLength { length: u64::from(announced), limit: maximum };
    let length = usize::try_from(announced).map_err(|_| wrong)?;
    if !(LENGTH_BYTES..=maximum).contains(&length) {
        return Err(wrong);
    }
    let whole = LENGTH_BYTES.saturating_add(length);
    if buffer.len() < whole {
        buffer.reserve(whole.saturating_sub(buffer.len()).min(RESERVE_STEP));
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The serialisation of a frame (bytes after the length word), so that a peer can answer alike.
///
/// # Errors
/// [`Error::Serialization`], or [`Error::Header`] when the frame is too short.
pub fn serialization(frame: &[u8]) -> Result<Serialization, Error> {
    match frame.first() {
        Some(0) => Ok(Serialization::Json),
        Some(1) => Ok(Serialization::RocketMq),
        Some(other) => Err(Error::Serialization(*other)),
        None => Err(Error::Header("empty frame")),
    }
}

/// Reads a frame: the bytes after the length word. The body is a slice of it.
///
/// # Errors
/// Any [`Error`] of the reading kind.
pub fn decode(frame: Bytes) -> Result<Frame, Error> {
    let serialization = serialization(&frame)?;
    let mut reader = Reader::new(&frame);
    let [_, high, middle, low] = reader.array().ok_or(Error::Header("no header length"))?;
    let wanted = u32::from_be_bytes([0, high, middle, low]);
    let wrong = |length| Error::HeaderLength { length, frame: frame.len() };
    let length = usize::try_from(wanted).map_err(|_| wrong(usize::MAX))?;
    if length > MAX_HEADER_BYTES {
        return Err(wrong(length));
    }
    let head = reader.take(length).ok_or_else(|| wrong(length))?;
    let mut decoded = match serialization {
        Serialization::Json => header::decode_json(head)?,
        Serialization::RocketMq => header::decode_binary(head)?,
    };
    decoded.body = frame.slice(LENGTH_BYTES.saturating_add(length)..);
    Ok(decoded)
}

/// Appends a whole frame, length word and body included.
///
/// # Errors
/// As [`encode_head`]; `out` is then as it was.
pub fn encode(frame: &Frame, serialization: Serialization, out: &mut BytesMut) -> Result<(), Error> {
    encode_head(frame, frame.body.len(), serialization, out)?;
    out.extend_from_slice(&frame.body);
    Ok(())
}

/// Appends a frame up to its body, of which only the length counts: the caller writes the `body_length` bytes behind
/// it, from wherever they are. `frame.body` is ignored.
///
/// # Errors
/// [`Error::FrameLength`] over [`MAX_SENT_BYTES`], [`Error::HeaderLength`] over [`MAX_HEADER_BYTES`],
/// [`Error::OutOfRange`]; `out` is then as it was.
pub fn encode_head(
    frame: &Frame,
    body_length: usize,
    serialization: Serialization,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let start = out.len();
    out.put_u64(0);
    let written = write_header(frame, body_length, serialization, start, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_header(
    frame: &Frame,
    body_length: usize,
    serialization: Serialization,
    start: usize,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let mark = match serialization {
        Serialization::Json => {
            header::encode_json(frame, out);
            0
        }
        Serialization::RocketMq => {
            header::encode_binary(frame, out)?;
            1_u32 << 24
        }
    };
    let header = out.len().saturating_sub(start).saturating_sub(HEAD_WORDS);
    let length = LENGTH_BYTES.saturating_add(header).saturating_add(body_length);
    if length > MAX_SENT_BYTES {
        return Err(Error::FrameLength { length: u64::try_from(length).unwrap_or(u64::MAX), limit: MAX_SENT_BYTES });
    }
    let wrong = Error::HeaderLength { length: header, frame: length };
    if header > MAX_HEADER_BYTES {
        return Err(wrong);
    }
    let words = u32::try_from(length).ok().zip(u32::try_from(header).ok());
    let (Some((length, header)), Some((_, head))) = (words, out.split_at_mut_checked(start)) else { return Err(wrong) };
    let (first, second) = (length.to_be_bytes(), (mark | header).to_be_bytes());
    for (place, byte) in head.iter_mut().zip(first.into_iter().chain(second)) {
        *place = byte;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::strategies;
    use super::*;
    use proptest::prelude::*;

    /// Header of a response in binary: code 19, language 0, version 479, opaque 258, flag 1, remark "no", one field.
    const BINARY: &[u8] = b"\x00\x13\x00\x01\xdf\x00\x00\x01\x02\x00\x00\x00\x01\x00\x00\x00\x02no\
        \x00\x00\x00\x11\x00\x09minOffset\x00\x00\x00\x02-1";

    fn framed(mark: u8, header: &[u8], body: &[u8]) -> Bytes {
        let mut bytes = vec![mark, 0, 0, u8::try_from(header.len()).unwrap()];
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    }

    fn response() -> Frame {
        Frame {
            code: 19,
            version: 479,
            opaque: 258,
            flag: FLAG_RESPONSE,
            remark: Some("no".to_owned()),
            fields: [("minOffset", -1)].into_iter().collect(),
            body: Bytes::from_static(b"xyz"),
        }
    }

    #[test]
    fn a_binary_frame_made_by_hand_is_read() {
        assert_eq!(decode(framed(1, BINARY, b"xyz")), Ok(response()));
        assert!(response().is_response() && !response().is_one_way());
    }

    #[test]
    fn a_json_frame_as_a_broker_writes_it_is_read() {
        let header = br#"{"code":19,"extFields":{"minOffset":"-1","gone":null},"flag":1,"language":"JAVA","opaque":258,"remark":"no","serializeTypeCurrentRPC":"JSON","version":479}"#;
        assert_eq!(decode(framed(0, header, b"xyz")), Ok(response()));
        let bare = decode(framed(0, b"{\"code\":0}", b"")).unwrap();
        assert_eq!(bare, Frame::default());
    }

    #[test]
    fn a_request_has_these_very_bytes() {
        let frame = Frame { opaque: 258, ..Frame::request(310, [("b", "t")].into_iter().collect(), Bytes::new()) };
        let mut out = BytesMut::new();
        encode_head(&frame, 3, Serialization::RocketMq, &mut out).unwrap();
        let wanted =
            b"\x00\x00\x00\x24\x01\x00\x00\x1d\x01\x36\x07\x01\x91\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x00\
            \x00\x00\x00\x08\x00\x01b\x00\x00\x00\x01t";
        assert_eq!(out.as_ref(), wanted);
        out.clear();
        encode(&frame, Serialization::Json, &mut out).unwrap();
        let header = r#"{"serializeTypeCurrentRPC":"JSON","language":"OTHER","code":310,"flag":0,"opaque":258,"version":401,"extFields":{"b":"t"}}"#;
        assert_eq!(&out[8..], header.as_bytes());
        assert_eq!(&out[..8], [0, 0, 0, 126, 0, 0, 0, 122]);
    }

    #[test]
    fn two_gibibytes_announced_is_an_error_before_any_allocation() {
        for word in [0x8000_0000_u32, 0x7FFF_FFFF, u32::MAX, 17 * 1024 * 1024 + 1, 3, 0] {
            let mut buffer = BytesMut::from(&word.to_be_bytes()[..]);
            let wrong = Error::FrameLength { length: u64::from(word), limit: MAX_FRAME_BYTES };
            assert_eq!(split(&mut buffer, MAX_FRAME_BYTES), Err(wrong));
            assert!(buffer.capacity() < 64);
        }
        let mut buffer = BytesMut::from(&(16_u32 << 20).to_be_bytes()[..]);
        assert_eq!(split(&mut buffer, MAX_FRAME_BYTES), Ok(None));
        assert!(buffer.capacity() < 4 << 20, "reserved by announcement: {}", buffer.capacity());
    }

    #[test]
    fn bad_headers_are_errors() {
        let header = |length, frame| Err(Error::HeaderLength { length, frame });
        assert_eq!(decode(Bytes::from_static(&[1, 0, 0, 5, 0])), header(5, 5));
        assert_eq!(decode(Bytes::from_static(&[1, 0x80, 0, 0, 0])), header(0x80_0000, 5));
        assert_eq!(decode(Bytes::from_static(&[2, 0, 0, 0])), Err(Error::Serialization(2)));
        assert_eq!(decode(Bytes::new()), Err(Error::Header("empty frame")));
        for length in 0..BINARY.len() {
            assert!(decode(framed(1, &BINARY[..length], b"")).is_err(), "{length}");
        }
        assert!(decode(framed(1, &[BINARY, b"\0"].concat(), b"")).is_err());
        for json in [&b"[]"[..], b"{\"code\":\"x\"}", b"{\"code\":99999999999}", b"{\"extFields\":[]}", b"{"] {
            assert!(decode(framed(0, json, b"")).is_err());
        }
    }

    #[test]
    fn what_a_peer_would_refuse_is_not_written() {
        let mut out = BytesMut::from(&b"kept"[..]);
        let big = Frame { code: 40_000, ..response() };
        let wrong = Err(Error::OutOfRange { name: "code", value: 40_000 });
        assert_eq!(encode(&big, Serialization::RocketMq, &mut out), wrong);
        let over = encode_head(&response(), MAX_SENT_BYTES, Serialization::RocketMq, &mut out);
        assert!(matches!(over, Err(Error::FrameLength { .. })));
        let remark = Frame { remark: Some("x".repeat(MAX_HEADER_BYTES)), ..response() };
        assert!(matches!(encode(&remark, Serialization::Json, &mut out), Err(Error::HeaderLength { .. })));
        assert_eq!(out.as_ref(), b"kept");
    }

    proptest! {
        #[test]
        fn both_serialisations_read_back(frame in strategies::any_frame()) {
            for way in [Serialization::Json, Serialization::RocketMq] {
                let mut out = BytesMut::new();
                encode(&frame, way, &mut out).unwrap();
                let whole = split(&mut out, MAX_FRAME_BYTES).unwrap().unwrap();
                prop_assert_eq!(serialization(&whole), Ok(way));
                prop_assert_eq!(decode(whole).unwrap(), frame.clone());
            }
        }
    }
}
